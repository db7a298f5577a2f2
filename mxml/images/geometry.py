"""Which part of an image an input shows, and the one affine warp that turns, moves, shears and zooms it.

A warp is a matrix (3, 3) that takes a place in the input to the place in the picture that is shown there. Both are in
pixels of the input, from its centre, x to the right and y downwards. Warps that follow each other are multiplied from
left to right, and together with the cut and the resizing they are still one matrix: pixels are interpolated once.

What lies outside the part that is shown comes from the rest of the image. What lies outside the image is its mirror
image: it looks like a photograph, where a plain colour would have edges and corners that tell by how much the picture
was turned.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from mxml.images import draw_columns as column
from mxml.images.transforms import Augment

Region = tuple[float, float, float, float]
"""A part of an image: (left, top, width, height) as shares of its sides."""

WHOLE: Region = (0.0, 0.0, 1.0, 1.0)


def short_resized(width: int, height: int, short: int | None) -> tuple[int, int] | None:
    """Return the (width, height) of an image whose short side is resized to ``short``."""
    if short is None:
        return None
    return (short, short * height // width) if height > width else (short * width // height, short)


def crop_region(
    width: int, height: int, short: int | None, size: tuple[int, int], place: tuple[float, float]
) -> Region:
    """Return a crop of ``size`` (height, width) from an image whose short side is first resized to ``short``.

    ``place`` is from (0, 0), at the left and the top, to (1, 1).
    """
    scale = min(width, height) / short if short else 1.0
    out_height, out_width = size
    scale = min(scale, width / out_width, height / out_height)
    return _placed(out_width * scale / width, out_height * scale / height, *place)


def centre_crop(columns: int, rows: int, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return (left, top, width, height) of the crop for an input of ``size`` (height, width) at an image's centre.

    A crop larger than the image shrinks to what fits, its shape kept, and is enlarged afterwards.
    """
    height, width = out_height, out_width = size
    if columns * out_height < rows * out_width and columns < out_width:
        width, height = columns, max(1, out_height * columns // out_width)
    elif rows < out_height:
        width, height = max(1, out_width * rows // out_height), rows
    return (columns - width) // 2, (rows - height) // 2, width, height


def resized_crop_region(width: int, height: int, least: float, draws: Any) -> Region:
    """Return a random part of at least a share of ``least`` of the area, with an aspect ratio of 3:4 to 4:3."""
    share = least + (1 - least) * draws[column.AREA]
    # Of the ratios from 3:4 to 4:3, those with which a region of that area fits into the image.
    lowest = min(max(3 / 4, share * width / height), 4 / 3)
    highest = max(min(4 / 3, width / (share * height)), 3 / 4)
    low, high = sorted((lowest, highest))
    ratio = low * (high / low) ** draws[column.RATIO]
    across = min(1.0, math.sqrt(share * ratio * height / width))
    down = min(1.0, math.sqrt(share / ratio * width / height))
    return _placed(across, down, draws[column.X], draws[column.Y])


def _placed(across: float, down: float, x: float, y: float) -> Region:
    return (x * (1 - across), y * (1 - down), across, down)


def rotation(degrees: float) -> np.ndarray:
    """Return the warp that turns a picture counter-clockwise."""
    angle = math.radians(degrees)
    return _warp(math.cos(angle), -math.sin(angle), math.sin(angle), math.cos(angle))


def shift(right: float, down: float) -> np.ndarray:
    """Return the warp that moves a picture by pixels."""
    return _warp(x=-right, y=-down)


def shear(across: float = 0.0, down: float = 0.0) -> np.ndarray:
    """Return the warp that moves rows by ``across`` of their height, or columns by ``down`` of their place."""
    return _warp(1.0, across, down, 1.0)


def scaling(across: float, down: float) -> np.ndarray:
    """Return the warp that shows ``across`` times the width and ``down`` times the height; -1 flips."""
    return _warp(across, 0.0, 0.0, down)


def _warp(xx: float = 1.0, xy: float = 0.0, yx: float = 0.0, yy: float = 1.0, x: float = 0.0, y: float = 0.0) -> Any:
    return np.array([[xx, xy, x], [yx, yy, y], [0.0, 0.0, 1.0]])


def random_warps(augment: Augment, draws: Any, size: tuple[int, int]) -> list[np.ndarray]:
    """Return the warps that ``augment`` draws for an input of ``size`` (width, height)."""
    warps = []
    if augment.zoom:
        x, y = (column.either_way(augment.zoom, draws[one]) for one in (column.ZOOM_X, column.ZOOM_Y))
        warps.append(scaling(1 + x, 1 + y))
    if augment.shear:
        warps.append(shear(column.either_way(augment.shear, draws[column.SHEAR])))
    if augment.rotate:
        warps.append(rotation(column.either_way(augment.rotate, draws[column.ROTATE])))
    if augment.shift:
        x, y = (column.either_way(augment.shift, draws[one]) for one in (column.SHIFT_X, column.SHIFT_Y))
        warps.append(shift(x * size[0], y * size[1]))
    return warps


def smallest_scale(across: float, down: float, warp: np.ndarray) -> float:
    """Return how many pixels of an image at least go into one of the input, in the direction of the fewest.

    ``across`` and ``down`` are how many they are without the warp.
    """
    (xx, xy), (yx, yy) = warp[0, :2] * across, warp[1, :2] * down
    # The smaller singular value: its square and the larger one's have this sum and this difference.
    total = xx * xx + xy * xy + yx * yx + yy * yy
    difference = math.hypot(xx * xx + yx * yx - xy * xy - yy * yy, 2 * (xx * xy + yx * yy))
    # A turned image should not be taken for a smaller one because of rounding.
    return math.sqrt(max(0.0, (total - difference) / 2)) * (1 + 1e-9)


def source_matrix(warp: np.ndarray, region: Region, shown: tuple[int, int], source: tuple[int, int]) -> np.ndarray:
    """Return the matrix (2, 3) from pixels of an input to those of the image, for OpenCV's warpAffine.

    ``shown`` is the (width, height) that ``region`` fills in the input, and ``source`` that of the image.
    """
    left, top, across, down = region
    across, down = across * source[0], down * source[1]
    # Pixel i covers i to i + 1, and its middle is what OpenCV calls i.
    to_centre = _warp(x=0.5 - shown[0] / 2, y=0.5 - shown[1] / 2)
    to_source = _warp(
        across / shown[0],
        0.0,
        0.0,
        down / shown[1],
        left * source[0] + across / 2 - 0.5,
        top * source[1] + down / 2 - 0.5,
    )
    return (to_source @ warp @ to_centre)[:2]
