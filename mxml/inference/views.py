"""Test-time augmentation: an image is seen in several ways, and its logits are their mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mxml.errors import ModelError, SettingError
from mxml.images.transforms import LARGEST_SIZE, Preprocess
from mxml.inference.backend import Backend
from mxml.model import symbols
from mxml.model.checkpoint import Checkpoint
from mxml.model.layers import Network
from mxml.runtime.imports import load_mxnet
from mxml.runtime.types import NDArray

mx = load_mxnet()

TTA = ("flip", "multi-scale")
"""The ways: as it is and mirrored; and at several scales, each as an input of its own size."""

SCALES = (1.0, 0.8, 1.25)
"""Times the size of the network's input, the short side with it, so that each shows the same part of the image."""


@dataclass(frozen=True)
class Views:
    """How each image is seen: as each of ``preprocesses`` makes it, the usual first; with ``flip`` mirrored, too."""

    preprocesses: tuple[Preprocess, ...]
    flip: bool

    @classmethod
    def of(cls, preprocess: Preprocess, tta: Sequence[str]) -> Views:
        """Return the views of ``tta``, some of ``TTA``. Raises SettingError for anything else."""
        tta = (tta,) if isinstance(tta, str) else tuple(tta)
        for way in tta:
            if way not in TTA:
                raise SettingError("tta", way, f"one of {', '.join(TTA)}, or both")
        scales = SCALES if "multi-scale" in tta else SCALES[:1]
        height, width = preprocess.size
        if max(scales) * max(height, width) > LARGEST_SIZE:
            wanted = f"left out: {max(scales)} times {height}x{width} is more than {LARGEST_SIZE} pixels a side"
            raise SettingError("tta", "multi-scale", wanted)
        return cls(tuple(_scaled(preprocess, scale) for scale in scales), "flip" in tta)

    def check(self, model: Checkpoint) -> None:
        """Raise SettingError where the network cannot take images of all sizes, or gives other scores for some."""
        for preprocess in self.preprocesses[1:]:
            try:
                symbols.check_params(Network(model.symbol, preprocess.data_shape), model.arg_params, model.aux_params)
                fits = _gives_same_scores(model, self.preprocesses[0], preprocess)
            except ModelError:
                fits = False
            if not fits:
                height, width = self.preprocesses[0].size
                wanted = f"left out: this network needs images of {height}x{width}"
                raise SettingError("tta", "multi-scale", wanted)


def _gives_same_scores(model: Checkpoint, *preprocesses: Preprocess) -> bool:
    logits = symbols.logits_output(model.symbol)
    networks = [Network(logits, preprocess.data_shape) for preprocess in preprocesses]
    return len({network.shapes[network.graph.heads[0]] for network in networks}) == 1


def _scaled(preprocess: Preprocess, scale: float) -> Preprocess:
    if scale == 1:
        return preprocess
    height, width = (max(1, round(side * scale)) for side in preprocess.size)
    short = preprocess.short_side
    if short is not None:
        # The crop has to lie within the image.
        short = max(round(short * scale), height, width)
    return replace(preprocess, size=(height, width), short_side=short)


class Mirrored:
    """A backend whose logits are the mean over each image and its mirror image; features are those of the image."""

    def __init__(self, backend: Backend):
        self._backend = backend

    @property
    def num_classes(self) -> int:
        """Return how many logits an image has."""
        return self._backend.num_classes

    def logits(self, data: np.ndarray | NDArray) -> np.ndarray:
        """Return the logits (N, C) float32 of inputs (N, 3, H, W) float32, for any N up to the batch size."""
        return (self._backend.logits(data) + self._backend.logits(_mirrored(data))) / 2

    def outputs(self, data: np.ndarray | NDArray) -> tuple[np.ndarray, np.ndarray]:
        """Return the logits as ``logits`` does, and the features."""
        logits, features = self._backend.outputs(data)
        return (logits + self._backend.logits(_mirrored(data))) / 2, features


def _mirrored(data: np.ndarray | NDArray) -> np.ndarray | NDArray:
    return mx.nd.flip(data, axis=3) if isinstance(data, mx.nd.NDArray) else np.ascontiguousarray(data[..., ::-1])
