"""The layers that a head sits on: the feature layer, and maps nearer to the input, each pooled over its area.

A linear classifier on several layers of a frozen network transfers better than one on the last alone, since the last
ones have specialised on the network's own classes (Evci et al. 2022, Head2Toe).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mxml.model.graph import PASSING, RESHAPING, Graph, Node, find_bottlenecks
from mxml.model.layers import FeatureLayer, Network
from mxml.runtime.imports import load_mxnet
from mxml.runtime.types import Symbol

mx = load_mxnet()

# What the BatchNorm of a head adds to a variance.
EPSILON = 1e-5
# Of the layer chosen before: a layer that is narrower only squeezes what it is given.
_LEAST_WIDTH = 0.5
# What gives values that another layer has, in another order or number.
_NOT_TAKEN = PASSING | RESHAPING | {"null", "Pooling"}
# The nodes of a head that stand before its classifier, as they are named below and in `attach_head`.
_OF_HEAD = {
    "Pooling": re.compile(r"(head_)+pool"),
    "Flatten": re.compile(r"(head_)+flatten"),
    "Concat": re.compile(r"(head_)+concat"),
    "BatchNorm": re.compile(r"(head_)+norm"),
}


@dataclass(frozen=True)
class PooledLayers:
    """Outputs of a network, the feature layer first, and how those with an area are pooled."""

    entries: tuple[tuple[int, int], ...]
    layers: tuple[FeatureLayer, ...]
    poolings: tuple[str, ...] = ("avg",)

    def __str__(self) -> str:
        pooled = "" if self.poolings == ("avg",) else f", pooled by {' and '.join(self.poolings)}"
        return ", ".join(layer.name for layer in self.layers) + pooled


def find_layers(
    network: Network, layer: str | None = None, count: int = 1, poolings: Sequence[str] = ("avg",)
) -> PooledLayers:
    """Return the feature layer, or ``layer`` alone, and before it up to ``count - 1`` more, the nearest first.

    The others are layers that everything passes through. Of those with one shape the last is taken, and none that is
    much narrower than the one taken before it. Of a network that has a head on such layers, they are found anew: its
    feature layer is the one that this head has. Raises ModelError as ``Network.find`` does.
    """
    entry = network.find(layer)
    if layer is None:
        entry = _below_head(network.graph, entry)
    entries = [entry]
    if layer is None:
        entries += _earlier(network, entry)[: count - 1]
    return PooledLayers(tuple(entries), tuple(map(network.feature_layer, entries)), tuple(poolings))


def pooled_output(network: Network, pooled: PooledLayers, free: Callable[[str], str]) -> Symbol:
    """Return the layers as one output (N, D), the pooled layers joined in their order; ``free`` gives names to nodes.

    A layer (C, H, W) becomes C values for each pooling.
    """
    parts = []
    for entry, layer in zip(pooled.entries, pooled.layers):
        output = network.output(entry)
        if len(layer.shape) == 1:
            parts.append(output)
        elif layer.shape[1:] == (1, 1):
            parts.append(mx.sym.Flatten(output, name=free("head_flatten")))
        else:
            for pooling in pooled.poolings:
                area = mx.sym.Pooling(
                    output, global_pool=True, kernel=(1, 1), pool_type=pooling, name=free("head_pool")
                )
                parts.append(mx.sym.Flatten(area, name=free("head_flatten")))
    return parts[0] if len(parts) == 1 else mx.sym.Concat(*parts, dim=1, name=free("head_concat"))


def standardised(features: Symbol, name: str) -> Symbol:
    """Return the features (N, D) less a mean and divided by a standard deviation: those that the statistics hold.

    The statistics are parameters that training leaves alone.
    """
    return mx.sym.BatchNorm(features, fix_gamma=True, use_global_stats=True, eps=EPSILON, name=name)


def _below_head(graph: Graph, entry: tuple[int, int]) -> tuple[int, int]:
    """Return the feature layer that the head's ``entry`` was made of, or ``entry`` itself: no head made it."""
    # The first part of several is the feature layer's.
    while _is_of_head(graph.nodes[entry[0]]):
        entry = graph.nodes[entry[0]].inputs[0]
    return entry


def _is_of_head(node: Node) -> bool:
    known = _OF_HEAD.get(node.op)
    fixed = node.op != "BatchNorm" or node.keeps_statistics
    return known is not None and fixed and known.fullmatch(node.name) is not None


def _earlier(network: Network, entry: tuple[int, int]) -> list[tuple[int, int]]:
    """List the outputs with an area that everything on the way to ``entry`` passes, the nearest first."""
    graph = network.graph
    source = _unpooled(network, entry)
    taken: list[tuple[int, int]] = []
    shapes = {network.shapes[source][1:]}
    # A vector's length says nothing of the width of maps.
    width = network.shapes[source][1] if len(network.shapes[source]) == 4 else 0
    # What a Concat only adds to is in it already, also where the Concat itself is not taken.
    joined = set(_joined(graph, source[0]))
    for position in find_bottlenecks(graph, network.data_position, source[0]):
        found, shape, op = (position, 0), network.shapes[(position, 0)], graph.nodes[position].op
        is_joined = found in joined
        joined.update(_joined(graph, position))
        if is_joined:
            continue
        alone = (position, 1) not in network.shapes and op not in _NOT_TAKEN
        if not alone or len(shape) != 4 or shape[0] != network.images or shape[2:] == (1, 1):
            continue
        if shape[1:] in shapes or shape[1] < _LEAST_WIDTH * width:
            continue
        taken.append(found)
        shapes.add(shape[1:])
        width = shape[1]
    return taken


def _joined(graph: Graph, position: int) -> tuple[tuple[int, int], ...]:
    return graph.nodes[position].inputs if graph.nodes[position].op == "Concat" else ()


def _unpooled(network: Network, entry: tuple[int, int]) -> tuple[int, int]:
    """Return the map that ``entry`` is the mean of, where it is one: its values are that map's, pooled."""
    while True:
        node = network.graph.nodes[entry[0]]
        averages = node.op == "Pooling" and node.attrs.get("pool_type") == "avg"
        # Also without the attribute global_pool: with a kernel as large as the map.
        is_mean = averages and network.shapes[entry][2:] == (1, 1)
        if not (node.op in PASSING | RESHAPING or is_mean) or not node.inputs:
            return entry
        entry = node.inputs[0]
