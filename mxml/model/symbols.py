"""From any pretrained classifier to a multi-label network: find its feature layer, cut it there, attach a head.

The head that mxml builds, on a feature layer of shape (N, C) or, averaged over its area first, (N, C, H, W)::

    feature layer ── fc (FullyConnected) ──┬── sig (sigmoid) ── softmax (Custom, CrossEntropyLoss, with_logits=True)
                                           └───────── logits ──────┘          └── label: softmax_label

The names are the original multilabel-MXNet script's. Where the backbone itself keeps a node of such a name, the head's
node is called ``head_fc`` and so on. Nothing here goes by names: the graph says what is what.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mxml.errors import ModelError
from mxml.model import params_file
from mxml.model.graph import LOSSES, Graph, multi_label_end
from mxml.model.layers import FeatureLayer, Network, feature_layers, find_feature_layer, some_names
from mxml.model.losses import OP_TYPE
from mxml.model.run_files import RunFiles
from mxml.model.symbol_file import load_symbol
from mxml.runtime.imports import load_mxnet

mx = load_mxnet()

__all__ = [
    "FeatureLayer",
    "FineTuneModel",
    "Head",
    "attach_head",
    "check_params",
    "describe_head",
    "feature_layers",
    "find_feature_layer",
    "fine_tune_model",
    "load_symbol",
    "logits_output",
    "merge_params",
    "probabilities_symbol",
]

LABEL_NAME = "softmax_label"


@dataclass(frozen=True)
class Head:
    """What a multi-label symbol ends in: how many classes, and its label's name (None where it ends in a sigmoid)."""

    num_classes: int
    label_name: str | None


@dataclass(frozen=True, eq=False)
class FineTuneModel:
    """A pretrained backbone under a new head, ready to train; ``head_names`` are the new head's parameters."""

    symbol: Any
    arg_params: dict[str, Any]
    aux_params: dict[str, Any]
    head_names: tuple[str, ...]
    layer: FeatureLayer


def attach_head(symbol: Any, num_classes: int, data_shape: Sequence[int], layer: str | None = None) -> Any:
    """Cut a network at its feature layer, or at ``layer``, and put a multi-label head of ``num_classes`` there.

    Raises ModelError as ``find_feature_layer`` does.
    """
    if num_classes < 1:
        raise ModelError(f"a head needs at least one class, not {num_classes}")
    network = Network(symbol, data_shape)
    entry = network.find(layer)
    features = network.output(entry)
    kept_nodes = Graph.of(features).nodes
    kept = {node.name for node in kept_nodes}
    if LABEL_NAME in kept or any(node.op in LOSSES for node in kept_nodes):
        network.fail(f"layer {network.name(entry)!r} lies behind the loss")

    def free(name: str) -> str:
        while kept & {name, f"{name}_weight", f"{name}_bias"}:
            name = f"head_{name}"
        return name

    shape = network.feature_layer(entry).shape
    if len(shape) == 3:
        if shape[1:] != (1, 1):
            features = mx.sym.Pooling(
                features, global_pool=True, kernel=(1, 1), pool_type="avg", name=free("head_pool")
            )
        features = mx.sym.Flatten(features, name=free("head_flatten"))
    logits = mx.sym.FullyConnected(features, num_hidden=num_classes, name=free("fc"))
    probabilities = mx.sym.sigmoid(logits, name=free("sig"))
    return mx.sym.Custom(
        data=probabilities,
        label=mx.sym.Variable(LABEL_NAME),
        logits=logits,
        op_type=OP_TYPE,
        with_logits=True,
        name=free("softmax"),
    )


