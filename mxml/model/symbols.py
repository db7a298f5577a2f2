"""From any pretrained classifier to a multi-label network: find its feature layer, cut it there, attach a head.

The head that mxml builds, on a feature layer of shape (N, C) or, averaged over its area first, (N, C, H, W)::

    feature layer ── fc (FullyConnected) ──┬── sig (sigmoid) ── softmax (Custom, CrossEntropyLoss, with_logits=True)
                                           └───────── logits ──────┘          └── label: softmax_label

A network of single labels has a softmax in place of the sigmoid::

    feature layer ── fc (FullyConnected) ──┬── softmax ── loss (Custom, SoftmaxCrossEntropyLoss, with_logits=True)
                                           └── logits ──────┘      └── label: softmax_label

The names are the original multilabel-MXNet script's. Where the backbone itself keeps a node of such a name, the head's
node is called ``head_fc`` and so on. Nothing here depends on names, only on the graph.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mxml.errors import ModelError
from mxml.model import params_file
from mxml.model.graph import Graph, Node, classifier_end, multi_label_end
from mxml.model.layers import Network
from mxml.model.losses import BINARY_CROSS_ENTROPY, Loss, Settings
from mxml.model.pooled_layers import PooledLayers, find_layers, pooled_output, standardised
from mxml.model.precision import in_float32
from mxml.model.run_files import RunFiles
from mxml.model.symbol_file import load_symbol
from mxml.runtime.imports import load_mxnet
from mxml.runtime.types import NDArray, Symbol
from mxml.text import shown

mx = load_mxnet()

LABEL_NAME = "softmax_label"
_SHOWN_NAMES = 5


@dataclass(frozen=True)
class Head:
    """What a symbol ends in that images can be tagged with: how many classes, its label's name and its loss.

    The last two are None where it ends in a sigmoid, or with ``single_label`` in a softmax. With ``lacks_softmax`` it
    ends in its logits, as Gluon exports a classifier.
    """

    num_classes: int
    label_name: str | None
    loss: Loss | None
    single_label: bool = False
    lacks_softmax: bool = False


@dataclass(frozen=True, eq=False)
class FineTuneModel:
    """A pretrained backbone under a new head, ready to train; ``head_names`` are the new head's parameters."""

    network: Network
    arg_params: dict[str, NDArray]
    aux_params: dict[str, NDArray]
    head_names: tuple[str, ...]
    layers: PooledLayers

    @property
    def symbol(self) -> Symbol:
        """Return the network's symbol."""
        return self.network.symbol


def attach_head(
    network: Network,
    num_classes: int,
    layers: PooledLayers | None = None,
    loss: Loss = BINARY_CROSS_ENTROPY,
    settings: Settings | None = None,
    *,
    standardise: bool = False,
) -> Symbol:
    """Cut a network at its feature layer, or at ``layers``, and put a head of ``num_classes`` there.

    The head is multi-label, or of single labels if the loss is.

    With ``standardise`` the head begins with a BatchNorm of fixed statistics, so that an optimizer's step on its
    weights means the same for features of any scale. Raises ModelError as ``find_layers`` does, and for a layer that no
    head can sit on.
    """
    if num_classes < 1:
        raise ModelError(f"a head needs at least one class, not {num_classes}")
    layers = layers or find_layers(network)
    kept_nodes = Graph.of(mx.sym.Group([network.output(entry) for entry in layers.entries])).nodes
    kept = {node.name for node in kept_nodes}
    if LABEL_NAME in kept or any(node.has_label for node in kept_nodes):
        network.fail(f"layer {layers.layers[0].name!r} lies behind the loss")

    def free(name: str) -> str:
        while kept & {name, f"{name}_weight", f"{name}_bias"}:
            name = f"head_{name}"
        kept.add(name)
        return name

    features = pooled_output(network, layers, free)
    if standardise:
        features = standardised(features, free("head_norm"))
    logits = mx.sym.FullyConnected(features, num_hidden=num_classes, name=free("fc"))
    if loss.single_label:
        probabilities, name = mx.sym.softmax(logits, name=free("softmax")), free("loss")
    else:
        probabilities, name = mx.sym.sigmoid(logits, name=free("sig")), free("softmax")
    return loss.attach(probabilities, logits, mx.sym.Variable(LABEL_NAME), name, settings)


