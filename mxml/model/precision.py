"""The same network in another precision: in bfloat16 or float16 where that pays, with casts, or without any in float32.

Convolutions and fully connected layers, in which nearly all the work is, get their inputs cast. What only passes
numbers on, picks or adds them stays in the lower precision between two of these. BatchNorm takes it too, with its
parameters and statistics in float32. All else, and every output, is float32.

Parameters stay float32, and so does the gradient of each: a layer reads a cast of its own. So an optimizer has float32
weights to add small steps to, and what is saved is what it has. The casts cost nothing that can be measured.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

from mxml.model.graph import Graph, Node, to_document
from mxml.runtime.dtypes import BFLOAT16, FLOAT16, FLOAT32
from mxml.runtime.imports import load_mxnet
from mxml.runtime.types import Symbol

mx = load_mxnet()

# MXNet's numbers for them in graphs.
_TYPE_NUMBERS = {FLOAT32: "0", FLOAT16: "2", BFLOAT16: "12"}
_CASTS = frozenset(["Cast", "cast", "amp_cast", "amp_multicast"])
# What sets the type of an output: a name, or for variables a number.
_TYPES = ("dtype", "out_dtype", "__dtype__")
_OTHER_FLOATS = frozenset([FLOAT16, BFLOAT16, "float64", "1", "2", "12"])
_LOWERED = frozenset(["Convolution", "FullyConnected"])
# Computed in the lower precision where all that they read is in it.
_FOLLOWING = frozenset(["BatchNorm", "Pooling", "Concat", "Activation", "relu", "elemwise_add", "_copy", "identity"])
# Of these, the attribute, its default, and its values that MXNet computes in bfloat16.
_LOW_KINDS = {
    "Activation": ("act_type", "", ("relu", "sigmoid", "tanh", "softrelu")),
    "Pooling": ("pool_type", "max", ("max", "avg")),
}
# Outputs that are cast to float32, for each layer in the lower precision.
_MOST_CASTS_BACK = 0.5


def in_float32(symbol: Symbol) -> Symbol:
    """Return a network with float16, bfloat16 or float64 in it without casts between these, so that all is float32.

    For networks that were trained in float16: MXNet has no float16 convolutions on CPUs, and a head reads float32.
    """
    document = to_document(symbol)
    if not any(node.get("attrs", {}).get(name) in _OTHER_FLOATS for node in document["nodes"] for name in _TYPES):
        return symbol
    nodes = document["nodes"]
    sources: dict[tuple[int, int], list[int]] = {}
    for position, node in enumerate(nodes):
        node["inputs"] = [sources.get((at, output), [at, output, *rest]) for at, output, *rest in node["inputs"]]
        attrs = node.get("attrs", {})
        # A cast to integers rounds, and what it gives has to be cast back.
        if node["op"] in _CASTS and not any(_is_integral(nodes[at]) for at in (position, node["inputs"][0][0])):
            # MXNet drops a node that nothing reads.
            sources.update({(position, output): entry for output, entry in enumerate(node["inputs"])})
            continue
        for name in _TYPES:
            if attrs.get(name) in _OTHER_FLOATS:
                attrs[name] = _TYPE_NUMBERS[FLOAT32] if name == "__dtype__" else FLOAT32
    document["heads"] = [sources.get((at, output), [at, output, *rest]) for at, output, *rest in document["heads"]]
    return mx.sym.load_json(json.dumps(document))


def _is_integral(node: Mapping[str, Any]) -> bool:
    return str(node.get("attrs", {}).get("dtype", "")).startswith(("int", "uint", "bool"))


def lower_precision(symbol: Symbol, dtype: str, kept: Collection[str] = ()) -> Symbol:
    """Return the network with casts to ``dtype``; its parameters, inputs and outputs are float32.

    The nodes in ``kept`` compute in float32.
    """
    return mx.sym.load_json(_Lowering(symbol, dtype, kept).text())


def mostly_lowered(symbol: Symbol) -> bool:
    """Say whether the network can stay in a lower precision between most of its layers.

    Where an operator of another kind follows most convolutions, as the clips of MobileNetV2 do, the casts between them
    cost more than the convolutions gain: it was a third as fast in bfloat16 as in float32, other networks twice.
    """
    lowering = _Lowering(symbol, BFLOAT16, ())
    layers = sum(node.op in _LOWERED for node in lowering.graph.nodes)
    back = sum(not low for _, low in lowering.casts)
    return back <= _MOST_CASTS_BACK * layers


class _Lowering:
    """Writes a symbol's JSON again, node by node, with a cast wherever an output is read in another precision."""

    def __init__(self, symbol: Symbol, dtype: str, kept: Collection[str]):
        self.dtype = dtype
        self.kept = kept
        self.document = to_document(symbol)
        self.graph = Graph.of(symbol)
        self.nodes: list[dict[str, Any]] = []
        self.positions: list[int] = []
        self.low: set[tuple[int, int]] = set()
        self.casts: dict[tuple[tuple[int, int], bool], list[int]] = {}
        for position, node in enumerate(self.graph.nodes):
            self._add(position, node)
        self.heads = [self._entry(entry, low=False) for entry in self.graph.heads]

    def text(self) -> str:
        """Return the new symbol as JSON."""
        variables = [position for position, node in enumerate(self.nodes) if node["op"] == "null"]
        return json.dumps(
            {"nodes": self.nodes, "arg_nodes": variables, "heads": self.heads, "attrs": self.document["attrs"]}
        )

    def _add(self, position: int, node: Node) -> None:
        written = dict(self.document["nodes"][position])
        if node.op == "null":
            # MXNet does not infer a variable's type through a cast.
            written["attrs"] = {**written.get("attrs", {}), "__dtype__": _TYPE_NUMBERS[FLOAT32]}
        data = node.inputs[:1] if node.op == "BatchNorm" else node.inputs
        low = self._is_lowered(node, data)
        written["inputs"] = [self._entry(entry, low and at < len(data)) for at, entry in enumerate(node.inputs)]
        self.positions.append(len(self.nodes))
        self.nodes.append(written)
        if low:
            # A BatchNorm's other outputs, its statistics, are float32.
            self.low.add((position, 0))

    def _is_lowered(self, node: Node, data: tuple[tuple[int, int], ...]) -> bool:
        if node.name in self.kept:
            return False
        follows = node.op in _FOLLOWING and _has_low_kind(node) and all(entry in self.low for entry in data)
        return node.op in _LOWERED or follows

    def _entry(self, entry: tuple[int, int], low: bool) -> list[int]:
        """Return where an output is found in the wanted precision, behind a cast that all its readers share."""
        position, output = entry
        here = [self.positions[position], output, 0]
        if (entry in self.low) == low:
            return here
        if (entry, low) not in self.casts:
            dtype = self.dtype if low else FLOAT32
            name = f"{self.graph.nodes[position].name}_output{output}_{dtype}"
            self.nodes.append({"op": "amp_cast", "name": name, "attrs": {"dtype": dtype}, "inputs": [here]})
            self.casts[(entry, low)] = [len(self.nodes) - 1, 0, 0]
        return self.casts[(entry, low)]


def _has_low_kind(node: Node) -> bool:
    if node.op not in _LOW_KINDS:
        return True
    attribute, default, kinds = _LOW_KINDS[node.op]
    return node.attrs.get(attribute, default) in kinds
