"""A network in two parts: from its input to some of its layers, and from these to its output."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from mxml.model.graph import BATCH_NORMS, Graph, to_document
from mxml.model.layers import Network
from mxml.runtime.imports import load_mxnet
from mxml.runtime.types import Symbol

mx = load_mxnet()


def cut_at(network: Network, entries: Sequence[tuple[int, int]]) -> tuple[Symbol, Symbol, tuple[str, ...]]:
    """Cut a network where ``entries`` are computed, which all that leads from its input to its output passes.

    Returns the part before the cut, with one output for each of them; the part behind it, which has variables in their
    place and so takes each as it is, whatever it is computed from; and these variables' names. MXNet computes gradients
    in training only, so the part behind computes in training what the whole network computes in inference.
    """
    before = mx.sym.Group([network.output(entry) for entry in entries])
    names = _free_names(network.graph, len(entries))
    document = to_document(network.symbol)
    added: list[dict[str, Any]] = [{"op": "null", "name": name, "inputs": []} for name in names]
    places = {entry: [number, 0, 0] for number, entry in enumerate(entries)}

    def moved(entry: list[int]) -> list[int]:
        position, output, *_ = entry
        return places.get((position, output), [position + len(added), output, 0])

    for node in document["nodes"]:
        node["inputs"] = [moved(entry) for entry in node["inputs"]]
        _make_inferring(node)
    nodes = added + document["nodes"]
    behind = {
        **document,
        "nodes": nodes,
        "arg_nodes": [position for position, node in enumerate(nodes) if node["op"] == "null"],
        "heads": [moved(entry) for entry in document["heads"]],
    }
    # The row pointers are those of the nodes as they were.
    behind.pop("node_row_ptr", None)
    return before, mx.sym.load_json(json.dumps(behind)), names


def _make_inferring(node: dict[str, Any]) -> None:
    """Let a node compute the same in training as in inference, and pass gradients on."""
    if node["op"] in ("Dropout", "BlockGrad"):
        node.update(op="_copy", attrs={})
    elif node["op"] in BATCH_NORMS:
        node.setdefault("attrs", {})["use_global_stats"] = "True"


def _free_names(graph: Graph, count: int) -> tuple[str, ...]:
    taken = {node.name for node in graph.nodes}
    prefix = "layer"
    while any(f"{prefix}{number}" in taken for number in range(count)):
        prefix = f"cut_{prefix}"
    return tuple(f"{prefix}{number}" for number in range(count))
