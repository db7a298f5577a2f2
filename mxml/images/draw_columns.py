"""Which of an image's random numbers decides what: their columns, so that no two decisions share one.

Each number depends on its column alone, so that columns added at the end leave all others as they were.
"""

from __future__ import annotations

from typing import Any

from mxml.images.transforms import MOST_OPERATIONS

X, Y, AREA, RATIO, MIRROR, BRIGHTNESS, CONTRAST, SATURATION, ORDER, HUE, GRAY = range(11)
PCA = 11  # and the three after it
INTERPOLATION = 15
FLIP, ROTATE, SHIFT_X, SHIFT_Y, SHEAR, ZOOM_X, ZOOM_Y, CUTOUT_X, CUTOUT_Y = range(16, 25)
# Two for each operation of RandAugment: which one, and its direction.
OPERATION = 25

COLUMNS = OPERATION + 2 * MOST_OPERATIONS
"""The random numbers, uniform in [0, 1), that one image needs."""


def either_way(largest: float, draw: Any) -> float:
    """Return a number from -``largest`` to ``largest``."""
    return largest * (2 * float(draw) - 1)