def merge_params(
    network: Network,
    arg_params: Mapping[str, NDArray],
    aux_params: Mapping[str, NDArray],
    *,
    dropped: Collection[str] = (),
) -> tuple[dict[str, NDArray], dict[str, NDArray]]:
    """Give a multi-label network its parameters: those of the same name and shape, and a fresh head where it has none.

    ``dropped`` names the parameters that may be left over, the old head's; they are not used even where the new head
    has the same names. The new head begins at zero: every label then has probability 1/2, whatever the features'
    scale. With random weights, as in the original script, large features (SqueezeNet's) give confident mistakes, and
    most of a short run is spent on correcting them. Raises ModelError listing what is missing, left over or of another
    shape.
    """
    given_args = {name: value for name, value in arg_params.items() if name not in dropped}
    given_aux = {name: value for name, value in aux_params.items() if name not in dropped}
    statistics = _statistics_names(network.graph)
    known = given_args.keys() | given_aux.keys()
    fresh = [name for name in (*_head_names(network.graph), *statistics) if name not in known]
    _raise_misfit(network, given_args, given_aux, fresh)
    for name, shape in network.parameter_shapes(fresh).items():
        # Gamma and the variance, first and last, scale nothing.
        value = mx.nd.ones(shape) if name in statistics[::3] else mx.nd.zeros(shape)
        (given_aux if name in statistics[2:] else given_args)[name] = value
    return (
        {name: value.astype("float32", copy=False) for name, value in given_args.items()},
        {name: value.astype("float32", copy=False) for name, value in given_aux.items()},
    )


def check_params(network: Network, arg_params: Mapping[str, NDArray], aux_params: Mapping[str, NDArray]) -> None:
    """Raise ModelError unless these are a multi-label network's parameters, by name and shape, the head's included.

    It lists what is missing, left over or of another shape, and costs no memory, as binding the symbol would.
    """
    _raise_misfit(network, arg_params, aux_params, ())


def fine_tune_model(
    prefix: str | os.PathLike[str],
    epoch: int,
    num_classes: int,
    data_shape: Sequence[int],
    layer: str | None = None,
    loss: Loss = BINARY_CROSS_ENTROPY,
    settings: Settings | None = None,
    *,
    num_layers: int = 1,
    poolings: Sequence[str] = ("avg",),
    standardise: bool = False,
) -> FineTuneModel:
    """Load ``PREFIX-symbol.json`` and ``PREFIX-0000.params`` (of ``epoch``) and replace the head by a new one.

    The head sits on the feature layer, or on ``layer``; with ``num_layers`` also on layers before the feature layer.
    With ``standardise`` it scales its features. ``settings`` are the loss's.

    A multi-label network, the original script's or mxml's own, gets a new head like any other. One of float16 becomes
    one of float32. Raises ModelError naming the file at fault.
    """
    files = RunFiles(os.fspath(prefix))
    symbol = in_float32(load_symbol(files.symbol))
    params = params_file.read_params(files.params(epoch))
    params_file.check_finite(params, files.params(epoch))
    arg_params, aux_params = params_file.split_params(params, files.params(epoch))
    try:
        old = Network(symbol, data_shape)
        found = find_layers(old, layer, num_layers, poolings)
        new = Network(attach_head(old, num_classes, found, loss, settings, standardise=standardise), data_shape)
    except ModelError as error:
        raise ModelError(f"{files.symbol}: {error}") from error
    head_names = head_parameters(new.symbol)
    # The old head's statistics, under the names of the new ones, are of other features.
    fresh = {*head_names, *(head_statistics(new.symbol) if standardise else ())}
    kept = set(new.symbol.list_inputs()) - fresh
    dropped = {*symbol.list_inputs(), *fresh} - kept
    try:
        arg_params, aux_params = merge_params(new, arg_params, aux_params, dropped=dropped)
    except ModelError as error:
        raise ModelError(f"{files.params(epoch)}: {error}") from error
    return FineTuneModel(new, arg_params, aux_params, head_names, found)


def describe_head(symbol: Symbol, arg_params: Mapping[str, NDArray]) -> Head:
    """Say what a symbol ends in. Raises ModelError for one that cannot tag images, as ``classifier_end`` does."""
    graph = Graph.of(symbol)
    end = classifier_end(graph)
    weight = graph.nodes[graph.source(end.classifier, 1)].name
    if weight not in arg_params or not arg_params[weight].shape:
        raise ModelError(f"the parameters lack {weight!r}, the head's weights")
    lacks_softmax = end.loss is None and end.single_label and end.probabilities is None
    return Head(arg_params[weight].shape[0], end.label_name, end.loss, end.single_label, lacks_softmax)


def head_parameters(symbol: Symbol) -> tuple[str, ...]:
    """Return the names of a multi-label symbol's head's parameters: its weight and its bias."""
    return _head_names(Graph.of(symbol))


