"""A symbol's graph as plain values, and what can be read off it: its classifier, its bottlenecks, a multi-label end."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from mxml.errors import ModelError
from mxml.model import losses
from mxml.model.losses import BINARY_CROSS_ENTROPY, Loss
from mxml.runtime.imports import load_mxnet
from mxml.runtime.types import Symbol

mx = load_mxnet()

# MXNet's own, which have a label as their second input; mxml.model.losses registers others.
_LABELLED = frozenset(
    [
        "SoftmaxOutput",
        "Softmax",
        "SVMOutput",
        "LogisticRegressionOutput",
        "LinearRegressionOutput",
        "MAERegressionOutput",
    ]
)
# What else turns scores into an output.
_ENDS = frozenset(["softmax", "log_softmax", "SoftmaxActivation", "sigmoid", "MakeLoss", "make_loss"])
# Both normalise by a batch's statistics in training, unless told to keep their own; the second is MXNet's earlier one.
BATCH_NORMS = frozenset(["BatchNorm", "BatchNorm_v1"])
# What passes its input on, apart from training.
PASSING = frozenset(["Dropout", "_copy", "identity", "BlockGrad", "Cast", "amp_cast"])
RESHAPING = frozenset(["Reshape", "reshape", "Flatten", "flatten"])
# What a classifier without a softmax ends in.
_LAST_LAYERS = frozenset([*RESHAPING, "FullyConnected", "Pooling"])
# What may stand between a classifier and the output; none of it has parameters of its own.
_BEHIND_CLASSIFIERS = frozenset(
    [
        *(*_LABELLED, *_ENDS, *PASSING, *RESHAPING, "squeeze", "expand_dims", "clip", "_mul_scalar", "_div_scalar"),
        *("Activation", "LeakyReLU", "relu", "tanh", "Pooling", "mean", "_contrib_AdaptiveAvgPooling2D"),
    ]
)


def to_document(symbol: Symbol) -> dict[str, Any]:
    """Return a symbol as its file would hold it, every node included; MXNet by itself leaves casts out."""
    document: dict[str, Any] = json.loads(symbol.tojson(remove_amp_cast=False))
    return document


@dataclass(frozen=True)
class Node:
    """One operator, or with ``op`` 'null' one variable; ``inputs`` are pairs of a node's position and its output."""

    name: str
    op: str
    attrs: Mapping[str, str]
    inputs: tuple[tuple[int, int], ...]

    @property
    def loss(self) -> Loss | None:
        """Return the registered loss that this node is, if it is one."""
        return losses.of_node(self.op, self.attrs)

    @property
    def has_label(self) -> bool:
        """Say whether the node compares its first input with a label, its second."""
        return self.op in _LABELLED or self.loss is not None

    @property
    def is_end(self) -> bool:
        """Say whether the node turns scores into an output."""
        return self.op in _ENDS or self.has_label

    @property
    def is_batch_norm(self) -> bool:
        """Say whether the node is a BatchNorm, of whichever version."""
        return self.op in BATCH_NORMS

    @property
    def keeps_statistics(self) -> bool:
        """Say whether the node is a BatchNorm that uses and keeps its moving statistics in training, too."""
        return self.is_batch_norm and self.is_set("use_global_stats")

    def is_set(self, attribute: str) -> bool:
        """Say whether an attribute that is False by default is given as true, in one of the forms that MXNet reads."""
        return self.attrs.get(attribute, "False").lower() in ("true", "1")


@dataclass(frozen=True)
class Graph:
    """A symbol's nodes, inputs before users. ``entries`` are all their outputs, in the order of ``get_internals()``."""

    nodes: tuple[Node, ...]
    heads: tuple[tuple[int, int], ...]
    entries: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, symbol: Symbol) -> Graph:
        """Read the graph of a symbol that MXNet holds."""
        document = to_document(symbol)
        nodes = tuple(
            Node(node["name"], node["op"], node.get("attrs", {}), tuple((at, out) for at, out, _ in node["inputs"]))
            for node in document["nodes"]
        )
        # Both texts number the nodes in the same order: inputs first, from the outputs back.
        internals = to_document(symbol.get_internals())
        return cls(nodes, _entries(document["heads"]), _entries(internals["heads"]))

    def source(self, position: int, number: int = 0) -> int:
        """Return the position of the node that feeds input ``number`` of the node at ``position``."""
        return self.nodes[position].inputs[number][0]

    def readers(self, source: int) -> set[int]:
        """Return the positions of the nodes that depend on the node at ``source``, itself included."""
        found = {source}
        for position in range(source + 1, len(self.nodes)):
            if any(at in found for at, _ in self.nodes[position].inputs):
                found.add(position)
        return found

    def output(self, symbol: Symbol, entry: tuple[int, int]) -> Symbol:
        """Return one output of one node of the symbol that this graph was read from, as a symbol that shares nodes."""
        return symbol.get_internals()[self.entries.index(entry)]


def _entries(heads: list[list[int]]) -> tuple[tuple[int, int], ...]:
    return tuple((head[0], head[1]) for head in heads)