def merge_params(
    symbol: Any,
    arg_params: Mapping[str, Any],
    aux_params: Mapping[str, Any],
    data_shape: Sequence[int],
    *,
    dropped: Collection[str] = (),
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Give a multi-label symbol its parameters: those of the same name and shape, and a fresh head where it has none.

    ``dropped`` names the parameters that may be left over, the old head's; they are not used even where the new head
    has the same names. The new head begins at zero, where every label has probability 1/2 whatever the features'
    scale; drawn at random, as the original script draws it, large features (SqueezeNet's) make it begin with errors so
    sure that most of a short run goes into unlearning them. Raises ModelError listing what is missing, left over or of
    another shape.
    """
    given_args = {name: value for name, value in arg_params.items() if name not in dropped}
    given_aux = {name: value for name, value in aux_params.items() if name not in dropped}
    network = Network(symbol, data_shape)
    fresh = [name for name in _head_names(network.graph) if name not in given_args]
    _raise_misfit(symbol, network, given_args, given_aux, fresh)
    for name, shape in network.parameter_shapes(fresh).items():
        given_args[name] = mx.nd.zeros(shape)
    return (
        {name: value.astype("float32", copy=False) for name, value in given_args.items()},
        {name: value.astype("float32", copy=False) for name, value in given_aux.items()},
    )


def check_params(
    symbol: Any, arg_params: Mapping[str, Any], aux_params: Mapping[str, Any], data_shape: Sequence[int]
) -> None:
    """Raise ModelError unless these are a multi-label symbol's parameters, by name and shape, the head's included.

    It lists what is missing, left over or of another shape, and costs no memory, as binding the symbol would.
    """
    _raise_misfit(symbol, Network(symbol, data_shape), arg_params, aux_params, ())


def fine_tune_model(
    prefix: str | os.PathLike[str],
    epoch: int,
    num_classes: int,
    data_shape: Sequence[int],
    layer: str | None = None,
) -> FineTuneModel:
    """Load ``PREFIX-symbol.json`` and ``PREFIX-0000.params`` (of ``epoch``) and replace the head by a new one.

    A multi-label network, the original script's or mxml's own, gets a new head as any other. Raises ModelError or
    CheckpointError naming the file at fault.
    """
    files = RunFiles(os.fspath(prefix))
    old = load_symbol(files.symbol)
    params = params_file.read_params(files.params(epoch))
    params_file.check_finite(params, files.params(epoch))
    arg_params, aux_params = params_file.split_params(params, files.params(epoch))
    try:
        found = find_feature_layer(old, data_shape, layer)
        symbol = attach_head(old, num_classes, data_shape, layer)
    except ModelError as error:
        raise ModelError(f"{files.symbol}: {error}") from error
    head_names = head_parameters(symbol)
    kept = set(symbol.list_inputs()) - set(head_names)
    dropped = {*old.list_inputs(), *head_names} - kept
    try:
        arg_params, aux_params = merge_params(symbol, arg_params, aux_params, data_shape, dropped=dropped)
    except ModelError as error:
        raise ModelError(f"{files.params(epoch)}: {error}") from error
    return FineTuneModel(symbol, arg_params, aux_params, head_names, found)


def describe_head(symbol: Any, arg_params: Mapping[str, Any]) -> Head:
    """Say what a multi-label symbol ends in. Raises ModelError for one that is not multi-label, a softmax above all."""
    graph = Graph.of(symbol)
    end = multi_label_end(graph)
    weight = graph.nodes[graph.source(end.classifier, 1)].name
    if weight not in arg_params or not arg_params[weight].shape:
        raise ModelError(f"the parameters lack {weight!r}, the head's weights")
    return Head(arg_params[weight].shape[0], end.label_name)


def head_parameters(symbol: Any) -> tuple[str, ...]:
    """Return the names of a multi-label symbol's head's parameters: its weight and its bias."""
    return _head_names(Graph.of(symbol))


def logits_output(symbol: Any) -> Any:
    """Return the output that feeds a multi-label symbol's sigmoid, (N, C)."""
    graph = Graph.of(symbol)
    return graph.output(symbol, multi_label_end(graph).logits)


def probabilities_symbol(symbol: Any) -> Any:
    """Cut a multi-label symbol at its sigmoid: probabilities (N, C), no label, no custom operator."""
    graph = Graph.of(symbol)
    end = multi_label_end(graph)
    if end.probabilities is None:
        return mx.sym.sigmoid(graph.output(symbol, end.logits), name="sig")
    return graph.output(symbol, end.probabilities)


def _head_names(graph: Graph) -> tuple[str, ...]:
    classifier = graph.nodes[multi_label_end(graph).classifier]
    return tuple(graph.nodes[at].name for at, _ in classifier.inputs[1:])


def _raise_misfit(
    symbol: Any,
    network: Network,
    arg_params: Mapping[str, Any],
    aux_params: Mapping[str, Any],
    may_be_missing: Collection[str],
) -> None:
    missing: list[str] = []
    left_over: list[str] = []
    differing: list[str] = []
    for names, given in ((symbol.list_arguments(), arg_params), (symbol.list_auxiliary_states(), aux_params)):
        wanted = network.parameter_shapes(names)
        missing.extend(name for name in wanted if name not in given and name not in may_be_missing)
        left_over.extend(name for name in given if name not in wanted)
        for name in wanted.keys() & given.keys():
            shape, dtype = given[name].shape, given[name].dtype
            if shape != wanted[name]:
                differing.append(f"{name} {shape} in place of {wanted[name]}")
            elif np.issubdtype(dtype, np.integer):
                differing.append(f"{name} of {np.dtype(dtype)} in place of float32")
    sides = (("missing", missing), ("left over", left_over), ("of another shape or type", sorted(differing)))
    found = [f"{what}: {some_names(names)}" for what, names in sides if names]
    if found:
        raise ModelError(f"the parameters do not fit the symbol; {'; '.join(found)}")
