"""Symbol files (``-symbol.json``), checked before MXNet may read them.

MXNet trusts a symbol file: an operator's attributes can hold addresses of functions to call, and an output number that
an operator does not have ends the process. So a file is parsed and judged here, and MXNet gets only what was judged.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from mxml.errors import ModelError
from mxml.model.graph import LOSSES, Graph
from mxml.model.losses import OP_TYPE
from mxml.runtime.imports import load_mxnet, mxnet_message

mx = load_mxnet()

MAX_BYTES = 64 << 20
_MAX_NODES = 100_000
_MAX_NESTING = 8
_MAX_OUTPUTS = 10_000

# Their attributes are addresses in memory, to be called.
_CALLING_ADDRESSES = ("_Native", "_NDArray", "_CustomFunction")
_READING_FILES = ("_cvimread", "_npi_cvimread")
# Attributes that say how many inputs or outputs an operator has.
_COUNTS = ("num_args", "num_outputs", "num_out_data", "num_weights", "num_arrays", "sections")
# How many inputs at least the operators have that mxml.model.graph takes apart.
_LEAST_INPUTS = {**dict.fromkeys([*LOSSES, "FullyConnected", "Convolution"], 2), "sigmoid": 1, "Activation": 1}
# Attributes that steer a node and are not its operator's own; since MXNet 1.0 they are written __so__.
_STEERING = ("ctx_group", "lr_mult", "wd_mult", "force_mirroring", "mirror_stage")


def load_symbol(path: str | os.PathLike[str]) -> Any:
    """Load a ``-symbol.json`` file of MXNet 0.8 to 1.9, checked first.

    Raises ModelError, naming the file, where it is larger than 64 MiB, is not a symbol, refers to nodes or outputs
    that are not there, or holds an operator that could run foreign code or read files.
    """
    document = _parse(path)
    return _load_checked(document, path, _MAX_NESTING)


def _parse(path: str | os.PathLike[str]) -> Any:
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
        raise ModelError(f"{path}: is larger than {MAX_BYTES >> 20} MiB, so it is no symbol file")
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path}: is no symbol file: not JSON ({error})") from error


def _load_checked(document: Any, path: str | os.PathLike[str], nesting: int) -> Any:
    check = _SymbolCheck(path)
    nested = check.document(document)
    if nested and not nesting:
        check.fail(f"nests graphs deeper than {_MAX_NESTING}")
    for inner in nested:
        if isinstance(inner, dict):
            # Without the outer graph's version MXNet would take an inner one for a file of 2016.
            inner = {"attrs": document.get("attrs", {}), **inner}
        _load_checked(inner, path, nesting - 1)
    try:
        # What was judged is written anew: MXNet's parser and Python's may read the same odd text differently.
        symbol = mx.sym.load_json(json.dumps(document, ensure_ascii=False))
    except (mx.base.MXNetError, UnicodeEncodeError, RecursionError) as error:
        raise ModelError(f"{path}: MXNet cannot load it: {mxnet_message(error)}") from error
    graph = Graph.of(symbol)
    variables = [node.name for node in graph.nodes if node.op == "null"]
    if len(set(variables)) < len(variables):
        check.fail("has two variables of one name")
    known = set(graph.entries)
    for entry in graph.heads:
        if entry not in known:
            check.fail(f"asks for output {entry[1]} of {graph.nodes[entry[0]].name!r}, which it does not have")
    for node in graph.nodes:
        if len(node.inputs) < _LEAST_INPUTS.get(node.op, 0):
            check.fail(f"{node.name!r} ({node.op}) should have at least {_LEAST_INPUTS[node.op]} inputs")
        for entry in node.inputs:
            if entry not in known:
                source = graph.nodes[entry[0]].name
                check.fail(f"feeds {node.name!r} from output {entry[1]} of {source!r}, which it does not have")
    return symbol


class _SymbolCheck:
    """The structure of one graph in a symbol file, as MXNet 0.8 to 1.9 write it, and the operators it may hold."""

    def __init__(self, path: str | os.PathLike[str]):
        self.path = path

    def document(self, document: Any) -> list[Any]:
        """Check one graph, and return the graphs that its nodes hold."""
        if not isinstance(document, dict) or not isinstance(document.get("nodes"), list):
            self.fail("is JSON, but no symbol: it has no list of nodes")
        nodes = document["nodes"]
        if not 0 < len(nodes) <= _MAX_NODES:
            self.fail(f"has {len(nodes):,} nodes; should be 1 to {_MAX_NODES:,}")
        nested: list[Any] = []
        for position, node in enumerate(nodes):
            nested.extend(self.node(position, node))
        heads = document.get("heads")
        if not isinstance(heads, list) or not heads:
            self.fail("has no outputs (heads)")
        for head in heads:
            self.entry(head, len(nodes), "its outputs")
        for key in ("arg_nodes", "node_row_ptr"):
            numbers = document.get(key, [])
            if not isinstance(numbers, list) or not all(_is_count(number) for number in numbers):
                self.fail(f"field {key!r} should be a list of numbers")
        if any(number >= len(nodes) for number in document.get("arg_nodes", [])):
            self.fail("field 'arg_nodes' names nodes that are not there")
        return nested

    def node(self, position: int, node: Any) -> list[Any]:
        if not isinstance(node, dict) or not isinstance(node.get("op"), str) or not isinstance(node.get("name"), str):
            self.fail(f"node {position} has no operator or no name")
        where = f"node {position} ({node['name']!r})"
        inputs = node.get("inputs")
        if not isinstance(inputs, list):
            self.fail(f"{where} has no list of inputs")
        for entry in inputs:
            self.entry(entry, position, where)
        for position_before in node.get("control_deps") or []:
            self.entry([position_before, 0], position, where)
        attrs: dict[str, str] = {}
        for key in ("attrs", "attr", "param"):
            values = node.get(key, {})
            if not isinstance(values, dict) or not all(isinstance(value, str) for value in values.values()):
                self.fail(f"{where}: field {key!r} should hold texts")
            if any(attrs.get(name, value) != value for name, value in values.items()):
                self.fail(f"{where}: an attribute has two values")
            attrs.update(values)
        for name in _COUNTS:
            if re.fullmatch(r"\d+", attrs.get(name, "")) and int(attrs[name][:10]) > _MAX_OUTPUTS:
                self.fail(f"{where}: {name} = {attrs[name][:20]} is more than {_MAX_OUTPUTS:,}")
        self.operator(where, node["op"], attrs, len(inputs))
        subgraphs = node.get("subgraphs", [])
        if not isinstance(subgraphs, list):
            self.fail(f"{where}: field 'subgraphs' should be a list")
        return subgraphs

    def entry(self, entry: Any, before: int, where: str) -> None:
        if not (isinstance(entry, list) and 2 <= len(entry) <= 3 and all(_is_count(number) for number in entry)):
            self.fail(f"{where}: {json.dumps(entry)[:60]} is no reference to a node's output")
        if entry[0] >= before:
            self.fail(f"{where}: refers to node {entry[0]}, which does not come before it")

    def operator(self, where: str, op: str, attrs: Mapping[str, str], inputs: int) -> None:
        if op in _CALLING_ADDRESSES or op.startswith("_backward"):
            self.fail(f"{where}: operator {op!r} is refused: it could call any address in memory")
        if op in _READING_FILES:
            self.fail(f"{where}: operator {op!r} is refused: it reads files")
        if op == "Custom":
            self.custom(where, attrs, inputs)

    def custom(self, where: str, attrs: Mapping[str, str], inputs: int) -> None:
        if attrs.get("op_type") != OP_TYPE:
            self.fail(f"{where}: custom operator {attrs.get('op_type', '')!r} is refused; mxml knows only {OP_TYPE!r}")
        unknown = [key for key in attrs if key not in ("op_type", "with_logits", *_STEERING) and key[:2] != "__"]
        if unknown:
            self.fail(f"{where}: {OP_TYPE} has no attribute {unknown[0]!r}; was it written by a newer mxml?")
        if attrs.get("with_logits", "False") not in ("True", "False"):
            self.fail(f"{where}: with_logits should be True or False, not {attrs['with_logits']!r}")
        wanted = 3 if attrs.get("with_logits") == "True" else 2
        if inputs != wanted:
            self.fail(f"{where}: {OP_TYPE} should have {wanted} inputs, not {inputs}")

    def fail(self, reason: str) -> NoReturn:
        raise ModelError(f"{self.path}: {reason}")


def _is_count(number: Any) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and 0 <= number < 2**31
