"""The backend that runs a network with MXNet in float32."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence

import numpy as np

from mxml.errors import ModelError
from mxml.inference.backend import as_numpy
from mxml.model import symbols
from mxml.model.layers import Network
from mxml.runtime.imports import load_mxnet
from mxml.runtime.mxnet_errors import errors_named
from mxml.runtime.types import Context, NDArray, Symbol

mx = load_mxnet()

# MXNet's executors are driven by one thread at a time, in the whole process.
ONE_AT_A_TIME = threading.Lock()


class BoundNetwork:
    """A network with outputs (N, K), bound once for batches of one shape: MXNet's caches grow with every other.

    ``data_shape`` is that of one input, (3, H, W). Raises ModelError where the symbol does not take such inputs, and
    DeviceError where the memory is not enough.
    """

    def __init__(
        self,
        symbol: Symbol,
        arg_params: Mapping[str, NDArray],
        aux_params: Mapping[str, NDArray],
        devices: Sequence[Context],
        data_shape: tuple[int, int, int],
        batch_size: int,
    ):
        network = Network(symbol, data_shape)
        # Every device needs an image.
        self.batch_size = max(batch_size, len(devices))
        if all(device.device_type == "cpu" for device in devices):
            network.check_memory(self.batch_size, training=False)
        network.check_batch(self.batch_size)
        self._module = mx.mod.Module(symbol, data_names=["data"], label_names=None, context=list(devices))
        with ONE_AT_A_TIME, errors_named(self.batch_size):
            self._module.bind(data_shapes=[("data", (self.batch_size, *data_shape))], for_training=False)
            self._module.set_params(arg_params, aux_params, allow_extra=True)
        self.size: int = self._module.output_shapes[0][1][1]

    def output(self, data: np.ndarray | NDArray) -> np.ndarray:
        """Return the first output (N, K) float32 for inputs (N, 3, H, W) float32, for any N up to the batch size."""
        return self.outputs(data, 1)[0]

    def outputs(self, data: np.ndarray | NDArray, count: int) -> list[np.ndarray]:
        """Return the first ``count`` outputs, each as ``output`` does; the others are not copied."""
        with ONE_AT_A_TIME, errors_named(self.batch_size):
            batch = mx.io.DataBatch([fixed_batch(data, self.batch_size)])
            self._module.forward(batch, is_train=False)
            found = [as_float32(output) for output in self._module.get_outputs()[:count]]
        return [output[: len(data)] for output in found]


class MxnetBackend:
    """A multi-label network, bound; cut at its logits, so that no loss and no custom operator runs.

    Takes what ``BoundNetwork`` takes, and raises what it raises; also ModelError where the parameters do not fit.
    """

    def __init__(
        self,
        symbol: Symbol,
        arg_params: Mapping[str, NDArray],
        aux_params: Mapping[str, NDArray],
        devices: Sequence[Context],
        data_shape: tuple[int, int, int],
        batch_size: int,
    ):
        symbols.check_params(Network(symbol, data_shape), arg_params, aux_params)
        self.num_classes = symbols.describe_head(symbol, arg_params).num_classes
        # The features are computed anyway; who does not ask for them gets no copy.
        both = mx.sym.Group([symbols.logits_output(symbol), mx.sym.Flatten(symbols.features_output(symbol))])
        self._bound = BoundNetwork(both, arg_params, aux_params, devices, data_shape, batch_size)
        if self._bound.size != self.num_classes:
            raise ModelError(
                f"of images of shape {data_shape} it gives {self._bound.size} scores for {self.num_classes} labels; "
                "`image_shape` should be the one that it was trained with"
            )

    @property
    def batch_size(self) -> int:
        """Return how many images are computed at a time."""
        return self._bound.batch_size

    def logits(self, data: np.ndarray | NDArray) -> np.ndarray:
        """Return the logits (N, C) float32 of inputs (N, 3, H, W) float32, for any N up to the batch size."""
        return self._bound.output(data)

    def outputs(self, data: np.ndarray | NDArray) -> tuple[np.ndarray, np.ndarray]:
        """Return the logits as ``logits`` does, and the features (N, D) float32 that the head makes them of."""
        logits, features = self._bound.outputs(data, 2)
        return logits, features


def fixed_batch(data: np.ndarray | NDArray, batch_size: int) -> NDArray:
    """Return inputs (N, 3, H, W) as an NDArray of ``batch_size`` rows, filled up with zeros; whole batches uncopied.

    An array must stay as it is until the network's output is there.
    """
    if len(data) == batch_size and isinstance(data, mx.nd.NDArray):
        return data
    rows = as_numpy(data)
    if len(rows) < batch_size:
        padded = np.zeros((batch_size, *rows.shape[1:]), np.float32)
        padded[: len(rows)] = rows
        rows = padded
    # A view, since MXNet marks what it is handed as read-only.
    return mx.nd.from_numpy(np.ascontiguousarray(rows, np.float32).view())


def as_float32(array: NDArray) -> np.ndarray:
    """Return an output as float32; NumPy has no bfloat16, and MXNet would return its bits."""
    values: np.ndarray = array.astype(np.float32, copy=False).asnumpy()
    return values
