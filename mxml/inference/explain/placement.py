"""From the cells of a layer to the pixels of a network's input, and from these to the picture's own."""

from __future__ import annotations

import numpy as np

from mxml.images.network_input import Shown
from mxml.model.receptive_fields import CellGrid


def spread(cells: np.ndarray, grid: CellGrid, size: tuple[int, int]) -> np.ndarray:
    """Return a layer's map (H, W) over the pixels of an input of ``size`` (height, width); its sum is kept.

    Each cell is spread over what it sees.
    """
    rows, columns = (
        _shares(grid.start[axis] + grid.step[axis] * np.arange(count), grid.variance[axis], grid.step[axis], side)
        for axis, (count, side) in enumerate(zip(cells.shape, size))
    )
    placed: np.ndarray = rows @ cells @ columns.T
    return placed


def _shares(centres: np.ndarray, variance: float, step: float, side: int) -> np.ndarray:
    """Return (side, n): which share of each of n cells a pixel gets; each column adds up to 1."""
    # A cell also stands for what lies half way to its neighbours: the variance of linear interpolation between them.
    variance = variance + step**2 / 6
    distances = (np.arange(side) + 0.5)[:, None] - centres
    # Of a cell that lies beyond the edge, in a convolution's padding, the nearest pixel is the one that sees most.
    nearest = np.abs(distances).min(axis=0)
    shares = np.exp((nearest**2 - distances**2) / (2 * variance))
    normalised: np.ndarray = shares / shares.sum(axis=0)
    return normalised


def on_picture(values: np.ndarray, shown: Shown, size: tuple[int, int]) -> np.ndarray:
    """Return a map of the input (h, w) over a picture of ``size`` (width, height): (height, width) float32.

    It is interpolated, not added up, and NaN where the input shows nothing of the picture.
    """
    left, top, across, down = shown.region
    x = _source(size[0], left, across, shown.box[0], shown.box[2])
    y = _source(size[1], top, down, shown.box[1], shown.box[3])
    # One axis after the other, the shorter way first.
    rows = _interpolated(values.astype(np.float32), y)
    return _interpolated(rows.T, x).T


def _source(side: int, start: float, share: float, box_start: int, box_side: int) -> np.ndarray:
    """Return the place in the input that each of ``side`` pixels is shown at; NaN for those that are not shown."""
    middles = (np.arange(side) + 0.5) / side
    within = (middles - start) / share
    # The middle of the outermost pixel of what is shown may lie outside of it by rounding.
    place = np.clip(box_start + within * box_side - 0.5, box_start, box_start + box_side - 1)
    return np.where((within >= 0) & (within <= 1), place, np.nan)


def _interpolated(values: np.ndarray, places: np.ndarray) -> np.ndarray:
    known = np.nan_to_num(places)
    first = np.minimum(known.astype(int), len(values) - 1)
    second = np.minimum(first + 1, len(values) - 1)
    share = (known - first).astype(np.float32)[:, None]
    mixed: np.ndarray = values[first] * (1 - share) + values[second] * share
    mixed[np.isnan(places)] = np.nan
    return mixed


def to_picture(x: float, y: float, shown: Shown, size: tuple[int, int]) -> tuple[float, float]:
    """Return where in a picture of ``size`` (width, height) a place of the input lies, both in pixels from a corner.

    A place beside the part that shows the picture is taken for the nearest one there.
    """
    left, top, across, down = shown.region
    box_left, box_top, box_width, box_height = shown.box
    within_x = min(max((x - box_left) / box_width, 0.0), 1.0)
    within_y = min(max((y - box_top) / box_height, 0.0), 1.0)
    return (left + within_x * across) * size[0], (top + within_y * down) * size[1]
