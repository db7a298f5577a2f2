"""Networks under a multi-label head, with random parameters, and bound for training on the CPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tiny

from mxml.model import symbols
from mxml.model.layers import Network
from mxml.runtime.imports import load_mxnet
from mxml.runtime.types import NDArray, Symbol
from mxml.training.bound_module import BoundModule
from mxml.training.optimizers import OptimizerSettings

mx = load_mxnet()
OPTIMIZERS = ("sgd", "nag", "adam", "adamw")
CLASSES = 3


def pretrained(dropout: float = 0.0) -> Symbol:
    """A classifier of the kind that is fine-tuned, with channel counts for which oneDNN has memory layouts."""
    net = mx.sym.Variable("data")
    net = mx.sym.Convolution(net, num_filter=16, kernel=(3, 3), no_bias=True, name="conv0")
    net = mx.sym.BatchNorm(net, fix_gamma=False, name="bn0")
    net = mx.sym.Activation(net, act_type="relu", name="relu0")
    net = mx.sym.Convolution(net, num_filter=32, kernel=(3, 3), stride=(2, 2), name="conv1")
    net = mx.sym.Activation(net, act_type="relu", name="relu1")
    net = mx.sym.Convolution(net, num_filter=64, kernel=(3, 3), name="conv2")
    net = mx.sym.Activation(net, act_type="relu", name="relu2")
    if dropout:
        net = mx.sym.Dropout(net, p=dropout, name="drop")
    return _classified(net)


def without_batch_norm() -> Symbol:
    """A classifier for which it makes no difference how a batch is shared out."""
    net = mx.sym.Variable("data")
    for number, filters in enumerate((16, 32)):
        net = mx.sym.Convolution(net, num_filter=filters, kernel=(3, 3), stride=(2, 2), name=f"conv{number}")
        net = mx.sym.Activation(net, act_type="relu", name=f"relu{number}")
    return _classified(net)


def _classified(net: Symbol) -> Symbol:
    net = mx.sym.Pooling(net, global_pool=True, kernel=(1, 1), pool_type="avg", name="pool")
    net = mx.sym.FullyConnected(mx.sym.Flatten(net), num_hidden=7, name="fc")
    return mx.sym.SoftmaxOutput(net, name="softmax")


def with_head(
    classifier: Symbol, shape: tuple[int, ...], generator: np.random.Generator
) -> tuple[Symbol, dict[str, NDArray], dict[str, NDArray]]:
    """Return a classifier under a multi-label head, with its parameters."""
    symbol = symbols.attach_head(Network(classifier, shape), CLASSES)
    return symbol, *tiny.random_parameters(symbol, shape, generator)


def bind(
    symbol: Symbol,
    args: dict[str, NDArray],
    aux: dict[str, NDArray],
    optimizer: OptimizerSettings,
    data_shape: Sequence[int],
    devices: int = 1,
    **changes: Any,
) -> BoundModule:
    """Bind a network for batches of ``data_shape`` (N, C, H, W)."""
    return BoundModule(
        symbol,
        args,
        aux,
        devices=[mx.cpu(number) for number in range(devices)],
        provide_data=[mx.io.DataDesc("data", tuple(data_shape))],
        provide_label=[mx.io.DataDesc("softmax_label", (data_shape[0], CLASSES))],
        optimizer=optimizer,
        **changes,
    )