def features_output(symbol: Symbol) -> Symbol:
    """Return what a symbol's head works on, as it is before the head scales it: D numbers an image, of any shape.

    Of a map that a 1x1 convolution makes scores of at each position it is the mean over the positions, (N, D).
    """
    graph = Graph.of(symbol)
    classifier = graph.nodes[classifier_end(graph).classifier]
    norm = _head_norm(graph)
    features = graph.output(symbol, classifier.inputs[0] if norm is None else norm.inputs[0])
    if classifier.op == "FullyConnected":
        return features
    return mx.sym.Flatten(mx.sym.Pooling(features, global_pool=True, kernel=(1, 1), pool_type="avg"))


def logits_output(symbol: Symbol) -> Symbol:
    """Return the output that feeds a symbol's sigmoid or softmax, (N, C)."""
    graph = Graph.of(symbol)
    end = classifier_end(graph)
    logits = graph.output(symbol, end.logits)
    # What comes from a map may still be (N, C, 1, 1).
    return logits if graph.nodes[end.logits[0]].op == "FullyConnected" else mx.sym.Flatten(logits)


def plain_symbol(symbol: Symbol) -> Symbol:
    """Cut a multi-label symbol at its sigmoid or softmax: probabilities (N, C), no label, no custom operator.

    Any program with MXNet can load it, with the parameters of the whole symbol.
    """
    graph = Graph.of(symbol)
    end = multi_label_end(graph)
    if end.probabilities is None:
        return mx.sym.sigmoid(graph.output(symbol, end.logits), name="sig")
    return graph.output(symbol, end.probabilities)


def loss_of(symbol: Symbol) -> tuple[Loss, Settings]:
    """Return the loss that a multi-label symbol ends in, with its settings there.

    Raises ModelError for a symbol that ends in its sigmoid.
    """
    graph = Graph.of(symbol)
    loss = multi_label_end(graph).loss
    if loss is None:
        raise ModelError("the network ends in its sigmoid, so there is no loss to train with")
    return loss, loss.parse(graph.nodes[graph.heads[0][0]].attrs)


def training_symbol(symbol: Symbol, loss: Loss = BINARY_CROSS_ENTROPY, settings: Settings | None = None) -> Symbol:
    """Put ``loss`` with its settings behind a symbol that ends in its sigmoid or softmax.

    It is the inverse of ``plain_symbol``. One that ends in a loss is returned as it is. Raises ModelError where
    the loss is for the other kind of labels.
    """
    graph = Graph.of(symbol)
    end = multi_label_end(graph)
    if end.loss is not None:
        return symbol
    if end.single_label != loss.single_label:
        raise ModelError(
            f"the network ends in its {'softmax' if end.single_label else 'sigmoid'}, which the loss "
            f"{loss.name!r} is not for"
        )
    names = {node.name for node in graph.nodes}
    wanted = "loss" if loss.single_label else "softmax"
    name = wanted if wanted not in names else f"head_{wanted}"
    return loss.attach(symbol, graph.output(symbol, end.logits), mx.sym.Variable(LABEL_NAME), name, settings)


def head_statistics(symbol: Symbol) -> tuple[str, ...]:
    """Return the names of gamma, beta, mean and variance of the BatchNorm that a head begins with; none without one.

    Training leaves them alone.
    """
    return _statistics_names(Graph.of(symbol))


def _head_names(graph: Graph) -> tuple[str, ...]:
    classifier = graph.nodes[multi_label_end(graph).classifier]
    return tuple(graph.nodes[at].name for at, _ in classifier.inputs[1:])


def _statistics_names(graph: Graph) -> tuple[str, ...]:
    norm = _head_norm(graph)
    return () if norm is None else tuple(graph.nodes[at].name for at, _ in norm.inputs[1:])


def _head_norm(graph: Graph) -> Node | None:
    """Return the BatchNorm of fixed statistics that the classifier reads, if there is one."""
    node = graph.nodes[graph.nodes[classifier_end(graph).classifier].inputs[0][0]]
    return node if node.op == "BatchNorm" and node.keeps_statistics else None


def _raise_misfit(
    network: Network,
    arg_params: Mapping[str, NDArray],
    aux_params: Mapping[str, NDArray],
    may_be_missing: Collection[str],
) -> None:
    missing: list[str] = []
    left_over: list[str] = []
    differing: list[str] = []
    symbol = network.symbol
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
    groups = (("missing", missing), ("left over", left_over), ("of another shape or type", sorted(differing)))
    found = [f"{what}: {shown(names, _SHOWN_NAMES)}" for what, names in groups if names]
    if found:
        raise ModelError(f"the parameters do not fit the symbol; {'; '.join(found)}")
