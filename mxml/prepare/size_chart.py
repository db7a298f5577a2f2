"""How large images are: a chart of widths and heights, and the most frequent sizes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from mxml.prepare.image_scan import ImageScan

DOTS = 1_000
_FREQUENT = 8
# The largest dot stands for at least so many images: where every size is rare, all dots are small.
_IMAGES_IN_LARGEST = 50


@dataclass(frozen=True)
class Dot:
    """Images of about one size in pixels.

    ``across`` and ``up`` say where on the chart they are, in percent of its width and height; ``diameter`` is 1 for the
    largest dot.
    """

    width: int
    height: int
    images: int
    across: float
    up: float
    diameter: float


@dataclass(frozen=True)
class Axis:
    """A logarithmic axis from ``low`` to ``high``."""

    low: float
    high: float

    @classmethod
    def around(cls, values: np.ndarray) -> Axis:
        """Leave room around the values, and at least two octaves in all."""
        low, high = values.min() / 1.25, values.max() * 1.25
        stretch = max(1.0, math.sqrt(4 * low / high))
        return cls(low / stretch, high * stretch)

    def at(self, value: float) -> float:
        """Return where a value is, in percent of the axis."""
        return round(100 * math.log(value / self.low) / math.log(self.high / self.low), 2)

    def ticks(self) -> list[int]:
        """Return the round numbers of pixels on the axis: at most eight."""
        for steps in ((1, 2, 3, 5), (1, 2, 5), (1,)):
            values = [step * 10**power for power in range(6) for step in steps]
            inside = [value for value in values if self.low <= value <= self.high]
            if len(inside) <= 8:
                break
        return inside


def size_chart(scan: ImageScan) -> dict[str, Any]:
    """Return the chart of the images' widths and heights, both on logarithmic axes, and the most frequent sizes."""
    sides = np.stack([scan.width[scan.readable], scan.height[scan.readable]], axis=1).astype(np.int64)
    if not len(sides):
        return {"images": 0}
    different, counts = np.unique(sides[:, 0] << 32 | sides[:, 1], return_counts=True)
    order = np.argsort(-counts, kind="stable")
    different, counts = different[order], counts[order]
    sizes = list(zip(zip((different >> 32).tolist(), (different & 0xFFFFFFFF).tolist()), counts.tolist()))
    merged = len(sizes) > DOTS // 4
    dots = _merged(sizes) if merged else sizes
    across, up = (Axis.around(sides[:, side]) for side in (0, 1))
    largest = max(_IMAGES_IN_LARGEST, dots[0][1])
    return {
        "images": len(sides),
        "different": len(sizes),
        "frequent": sizes[:_FREQUENT],
        "median": [int(np.median(sides[:, side])) for side in (0, 1)],
        "lowest": sides.min(axis=0).tolist(),
        "highest": sides.max(axis=0).tolist(),
        "merged": merged,
        "hidden": sum(count for _, count in dots[DOTS:]),
        "across": across,
        "up": up,
        "square": (max(across.low, up.low), min(across.high, up.high)),
        "dots": [
            Dot(width, height, count, across.at(width), up.at(height), round(math.sqrt(count / largest), 3))
            for (width, height), count in dots[:DOTS]
        ],
    }


def _merged(sizes: list[tuple[tuple[int, int], int]]) -> list[tuple[tuple[int, int], int]]:
    """Return sizes, most frequent first, with those of one eighth of an octave as one: within 9 %.

    The most frequent size stands for the others.
    """
    cells: dict[tuple[int, ...], tuple[tuple[int, int], int]] = {}
    for size, count in sizes:
        cell = tuple(round(8 * math.log2(side)) for side in size)
        first, total = cells.get(cell, (size, 0))
        cells[cell] = (first, total + count)
    return sorted(cells.values(), key=lambda dot: -dot[1])
