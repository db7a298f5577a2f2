"""How fast a named network computes on this machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from mxml.inference.mxnet_backend import MxnetBackend
from mxml.model.networks.catalogue import NamedNetwork
from mxml.model.networks.from_scratch import scratch_model
from mxml.model.symbols import plain_symbol
from mxml.runtime.imports import load_mxnet
from mxml.runtime.types import Context
from mxml.training.bound_module import BoundModule
from mxml.training.optimizers import OptimizerSettings

mx = load_mxnet()

# The first batches also allocate memory and choose algorithms.
_WARM_UP = 2
_LEAST_BATCHES = 2
_LEAST_SECONDS = 3.0


@dataclass(frozen=True)
class Speed:
    """Images per second, of input that is ready: decoding is not part of it.

    Attributes
    ----------
    inference : float
        A forward pass to the scores.
    training : float
        A step of SGD with momentum: forward, backward and update.
    """

    inference: float
    training: float


def measure_speed(known: NamedNetwork, num_classes: int, batch_size: int, devices: Sequence[Context]) -> Speed:
    """Measure a named network on random images of the size that it was designed for.

    Each rate is over at least 3 seconds and 2 batches, after 2 others. Raises DeviceError where the memory is not
    enough.
    """
    model = scratch_model(known.name, num_classes, known.image_shape, 0)
    generator = np.random.default_rng(0)
    data = mx.nd.array(generator.standard_normal((batch_size, *known.image_shape), np.float32))
    label = mx.nd.array(generator.integers(0, 2, (batch_size, num_classes)))
    backend = MxnetBackend(
        plain_symbol(model.symbol), model.arg_params, model.aux_params, devices, known.image_shape, batch_size
    )
    inference = _rate(lambda: backend.logits(data), mx.nd.waitall) * batch_size
    module = BoundModule(
        model.symbol,
        model.arg_params,
        model.aux_params,
        devices=devices,
        provide_data=[mx.io.DataDesc("data", data.shape)],
        provide_label=[mx.io.DataDesc("softmax_label", label.shape)],
        optimizer=OptimizerSettings("sgd"),
    )
    batch = mx.io.DataBatch([data], [label], pad=0)
    return Speed(inference, _rate(lambda: module.step(batch, 1e-6), mx.nd.waitall) * batch_size)


def _rate(compute: Callable[[], object], wait: Callable[[], object]) -> float:
    for _ in range(_WARM_UP):
        compute()
    wait()
    batches, start = 0, time.perf_counter()
    while batches < _LEAST_BATCHES or time.perf_counter() - start < _LEAST_SECONDS:
        compute()
        batches += 1
    wait()
    return batches / (time.perf_counter() - start)
