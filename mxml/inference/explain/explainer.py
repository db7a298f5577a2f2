"""A network taken apart at the layers that its scores are explained at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mxml.evaluation.calibration import Calibration
from mxml.inference.explain.maps import class_activation_map, grad_cam
from mxml.inference.explain.placement import spread
from mxml.inference.mxnet_backend import ONE_AT_A_TIME
from mxml.model.cut import cut_at
from mxml.model.layers import Network
from mxml.model.receptive_fields import cell_grid
from mxml.model.target_layers import find_target_layers
from mxml.model.training_graph import adaptive_means
from mxml.runtime.imports import load_mxnet
from mxml.runtime.mxnet_errors import errors_named
from mxml.runtime.types import Context, NDArray, Symbol

mx = load_mxnet()


@dataclass(frozen=True, eq=False)
class Evidence:
    """``logits`` (C,) float32 of an input, and of L classes ``maps`` (L, h, w) float32 over the input's pixels.

    ``constants`` (L,) is what is no part of a map: with class activation maps, a map's sum and its constant are the
    logit. With Grad-CAM they are NaN: its maps add up to nothing.
    """

    logits: np.ndarray
    maps: np.ndarray
    constants: np.ndarray

    def calibrated(self, calibration: Calibration, classes: Sequence[int]) -> Evidence:
        """Return the evidence for the calibrated logits of the ``classes`` that the maps are of."""
        slopes, intercepts = (
            np.array(values, np.float32)[list(classes)] for values in (calibration.slopes, calibration.intercepts)
        )
        logits = calibration.apply(self.logits[None])[0]
        return Evidence(logits, self.maps * slopes[:, None, None], self.constants * slopes + intercepts)


class Explainer:
    """Computes the evidence for the scores of a network whose one output are logits (N, C), for one input at a time.

    Class activation maps where the logits are sums over layers with an area, as they are under mxml's heads; Grad-CAM
    of the last such layer otherwise. ``exact`` says which; ``layers`` names the layers.

    Raises ModelError where no layer with an area leads to the logits alone, and DeviceError where the memory is not
    enough.
    """

    def __init__(
        self,
        symbol: Symbol,
        arg_params: Mapping[str, NDArray],
        aux_params: Mapping[str, NDArray],
        device: Context,
        data_shape: tuple[int, int, int],
    ):
        network = Network(symbol, data_shape)
        if device.device_type == "cpu":
            network.check_memory(1, training=False)
        target = find_target_layers(network)
        self.exact = target.exact
        self.layers = tuple(map(network.name, target.entries))
        self._size = data_shape[1:]
        self._grids = [cell_grid(network, entry, is_last=entry == target.entries[-1]) for entry in target.entries]
        before, behind, self._names = cut_at(network, target.entries)
        self._device = device
        params = {**arg_params, **aux_params}
        self._before = _Part(before, params, device)
        self._behind = _Part(adaptive_means(behind), params, device)

    def evidence(self, data: np.ndarray, classes: Sequence[int]) -> Evidence:
        """Return what speaks for the ``classes`` in one input (3, h, w) float32."""
        with ONE_AT_A_TIME, errors_named(1):
            layers = self._before({"data": mx.nd.array(data[None], self._device)})
            for layer in layers:
                layer.attach_grad()
            with mx.autograd.record():
                logits = self._behind(dict(zip(self._names, layers)))[0]
            values = [layer.asnumpy()[0] for layer in layers]
            gradients = [self._gradients(logits, layers, number) for number in classes]
            found: np.ndarray = logits.asnumpy()[0]
        maps = np.zeros((len(classes), *self._size), np.float32)
        sums = np.zeros(len(classes))
        for row, of_class in enumerate(gradients):
            placed = np.zeros(self._size)
            for layer, gradient, grid in zip(values, of_class, self._grids):
                cells = class_activation_map(layer, gradient) if self.exact else grad_cam(layer, gradient)
                sums[row] += cells.sum()
                placed += spread(cells, grid, self._size)
            maps[row] = placed
        constants = found[list(classes)] - sums if self.exact else np.full(len(classes), np.nan)
        return Evidence(found, maps, constants.astype(np.float32))

    def _gradients(self, logits: NDArray, layers: Sequence[NDArray], number: int) -> list[np.ndarray]:
        chosen = mx.nd.one_hot(mx.nd.array([number], self._device), logits.shape[1])
        gradients = mx.autograd.grad(logits, list(layers), head_grads=chosen, retain_graph=True)
        return [gradient.asnumpy()[0] for gradient in gradients]


class _Part:
    """A symbol with its parameters, which computes as it is asked to."""

    def __init__(self, symbol: Symbol, params: Mapping[str, NDArray], device: Context):
        self._inputs = symbol.list_inputs()
        # Copies: training-mode operators may write statistics, and the classifier has the others.
        self._params = {name: params[name].copyto(device) for name in self._inputs if name in params}
        self._run = mx.nd.CachedOp(symbol)

    def __call__(self, given: Mapping[str, NDArray]) -> list[NDArray]:
        outputs = self._run(*(given[name] if name in given else self._params[name] for name in self._inputs))
        return outputs if isinstance(outputs, list) else [outputs]
