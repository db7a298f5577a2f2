"""The same network in a form that trains faster on CPUs, with the same inputs, outputs and parameters.

- Concatenations that convolutions can do without are not made. oneDNN computes in a blocked memory layout, but MXNet's
  Concat returns its gradients in the plain one, so that every layer before it converts to and fro. A convolution of
  joined channels is the sum of the convolutions of the parts, each with its slice of the weight, and a pooling works
  channel by channel. Results differ by float32's rounding.
- A global average pooling is MXNet's adaptive one: oneDNN's takes as long as the rest of SqueezeNet for its gradient on
  maps of some size, which heads on several layers have. Results differ by float32's rounding.
- A ReLU whose output only a max pooling reads comes after it, where there is less to do: both keep the order of
  numbers, so the values are the same, and the gradients too.
"""

from __future__ import annotations

import json
import math
from typing import Any

from mxml.model.graph import Graph, Node, to_document
from mxml.model.layers import Network
from mxml.runtime.imports import load_mxnet
from mxml.runtime.types import Symbol

mx = load_mxnet()

_CHANNELS = 1
# One Concat is replaced by at most about so many nodes.
_MOST_NODES = 10_000


def training_graph(network: Network) -> Symbol:
    """Return a symbol that computes the same as the network's, faster."""
    adapted = Network(adaptive_means(network.symbol), network.data_shape, network.images)
    return pool_before_relu(split_concats(adapted))


def adaptive_means(symbol: Symbol) -> Symbol:
    """Return the network with its global average poolings computed by the operator whose gradient is fast."""
    document = to_document(symbol)
    for node, written in zip(Graph.of(symbol).nodes, document["nodes"]):
        if node.op != "Pooling" or not _is_global(node) or node.attrs.get("pool_type") != "avg":
            continue
        if _is_channels_first(node) and node.attrs.get("kernel", "").count(",") == 1:
            written.update(op="_contrib_AdaptiveAvgPooling2D", attrs={"output_size": "(1, 1)"})
    return mx.sym.load_json(json.dumps(document))


def split_concats(network: Network) -> Symbol:
    """Return the network's symbol with no Concat where parts will do.

    A Concat stays where anything but convolutions and poolings reads it, and where the sums that replace it would be
    larger than itself.
    """
    graph = network.graph
    users = _users(graph)
    avoided = {
        position
        for position, node in enumerate(graph.nodes)
        if _joins_channels(node, network, position)
        and _sum_channels(graph, users, position) < network.shapes[(position, 0)][_CHANNELS]
    }
    if not avoided:
        return network.symbol
    return mx.sym.load_json(_Rewriting(to_document(network.symbol), network, avoided).text())


def pool_before_relu(symbol: Symbol) -> Symbol:
    """Return the network with every ReLU behind the max pooling that alone reads it."""
    graph = Graph.of(symbol)
    users = _users(graph)
    document = to_document(symbol)
    nodes = document["nodes"]
    for position, node in enumerate(graph.nodes):
        if node.op != "Pooling" or node.attrs.get("pool_type", "max") != "max":
            continue
        source = graph.source(position)
        if _is_relu(graph.nodes[source]) and users[source] == [(position, 0)]:
            for key in ("op", "name", "attrs"):
                nodes[source][key], nodes[position][key] = nodes[position].get(key, {}), nodes[source].get(key, {})
    return mx.sym.load_json(json.dumps(document))


def _is_relu(node: Node) -> bool:
    return node.op == "relu" or (node.op == "Activation" and node.attrs.get("act_type") == "relu")


def _users(graph: Graph) -> dict[int, list[tuple[int | None, int]]]:
    """Return, for every node, who reads it and as which input; None stands for the caller."""
    users: dict[int, list[tuple[int | None, int]]] = {position: [] for position in range(len(graph.nodes))}
    for position, node in enumerate(graph.nodes):
        for number, (source, _) in enumerate(node.inputs):
            users[source].append((position, number))
    for head, _ in graph.heads:
        users[head].append((None, 0))
    return users


def _joins_channels(node: Node, network: Network, position: int) -> bool:
    shapes = [network.shapes[entry] for entry in (*node.inputs, (position, 0))]
    return (
        node.op == "Concat"
        and len(node.inputs) > 1
        and node.attrs.get("dim", "1") == str(_CHANNELS)
        and all(len(shape) == 4 and min(shape) > 0 for shape in shapes)
    )


