"""RandAugment: a few operations, drawn per image, all of one magnitude (Cubuk, Zoph, Shlens and Le, NeurIPS 2020).

The operations are the paper's 14, with the ranges of AutoAugment at magnitude 10. Those that move pixels become part of
the input's one warp. Those that change each level by itself (brightness, contrast, solarize, ...) become one table, and
that becomes part of the table that makes network input; a histogram of the pixels before them is all that they need.
Only saturation and sharpness go over the pixels.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from mxml.images import draw_columns as column
from mxml.images import geometry
from mxml.images.colour import LUMA, saturation
from mxml.images.transforms import LARGEST_MAGNITUDE
from mxml.runtime.imports import load_cv2

cv2 = load_cv2()

# What each operation does at the largest magnitude; for those with a sign, either way.
_SIGNED = {
    "rotate": 30.0,  # degrees
    "shear_x": 0.3,
    "shear_y": 0.3,
    "shift_x": 0.45,  # of the width
    "shift_y": 0.45,
    "brightness": 0.9,  # beside a factor of 1
    "contrast": 0.9,
    "saturation": 0.9,
    "sharpness": 0.9,
}
_UNSIGNED = {
    "solarize": 256.0,  # levels that are inverted
    "posterize": 4.0,  # bits that are dropped
    "auto_contrast": 0.0,
    "equalize": 0.0,
    "identity": 0.0,
}
_LARGEST = {**_SIGNED, **_UNSIGNED}
_NAMES = tuple(sorted(_LARGEST))
_LEVELS = np.arange(256)


class Operation(NamedTuple):
    """One operation, and how much of it: 0 changes nothing, but for those that have no magnitude."""

    name: str
    amount: float


def draw_operations(count: int, magnitude: int, draws: Any) -> tuple[Operation, ...]:
    """Return ``count`` operations of ``magnitude``."""
    operations = []
    for first in range(column.OPERATION, column.OPERATION + 2 * count, 2):
        name = _NAMES[int(draws[first] * len(_NAMES))]
        amount = _LARGEST[name] * magnitude / LARGEST_MAGNITUDE
        operations.append(Operation(name, -amount if name in _SIGNED and draws[first + 1] < 0.5 else amount))
    return tuple(operations)


def warps_of(operations: Iterable[Operation], size: tuple[int, int]) -> list[np.ndarray]:
    """Return the warps of those operations that move pixels, for an input of ``size`` (width, height)."""
    warps = []
    for name, amount in operations:
        if name == "rotate":
            warps.append(geometry.rotation(amount))
        elif name == "shear_x":
            warps.append(geometry.shear(amount))
        elif name == "shear_y":
            warps.append(geometry.shear(down=amount))
        elif name == "shift_x":
            warps.append(geometry.shift(amount * size[0], 0))
        elif name == "shift_y":
            warps.append(geometry.shift(0, amount * size[1]))
    return warps


def change_pixels(image: np.ndarray, operations: Iterable[Operation]) -> tuple[np.ndarray, np.ndarray | None]:
    """Carry out the operations that do not move pixels on an (H, W, 3) uint8 image in BGR.

    Return the image, and the levels (3, 256) uint8 that its planes are still to be looked up in; None if they stay.
    """
    levels: np.ndarray | None = None
    for name, amount in operations:
        if name in ("saturation", "sharpness"):
            image, levels = look_up(image, levels), None
            image = _saturated(image, 1 + amount) if name == "saturation" else _sharpened(image, 1 + amount)
            continue
        table = _table(name, amount, image, levels)
        if table is not None:
            levels = table if levels is None else np.take_along_axis(table, levels.astype(np.intp), axis=1)
    return image, levels


def look_up(image: np.ndarray, levels: np.ndarray | None) -> np.ndarray:
    """Return an image whose planes are looked up in ``levels``."""
    if levels is None:
        return image
    return cv2.LUT(image, np.ascontiguousarray(levels.T)[None])


def _table(name: str, amount: float, image: np.ndarray, levels: np.ndarray | None) -> np.ndarray | None:
    """Return what becomes of each level of each plane, (3, 256) uint8; None for an operation that changes none."""
    if name == "brightness":
        return _three((1 + amount) * _LEVELS)
    if name == "contrast":
        gray = round(float(LUMA[::-1] @ (_histograms(image, levels) @ _LEVELS)) / (image.size // 3))
        return _three(gray + (1 + amount) * (_LEVELS - gray))
    if name == "solarize":
        return _three(np.where(_LEVELS + amount < 256, _LEVELS, 255 - _LEVELS))
    if name == "posterize":
        return _three(_LEVELS & (256 - (1 << round(amount))))
    if name == "auto_contrast":
        return np.stack([_stretched(counts) for counts in _histograms(image, levels)])
    if name == "equalize":
        return np.stack([_equalized(counts) for counts in _histograms(image, levels)])
    return None


def _three(table: np.ndarray) -> np.ndarray:
    return np.broadcast_to(_levels(table), (3, 256))


def _levels(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _histograms(image: np.ndarray, levels: np.ndarray | None) -> np.ndarray:
    """Return how often each level is in each plane, (3, 256), once they are looked up."""
    counts = np.stack([cv2.calcHist([image], [plane], None, [256], [0, 256])[:, 0] for plane in range(3)]).astype(int)
    if levels is None:
        return counts
    return np.stack([np.bincount(one, weights=count, minlength=256) for one, count in zip(levels, counts)]).astype(int)


def _stretched(counts: np.ndarray) -> np.ndarray:
    """Spread the levels that occur over all of 0 to 255."""
    present = np.flatnonzero(counts)
    low, high = present[0], present[-1]
    return _levels(_LEVELS if low == high else (_LEVELS - low) * 255 / (high - low))


def _equalized(counts: np.ndarray) -> np.ndarray:
    """Spread the levels so that about as many pixels have each."""
    step = (counts.sum() - counts[np.flatnonzero(counts)[-1]]) // 255
    if not step:
        return _levels(_LEVELS)
    return _levels((step // 2 + np.cumsum(counts) - counts) // step)


def _saturated(image: np.ndarray, factor: float) -> np.ndarray:
    return cv2.transform(image, saturation(factor)[::-1, ::-1])


def _sharpened(image: np.ndarray, factor: float) -> np.ndarray:
    """Mix an image with a smoothed one: 1 keeps it, 0 smooths, 2 sharpens."""
    smooth = np.full((3, 3), 1.0)
    smooth[1, 1] = 5.0
    kernel = (1 - factor) * smooth / smooth.sum()
    kernel[1, 1] += factor
    return cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REPLICATE)
