"""The layers at which a network's scores are explained: maps of an area, which all that it knows of an image passes."""

from __future__ import annotations

from dataclasses import dataclass

from mxml.errors import ModelError
from mxml.model.graph import BATCH_NORMS, PASSING, RESHAPING, Node, find_bottlenecks
from mxml.model.layers import Network

# What adds up its inputs, each times a number that does not depend on the image.
_LINEAR = frozenset(
    [
        *(*PASSING, *RESHAPING, *BATCH_NORMS, "FullyConnected", "Convolution", "Concat", "concat"),
        *("elemwise_add", "_plus", "_Plus", "broadcast_add", "add_n", "mean", "sum", "squeeze", "expand_dims"),
        *("_mul_scalar", "_div_scalar", "_plus_scalar", "_minus_scalar", "_contrib_AdaptiveAvgPooling2D"),
    ]
)
# Of these only the first input may depend on the image; the others are parameters.
_WEIGHTED = frozenset(["FullyConnected", "Convolution", *BATCH_NORMS])


@dataclass(frozen=True)
class TargetLayers:
    """Outputs of a network with an area, (N, C, H, W), that its scores are computed from.

    With ``exact`` each score is a sum over their channels and positions and a constant: behind them are only poolings
    and linear layers. A maximum over an area is the value at one position.
    """

    entries: tuple[tuple[int, int], ...]
    exact: bool


def find_target_layers(network: Network) -> TargetLayers:
    """Find the layers of a network whose one output are the logits.

    They are those that a pooled head reads, however many, else the last one with an area that everything passes.
    Raises ModelError where there is none.
    """
    logits = network.graph.heads[0]
    entries = _summed(network, logits)
    if entries:
        return TargetLayers(entries, exact=True)
    for position in find_bottlenecks(network.graph, network.data_position, logits[0]):
        alone = (position, 1) not in network.shapes
        if alone and network.graph.nodes[position].op != "null" and _has_area(network, (position, 0)):
            return TargetLayers(((position, 0),), exact=False)
    raise ModelError(
        "no layer with an area leads to its scores alone, so it cannot be shown where in an image they are"
    )


def _summed(network: Network, logits: tuple[int, int]) -> tuple[tuple[int, int], ...]:
    """Return the nearest outputs with an area that the logits are sums of; none where they are something else."""
    graph = network.graph
    of_image = graph.readers(network.data_position)
    found: set[tuple[int, int]] = set()
    waiting, known = [logits], set()
    while waiting:
        entry = waiting.pop()
        if entry in known or entry[0] not in of_image:
            continue
        known.add(entry)
        node = graph.nodes[entry[0]]
        if node.op == "null":
            return ()
        if _has_area(network, entry):
            found.add(entry)
        elif not _is_linear(node) or (node.op in _WEIGHTED and any(at in of_image for at, _ in node.inputs[1:])):
            return ()
        else:
            waiting.extend(node.inputs)
    return tuple(sorted(found))


def _has_area(network: Network, entry: tuple[int, int]) -> bool:
    shape = network.shapes[entry]
    return len(shape) == 4 and shape[0] == network.images and shape[2] * shape[3] > 1


def _is_linear(node: Node) -> bool:
    # Pooling's default is the maximum.
    return node.op in _LINEAR or (node.op == "Pooling" and node.attrs.get("pool_type", "max") in ("max", "avg", "sum"))