def _sum_channels(graph: Graph, users: dict[int, list[tuple[int | None, int]]], position: int) -> float:
    """Return how many channels would have to be added up without the node's output; infinitely many if it is needed."""
    parts = len(graph.nodes[position].inputs)
    total = 0.0
    waiting, nodes = [position], 0
    while waiting:
        for user, number in users[waiting.pop()]:
            nodes += parts
            if user is None or nodes > _MOST_NODES:
                return math.inf
            node = graph.nodes[user]
            if node.op == "Pooling" and _is_channels_first(node):
                if not _is_global(node):
                    waiting.append(user)
            elif (
                node.op == "Convolution"
                and number == 0
                and _is_plain(node)
                and graph.nodes[node.inputs[1][0]].op == "null"
            ):
                total += int(node.attrs["num_filter"]) * (parts - 1)
            else:
                return math.inf
    return total


def _is_channels_first(node: Node) -> bool:
    return node.attrs.get("layout", "None") in ("None", "NCHW")


def _is_plain(node: Node) -> bool:
    return node.attrs.get("num_group", "1") == "1" and _is_channels_first(node)


def _is_global(node: Node) -> bool:
    return node.is_set("global_pool")


class _Rewriting:
    """Writes a symbol's JSON again, node by node; ``parts`` are the pieces of what is no longer joined."""

    def __init__(self, document: dict[str, Any], network: Network, avoided: set[int]):
        self.document = document
        self.nodes: list[dict[str, Any]] = []
        self.entries: dict[tuple[int, int], list[int]] = {}
        self.parts: dict[int, list[tuple[list[int], int]]] = {}
        for position, node in enumerate(document["nodes"]):
            sources = [(source, output) for source, output, *_ in node["inputs"]]
            if position in avoided:
                widths = [network.shapes[source][_CHANNELS] for source in sources]
                self.parts[position] = [(self.entries[source], width) for source, width in zip(sources, widths)]
            elif sources and sources[0][0] in self.parts:
                if node["op"] == "Convolution":
                    # MXNet cannot infer a parameter's shape from its slices.
                    weight = self.nodes[self.entries[sources[1]][0]]
                    shape = network.shapes[sources[1]]
                    weight["attrs"] = {**weight.get("attrs", {}), "__shape__": str(shape)}
                self._split(position, node, self.parts[sources[0][0]], [self.entries[source] for source in sources[1:]])
            else:
                added = self._add({**node, "inputs": [self.entries[source] for source in sources]})
                self.entries.update(
                    {(position, output): [added[0], output, 0] for output in _outputs(network, position)}
                )

    def text(self) -> str:
        """Return the new symbol as JSON."""
        heads = [self.entries[(head[0], head[1])] for head in self.document["heads"]]
        variables = [position for position, node in enumerate(self.nodes) if node["op"] == "null"]
        new = {"nodes": self.nodes, "arg_nodes": variables, "heads": heads, "attrs": self.document["attrs"]}
        return json.dumps(new)

    def _split(
        self, position: int, node: dict[str, Any], parts: list[tuple[list[int], int]], rest: list[list[int]]
    ) -> None:
        if node["op"] == "Convolution":
            self.entries[(position, 0)] = self._split_convolution(node, parts, rest)
            return
        pooled = [
            (self._add({**node, "name": f"{node['name']}_part{number}", "inputs": [entry]}), width)
            for number, (entry, width) in enumerate(parts)
        ]
        if _is_global(Node(node["name"], node["op"], node["attrs"], ())):
            attrs = {"dim": str(_CHANNELS), "num_args": str(len(pooled))}
            joined = {"op": "Concat", "name": node["name"], "attrs": attrs, "inputs": [entry for entry, _ in pooled]}
            self.entries[(position, 0)] = self._add(joined)
        else:
            self.parts[position] = pooled

    def _split_convolution(
        self, node: dict[str, Any], parts: list[tuple[list[int], int]], rest: list[list[int]]
    ) -> list[int]:
        name, (weight, *bias) = node["name"], rest
        total: list[int] | None = None
        begin = 0
        for number, (entry, width) in enumerate(parts):
            attrs = {"axis": str(_CHANNELS), "begin": str(begin), "end": str(begin + width)}
            slice_name = f"{name}_part{number}_weight"
            piece = self._add({"op": "slice_axis", "name": slice_name, "attrs": attrs, "inputs": [weight]})
            attrs = node["attrs"] if number == 0 else {**node["attrs"], "no_bias": "True"}
            inputs = [entry, piece, *(bias if number == 0 else [])]
            summand = self._add({**node, "name": f"{name}_part{number}", "attrs": attrs, "inputs": inputs})
            if total is not None:
                sum_name = name if number == len(parts) - 1 else f"{name}_sum{number}"
                summand = self._add({"op": "elemwise_add", "name": sum_name, "inputs": [total, summand]})
            total = summand
            begin += width
        assert total is not None
        return total

    def _add(self, node: dict[str, Any]) -> list[int]:
        self.nodes.append(node)
        return [len(self.nodes) - 1, 0, 0]


def _outputs(network: Network, position: int) -> list[int]:
    return [output for at, output in network.graph.entries if at == position]
