"""A symbol's graph as plain values, and what can be read off it: its classifier, its bottlenecks, a multi-label end."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mxml.errors import ModelError

# Each has a label as its second input.
LOSSES = frozenset(
    ["SoftmaxOutput", "Softmax", "SVMOutput", "LogisticRegressionOutput", "LinearRegressionOutput", "Custom"]
)
# What turns scores into an output.
ENDS = LOSSES | frozenset(["softmax", "log_softmax", "SoftmaxActivation", "sigmoid", "MakeLoss", "make_loss"])
# What passes its input on, apart from training.
PASSING = frozenset(["Dropout", "_copy", "identity", "BlockGrad", "Cast", "amp_cast"])
RESHAPING = frozenset(["Reshape", "reshape", "Flatten", "flatten"])
# What may stand between a classifier and the output; none of it has parameters of its own.
_BEHIND_CLASSIFIERS = frozenset(
    [
        *(*ENDS, *PASSING, *RESHAPING, "squeeze", "expand_dims", "clip", "_mul_scalar", "_div_scalar"),
        *("Activation", "LeakyReLU", "relu", "tanh", "Pooling", "mean", "_contrib_AdaptiveAvgPooling2D"),
    ]
)


@dataclass(frozen=True)
class Node:
    """One operator, or with ``op`` 'null' one variable; ``inputs`` are pairs of a node's position and its output."""

    name: str
    op: str
    attrs: Mapping[str, str]
    inputs: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Graph:
    """A symbol's nodes, inputs before users. ``entries`` are all their outputs, in the order of ``get_internals()``."""

    nodes: tuple[Node, ...]
    heads: tuple[tuple[int, int], ...]
    entries: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, symbol: Any) -> Graph:
        """Read the graph of a symbol that MXNet holds."""
        document = json.loads(symbol.tojson())
        nodes = tuple(
            Node(node["name"], node["op"], node.get("attrs", {}), tuple((at, out) for at, out, _ in node["inputs"]))
            for node in document["nodes"]
        )
        # Both texts number the nodes in the same order: inputs first, from the outputs back.
        internals = json.loads(symbol.get_internals().tojson())
        return cls(nodes, _entries(document["heads"]), _entries(internals["heads"]))

    def source(self, position: int, number: int = 0) -> int:
        """Return the position of the node that feeds input ``number`` of the node at ``position``."""
        return self.nodes[position].inputs[number][0]

    def output(self, symbol: Any, entry: tuple[int, int]) -> Any:
        """Return one output of one node of the symbol that this graph was read from, as a symbol that shares nodes."""
        return symbol.get_internals()[self.entries.index(entry)]


def _entries(heads: list[list[int]]) -> tuple[tuple[int, int], ...]:
    return tuple((head[0], head[1]) for head in heads)


def find_bottlenecks(graph: Graph, source: int, sink: int) -> list[int]:
    """List, from ``sink`` back, the nodes that every path from ``source`` to ``sink`` passes.

    Among the nodes on such paths, in their order, these are the ones that no edge leaps over.
    """
    after = {source}
    for position in range(source + 1, sink + 1):
        if any(at in after for at, _ in graph.nodes[position].inputs):
            after.add(position)
    before = {sink}
    for position in range(sink, source, -1):
        if position in before:
            before.update(at for at, _ in graph.nodes[position].inputs)
    between = sorted(after & before)
    last_user = {at: position for position in between for at, _ in graph.nodes[position].inputs}
    found, reach = [], source
    for position in between:
        if reach <= position:
            found.append(position)
        reach = max(reach, last_user.get(position, position))
    return found[::-1]


@dataclass(frozen=True)
class MultiLabelEnd:
    """The last nodes of a multi-label graph: where the logits are, the probabilities if they are a node's output, the
    node that computes the logits, and the label.
    """

    logits: tuple[int, int]
    probabilities: tuple[int, int] | None
    classifier: int
    label_name: str | None


def multi_label_end(graph: Graph) -> MultiLabelEnd:
    """Find a multi-label network's last nodes. Raises ModelError for a graph that ends in anything but a sigmoid."""
    if len(graph.heads) != 1:
        raise ModelError(f"a multi-label network has one output, this one has {len(graph.heads)}")
    head = graph.heads[0]
    end = graph.nodes[head[0]]
    label_name = None
    probabilities: tuple[int, int] | None = head
    if end.op in ("Custom", "LogisticRegressionOutput"):
        label_name = graph.nodes[end.inputs[1][0]].name
        probabilities = end.inputs[0] if end.op == "Custom" else None
    if end.op == "LogisticRegressionOutput":
        logits = end.inputs[0]
    elif len(end.inputs) == 3 and end.op == "Custom":
        logits = end.inputs[2]
    else:
        logits = _before_sigmoid(graph, head if probabilities is None else probabilities)
    classifier = find_classifier(graph, logits[0])
    if classifier is None:
        raise ModelError(f"no fully connected layer or 1x1 convolution leads to {graph.nodes[logits[0]].name!r}")
    return MultiLabelEnd(logits, probabilities, classifier, label_name)


def _before_sigmoid(graph: Graph, entry: tuple[int, int]) -> tuple[int, int]:
    node = graph.nodes[entry[0]]
    if node.op == "sigmoid" or (node.op == "Activation" and node.attrs.get("act_type") == "sigmoid"):
        return node.inputs[0]
    raise ModelError(
        f"its output comes from {node.name!r} ({node.op}), not from a sigmoid, so it is no multi-label network; "
        "fine-tune it first: mxml train --model PREFIX"
    )


def find_classifier(graph: Graph, position: int) -> int | None:
    """Walk back from a node to the fully connected layer or 1x1 convolution that the scores come from."""
    while True:
        node = graph.nodes[position]
        if node.op == "FullyConnected" or (node.op == "Convolution" and _is_pointwise(node.attrs)):
            return position
        if node.op not in _BEHIND_CLASSIFIERS or not node.inputs:
            return None
        position = node.inputs[0][0]


def _is_pointwise(attrs: Mapping[str, str]) -> bool:
    return re.fullmatch(r"[(\[] *1 *(, *1 *)*,? *[)\]]", attrs.get("kernel", "")) is not None
