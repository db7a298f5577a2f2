"""The parameters that a network begins with when it is trained from scratch."""

from __future__ import annotations

import math
import zlib

import numpy as np

from mxml.model.layers import Network
from mxml.runtime.imports import load_mxnet
from mxml.runtime.types import NDArray

mx = load_mxnet()

_LAYERS = ("Convolution", "FullyConnected")
# What the inputs of a BatchNorm after the first begin with: gamma, beta, moving mean, moving variance.
_BATCH_NORM = (1.0, 0.0, 0.0, 1.0)


def first_parameters(network: Network, seed: int) -> tuple[dict[str, NDArray], dict[str, NDArray]]:
    """Return random arguments and auxiliary states for a network of convolutions, dense layers and BatchNorms.

    Weights are normal with variance 2 / fan_in (He et al. 2015, Delving Deep into Rectifiers, eq. 10), which keeps the
    variance from layer to layer where ReLUs follow; biases are 0; a BatchNorm passes on what it normalises. Each
    weight's numbers depend only on the seed, its name and its shape, not on what was drawn before.
    """
    arguments: dict[str, NDArray] = {}
    states: dict[str, NDArray] = {}
    auxiliary = set(network.symbol.list_auxiliary_states())
    for node in network.graph.nodes:
        if node.op not in (*_LAYERS, "BatchNorm"):
            continue
        for number, entry in enumerate(node.inputs[1:]):
            name, shape = network.graph.nodes[entry[0]].name, network.shapes[entry]
            if node.op == "BatchNorm":
                values = np.full(shape, _BATCH_NORM[number], np.float32)
            else:
                values = _weight(name, shape, seed) if number == 0 else np.zeros(shape, np.float32)
            (states if name in auxiliary else arguments)[name] = mx.nd.array(values)
    return arguments, states


def _weight(name: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    generator = np.random.default_rng([seed, zlib.crc32(name.encode())])
    values = generator.standard_normal(shape, np.float32)
    values *= np.float32(math.sqrt(2 / math.prod(shape[1:])))
    return values
