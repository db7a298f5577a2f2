"""What mx.image's augmenters do that ``Transform`` does not: lists of them, and ways of resizing chosen per image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Callable

import numpy as np

from mxml.data.image_cache import ImageCache
from mxml.data.image_sources import ImageSource, to_pixels
from mxml.errors import ImageError, MxmlError, SettingError
from mxml.images.decode import Limits
from mxml.images.draw_columns import INTERPOLATION
from mxml.images.network_input import Plan, Transform
from mxml.images.transforms import Augment, Preprocess
from mxml.runtime.imports import load_cv2, load_mxnet
from mxml.runtime.types import NDArray

mx = load_mxnet()
cv2 = load_cv2()

_BY_NUMBER = ("nearest", "linear", "cubic", "area", "lanczos")
_BY_SIZE, _RANDOM = 9, 10


def row_transform(
    preprocess: Preprocess, augment: Augment, inter_method: int
) -> Transform | ResizeBySize | ResizeAtRandom:
    """Return what writes rows as ``inter_method`` of CreateAugmenter says: 0 to 4, 9 by size, 10 at random."""
    if inter_method == _BY_SIZE:
        return ResizeBySize(preprocess, augment)
    if inter_method == _RANDOM:
        return ResizeAtRandom(preprocess, augment)
    if isinstance(inter_method, bool) or inter_method not in range(len(_BY_NUMBER)):
        raise SettingError("inter_method", inter_method, "0 to 4, 9 or 10")
    return Transform(replace(preprocess, interpolation=_BY_NUMBER[inter_method]), augment)


class _Choice:
    """Several transforms that differ in how they resize, of which each image takes one."""

    def __init__(self, preprocess: Preprocess, augment: Augment):
        self._transforms = [Transform(replace(preprocess, interpolation=name), augment) for name in _BY_NUMBER]

    def plan(self, width: int, height: int, draws: Any = None) -> Plan:
        """Decide what happens to an image of that size; how it is resized changes nothing of it."""
        return self._transforms[0].plan(width, height, draws)


class ResizeBySize(_Choice):
    """Enlarges by cubic interpolation and shrinks by area; takes linear where one side grows and the other does not."""

    def write(self, image: np.ndarray, plan: Plan, out: np.ndarray) -> None:
        """Write one row, as ``Transform`` does."""
        height, width = image.shape[:2]
        new_height, new_width = out.shape[1:]
        if plan.region is not None:
            width, height = round(plan.region[2] * width), round(plan.region[3] * height)
        elif plan.resized is not None:
            new_width, new_height = plan.resized
        if plan.region is None and plan.resized is None:
            name = "cubic"  # only a crop larger than its image is resized, and that enlarges
        elif new_height < height and new_width < width:
            name = "area"
        elif new_height > height and new_width > width:
            name = "cubic"
        else:
            name = "linear"
        self._transforms[_BY_NUMBER.index(name)].write(image, plan, out)


class ResizeAtRandom(_Choice):
    """Draws for each image one of the ways to resize it."""

    def write(self, image: np.ndarray, plan: Plan, out: np.ndarray) -> None:
        """Write one row, as ``Transform`` does."""
        self._transforms[int(plan.draws[INTERPOLATION] * len(_BY_NUMBER))].write(image, plan, out)


class AugmenterLoader:
    """Decodes in threads, and calls a list of augmenters in the thread that asks for a batch.

    They are called as MXNet calls them: each with what the one before returned, the first with an image as an NDArray
    (H, W, 3) uint8 in RGB; the last returns (height, width, 3). MXNet is called from one thread only. The cost: the
    images are decoded and kept at their full size, and the augmenters run at MXNet's own speed.
    """

    def __init__(
        self,
        source: ImageSource,
        augmenters: Sequence[Callable[[NDArray], NDArray]],
        limits: Limits,
        cache: ImageCache,
    ):
        self._source = source
        self._augmenters = list(augmenters)
        self._limits = limits
        self._cache = cache

    def load(self, position: int, draws: np.ndarray, out: np.ndarray) -> np.ndarray:
        """Return the image as RGB."""
        pixels = self._cache.get(position)
        if pixels is None:
            content = self._source.read(position, self._limits)
            pixels = to_pixels(content, lambda *_: 1, self._limits, self._source.name(position))
            self._cache.put(position, pixels)
        return cv2.cvtColor(pixels.bgr, cv2.COLOR_BGR2RGB)

    def finish(self, loaded: Sequence[Any], data: np.ndarray) -> None:
        """Write the rows whose images could be loaded."""
        # All are under way before the first is waited for: MXNet works on several at once.
        images = [None if isinstance(image, ImageError) else self._augmented(image) for image in loaded]
        for row, image in zip(data, images):
            if image is None:
                continue
            if image.shape != (*row.shape[1:], 3):
                raise MxmlError(f"`aug_list` makes images of {image.shape}, should make {(*row.shape[1:], 3)}")
            row[:] = image.asnumpy().transpose(2, 0, 1)

    def _augmented(self, image: np.ndarray) -> NDArray:
        array = mx.nd.array(image, dtype=np.uint8)
        for augmenter in self._augmenters:
            array = augmenter(array)
        return array
