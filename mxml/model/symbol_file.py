"""Symbol files (``-symbol.json``), checked before MXNet may read them.

MXNet trusts a symbol file, and its operators trust their attributes and inputs. So a file is parsed here and held
against the table in ``mxml.model.operators``; MXNet gets a document that is written again from what was understood.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from mxml.errors import ModelError
from mxml.model import losses
from mxml.model.attributes import Choice
from mxml.model.graph import Graph
from mxml.model.operators import MOST_OUTPUTS, OPERATORS, Operator, steering
from mxml.runtime.imports import load_mxnet, mxnet_message
from mxml.runtime.types import Symbol
from mxml.text import quoted

mx = load_mxnet()

MAX_BYTES = 16 << 20
_MAX_NODES = 20_000
_MAX_EDGES = 200_000
# Of all operators together.
_MAX_ENTRIES = 1_000_000
_MAX_NAME = 1000
_SUBGRAPH_OPERATORS = ("_foreach", "_while_loop", "_cond", "_CachedOp")


def load_symbol(path: str | os.PathLike[str]) -> Symbol:
    """Load a ``-symbol.json`` file of MXNet 0.8 to 1.9, checked first.

    Raises ModelError, naming the file, where it is larger than 16 MiB, is not a symbol, refers to nodes or outputs
    that do not exist, or holds an operator or an attribute that mxml does not know.
    """
    checked = _Document(path).checked(_parse(path))
    try:
        symbol = mx.sym.load_json(json.dumps(checked, ensure_ascii=False))
    except (mx.base.MXNetError, UnicodeEncodeError) as error:
        raise ModelError(f"{path}: MXNet cannot load it: {mxnet_message(error)}") from error
    fault = _fault(Graph.of(symbol))
    if fault:
        raise ModelError(f"{path}: {fault}")
    return symbol


def _parse(path: str | os.PathLike[str]) -> object:
    try:
        if not stat.S_ISREG(Path(path).stat().st_mode):
            raise ModelError(f"{path}: is not a file")
        with open(path, "rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise ModelError(
            f"{path}: there is no such file; a model is PREFIX-symbol.json and PREFIX-0000.params"
        ) from None
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}") from error
    if len(content) > MAX_BYTES:
        raise ModelError(f"{path}: is larger than {MAX_BYTES >> 20} MiB, so it is not a symbol file")
    try:
        document: object = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path}: is not a symbol file: not JSON ({error})") from error
    return document


def _fault(graph: Graph) -> str:
    """Say what is wrong with a graph that MXNet has loaded; loading completes the graph of an old file."""
    variables = [node.name for node in graph.nodes if node.op == "null"]
    if len(set(variables)) < len(variables):
        return "has two variables of one name"
    known = set(graph.entries)
    for entry in graph.heads:
        if entry not in known:
            return f"asks for output {entry[1]} of {quoted(graph.nodes[entry[0]].name)}, which it does not have"
    for node in graph.nodes:
        wanted = 0 if node.op == "null" else _inputs(node.op, node.attrs)
        if len(node.inputs) != wanted:
            return f"{quoted(node.name)} ({node.op}) should have {wanted} inputs, not {len(node.inputs)}"
        parameters = OPERATORS[node.op].parameters if node.op in OPERATORS else 0
        if any(graph.nodes[at].op != "null" for at, _ in node.inputs[wanted - parameters :]):
            return f"{quoted(node.name)} ({node.op}) should have variables for its last {parameters} inputs"
        for at, output in node.inputs:
            if (at, output) not in known:
                source = quoted(graph.nodes[at].name)
                return f"feeds {quoted(node.name)} from output {output} of {source}, which it does not have"
    return ""


def _inputs(op: str, attrs: Mapping[str, str]) -> int:
    loss = losses.of_node(op, attrs)
    return loss.inputs(attrs) if loss else OPERATORS[op].inputs(attrs)


class _Document:
    """The structure of a symbol file, as MXNet 0.8 to 1.9 write it, and the operators that it holds."""

    def __init__(self, path: str | os.PathLike[str]):
        self.path = path

    def checked(self, document: object) -> dict[str, object]:
        """Return the document written again, with nothing in it but what was understood."""
        nodes = document.get("nodes") if isinstance(document, dict) else None
        if not isinstance(document, dict) or not isinstance(nodes, list):
            self.fail("is JSON, but not a symbol: it has no list of nodes")
        if not 0 < len(nodes) <= _MAX_NODES:
            self.fail(f"has {len(nodes):,} nodes; should be 1 to {_MAX_NODES:,}")
        checked = [self.node(position, node) for position, node in enumerate(nodes)]
        edges = sum(len(node["inputs"]) for node in nodes)
        if edges > _MAX_EDGES:
            self.fail(f"has {edges:,} inputs of nodes; should be at most {_MAX_EDGES:,}")
        self.check_total(checked)
        heads = document.get("heads")
        if not isinstance(heads, list) or not 0 < len(heads) <= MOST_OUTPUTS:
            self.fail(f"should have 1 to {MOST_OUTPUTS:,} outputs (heads)")
        return {
            "nodes": checked,
            "arg_nodes": [position for position, node in enumerate(checked) if node["op"] == "null"],
            "heads": [self.entry(head, len(nodes), "its outputs") for head in heads],
            **self.version(document.get("attrs", {})),
        }

    def version(self, attrs: object) -> dict[str, object]:
        """Return the document's own attributes: which MXNet wrote it, and whether its shapes are NumPy's."""
        if not isinstance(attrs, dict):
            self.fail("field 'attrs' should be an object")
        kept = {}
        for key, most in (("mxnet_version", 19_999), ("is_np_shape", 1)):
            if key in attrs:
                value = attrs[key]
                if not (isinstance(value, list) and len(value) == 2 and value[0] == "int" and _is_count(value[1])):
                    self.fail(f"field {key!r} should be a number, as MXNet writes it")
                if value[1] > most:
                    self.fail(f"field {key!r} is {value[1]}, should be at most {most}")
                kept[key] = ["int", value[1]]
        return {"attrs": kept} if kept else {}

    def check_total(self, nodes: list[dict[str, object]]) -> None:
        """Refuse a file whose operators split into more outputs together than any network has."""
        total = 0
        for node in nodes:
            attrs = node["attrs"]
            assert isinstance(attrs, dict)
            total += int(attrs.get("num_outputs", 1))
        if total > _MAX_ENTRIES:
            self.fail(f"has {total:,} outputs of operators; should be at most {_MAX_ENTRIES:,}")

    def node(self, position: int, node: object) -> dict[str, object]:
        if not isinstance(node, dict) or not isinstance(node.get("op"), str) or not isinstance(node.get("name"), str):
            self.fail(f"node {position} has no operator or no name")
        op, name, inputs = node["op"], node["name"], node.get("inputs")
        where = f"node {position} ({quoted(name)})"
        if len(name) > _MAX_NAME or not name.isprintable():
            self.fail(f"{where}: the name is longer than {_MAX_NAME:,} letters or holds control characters")
        if node.get("subgraphs") or op in _SUBGRAPH_OPERATORS:
            self.fail(f"{where}: operator {quoted(op)} is refused: it runs a graph of its own")
        if node.get("control_deps"):
            self.fail(f"{where}: has control_deps, which no network of layers needs")
        if not isinstance(inputs, list):
            self.fail(f"{where} has no list of inputs")
        entries = [self.entry(entry, position, where) for entry in inputs]
        attrs: dict[str, str] = {}
        for key in ("attrs", "attr", "param"):
            values = node.get(key, {})
            if not isinstance(values, dict) or not all(isinstance(value, str) for value in values.values()):
                self.fail(f"{where}: field {key!r} should hold texts")
            if any(attrs.get(name, value) != value for name, value in values.items()):
                self.fail(f"{where}: an attribute has two values")
            attrs.update(values)
        checked = self.attributes(where, op, attrs, len(entries))
        return {"op": op, "name": name, "attrs": checked, "inputs": entries}

    def entry(self, entry: object, before: int, where: str) -> list[int]:
        if not (isinstance(entry, list) and 2 <= len(entry) <= 3 and all(_is_count(number) for number in entry)):
            self.fail(f"{where}: {json.dumps(entry)[:60]} is not a reference to a node's output")
        if entry[0] >= before:
            self.fail(f"{where}: refers to node {entry[0]}, which does not come before it")
        return entry

    def attributes(self, where: str, op: str, attrs: Mapping[str, str], inputs: int) -> dict[str, str]:
        """Return a node's attributes in canonical form."""
        operator = self.operator(where, op, attrs)
        checked = {}
        for name, text in attrs.items():
            kind = operator.attributes.get(name) or steering(name)
            if kind is None:
                # Old files repeat an operator's attributes at its variables; MXNet has no use for other __names__.
                if op == "null" or name[:2] == name[-2:] == "__":
                    continue
                self.fail(f"{where}: {op} has no attribute {quoted(name)} that mxml knows")
            try:
                checked[name] = kind.canonical(text)
            except ValueError as error:
                self.fail(f"{where}: {quoted(name)} is {quoted(text)}, should be {error}")
        missing = [name for name in operator.required if name not in checked]
        if missing:
            self.fail(f"{where}: {op} lacks its attribute {missing[0]!r}")
        if len({checked[name].count(",") for name in operator.alike if checked.get(name, "()") != "()"}) > 1:
            self.fail(f"{where}: {', '.join(filter(checked.__contains__, operator.alike))} differ in length")
        wanted = operator.inputs(checked)
        if not wanted - operator.auxiliary <= inputs <= wanted:
            self.fail(f"{where}: {op} should have {wanted} inputs, not {inputs}")
        return checked

    def operator(self, where: str, op: str, attrs: Mapping[str, str]) -> Operator:
        if op == "null":
            return Operator(lambda attrs: 0)
        if op == "Custom":
            loss = losses.of_node(op, attrs)
            if loss is None:
                known = ", ".join(repr(loss.op_type) for loss in losses.all_losses())
                self.fail(f"{where}: custom operator {quoted(attrs.get('op_type', ''))} is refused; mxml knows {known}")
            return Operator(loss.inputs, {"op_type": Choice((loss.op_type,)), **loss.attributes})
        if op not in OPERATORS:
            self.fail(f"{where}: operator {quoted(op)} is refused; mxml lets only operators through that it knows")
        return OPERATORS[op]

    def fail(self, reason: str) -> NoReturn:
        raise ModelError(f"{self.path}: {reason}")


def _is_count(number: object) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and 0 <= number < 2**31