def find_bottlenecks(graph: Graph, source: int, sink: int) -> list[int]:
    """List, from ``sink`` back, the nodes that every path from ``source`` to ``sink`` passes.

    Among the nodes on such paths, in their order, these are the ones that no edge leaps over.
    """
    after = graph.readers(source)
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
    node that computes the logits, the label, and the loss.

    With ``single_label`` it is a softmax that gives the probabilities: exactly one label belongs to an image.
    """

    logits: tuple[int, int]
    probabilities: tuple[int, int] | None
    classifier: int
    label_name: str | None
    loss: Loss | None
    single_label: bool


def multi_label_end(graph: Graph) -> MultiLabelEnd:
    """Find the last nodes of a network that mxml trained, or could have.

    It ends in a sigmoid, or for single labels in the operator ``softmax``. Raises ModelError for any other, such as a
    classifier with a SoftmaxOutput: what its outputs mean is not known here.
    """
    if len(graph.heads) != 1:
        raise ModelError(f"a multi-label network has one output, this one has {len(graph.heads)}")
    head = graph.heads[0]
    end = graph.nodes[head[0]]
    loss, label_name = end.loss, None
    probabilities: tuple[int, int] | None = None
    if end.op == "LogisticRegressionOutput":
        # Its gradient is that of the cross-entropy, divided by the number of labels.
        loss, logits, single_label = BINARY_CROSS_ENTROPY, end.inputs[0], False
    else:
        probabilities = end.inputs[0] if loss else head
        source = graph.nodes[probabilities[0]]
        single_label = loss.single_label if loss else _is_softmax(source)
        if loss and len(end.inputs) == 3:
            logits = end.inputs[2]
        elif single_label:
            logits = source.inputs[0]
        else:
            logits = _before_sigmoid(source)
    if loss is not None:
        label_name = graph.nodes[end.inputs[1][0]].name
    classifier = find_classifier(graph, logits[0])
    if classifier is None:
        raise ModelError(f"no fully connected layer or 1x1 convolution leads to {graph.nodes[logits[0]].name!r}")
    return MultiLabelEnd(logits, probabilities, classifier, label_name, loss, single_label)


def classifier_end(graph: Graph) -> MultiLabelEnd:
    """Find the last nodes of a network to tag images with: those of ``multi_label_end``, or of a plain classifier.

    A plain classifier ends in a softmax over single labels, such as SoftmaxOutput, or in its logits, as Gluon exports
    it: then there are no ``probabilities``. Raises ModelError for any other.
    """
    end, head = graph.nodes[graph.heads[0][0]], graph.heads[0]
    if len(graph.heads) == 1 and (_is_plain_softmax(end) or end.op in _LAST_LAYERS):
        logits, probabilities = (head, None) if end.op in _LAST_LAYERS else (end.inputs[0], head)
        classifier = find_classifier(graph, logits[0])
        if classifier is not None:
            label_name = graph.nodes[end.inputs[1][0]].name if end.has_label else None
            return MultiLabelEnd(logits, probabilities, classifier, label_name, None, True)
    return multi_label_end(graph)


def _is_plain_softmax(node: Node) -> bool:
    if node.op == "SoftmaxActivation":
        return node.attrs.get("mode", "instance") == "instance"
    # Not over each position of a map, of which there would be a score each.
    over_labels = not node.is_set("multi_output") and not node.is_set("preserve_shape")
    return node.op in ("SoftmaxOutput", "Softmax") and over_labels


def _is_softmax(node: Node) -> bool:
    # Over the labels, and of the logits as they are.
    return (
        node.op == "softmax"
        and node.attrs.get("axis", "-1") in ("-1", "1")
        and node.attrs.get("temperature", "None") in ("None", "1.0")
    )


def _before_sigmoid(node: Node) -> tuple[int, int]:
    if node.op == "sigmoid" or (node.op == "Activation" and node.attrs.get("act_type") == "sigmoid"):
        return node.inputs[0]
    raise ModelError(
        f"its output comes from {node.name!r} ({node.op}), not from a sigmoid, so it is not a multi-label network; "
        "fine-tune it first with mxml train"
    )


def find_classifier(graph: Graph, position: int) -> int | None:
    """Walk back from a node to the fully connected layer or 1x1 convolution that the scores come from."""
    while True:
        node = graph.nodes[position]
        if node.op == "FullyConnected" or (node.op == "Convolution" and _is_pointwise(node.attrs)):
            return position
        if not (node.op in _BEHIND_CLASSIFIERS or node.loss) or not node.inputs:
            return None
        position = node.inputs[0][0]


def _is_pointwise(attrs: Mapping[str, str]) -> bool:
    return re.fullmatch(r"[(\[] *1 *(, *1 *)*,? *[)\]]", attrs.get("kernel", "")) is not None


def draws_random_numbers(graph: Graph) -> bool:
    """Say whether training the network draws random numbers, so that its steps need a seed."""
    return any(
        node.op == "Dropout" or any(word in node.op.lower() for word in ("random", "sample_")) for node in graph.nodes
    )


def freeze_batch_norm(symbol: Symbol, names: Collection[str]) -> Symbol:
    """Let BatchNorm layers whose gamma or beta is among ``names`` use and keep their moving statistics.

    Freezing only the parameter would still let the layer's statistics drift with every batch.
    """
    if not names:
        return symbol
    document = to_document(symbol)
    nodes = document["nodes"]
    for node in nodes:
        if node["op"] in BATCH_NORMS and {nodes[at]["name"] for at, *_ in node["inputs"][1:3]} & set(names):
            node.setdefault("attrs", {})["use_global_stats"] = "True"
    return mx.sym.load_json(json.dumps(document))


def moving_states(symbol: Symbol) -> set[str]:
    """Return the names of the auxiliary states that training changes: all but those that BatchNorm layers keep."""
    graph = Graph.of(symbol)
    kept = {graph.nodes[at].name for node in graph.nodes if node.keeps_statistics for at, _ in node.inputs[3:]}
    return {*symbol.list_auxiliary_states()} - kept
