"""The random changes of an image's colours that are linear, as one matrix and one offset."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from mxml.images import draw_columns as column
from mxml.images.transforms import Augment

# Rec. 601 luma in RGB order, and RGB to YIQ with it (ITU-R BT.601; the NTSC matrix of 1953).
LUMA = np.array([0.299, 0.587, 0.114])
_YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.321], [0.211, -0.523, 0.311]])
_FROM_YIQ = np.linalg.inv(_YIQ)
# Principal components of ImageNet's RGB values: Krizhevsky, Sutskever and Hinton, NIPS 2012, section 4.1.
_PCA_VALUES = np.array([55.46, 4.794, 1.148])
_PCA_VECTORS = np.array([[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]])
_ORDERS = ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))


def saturation(factor: float) -> np.ndarray:
    """Return the matrix that mixes RGB values with their luma: 1 keeps the colours, 0 drops them."""
    return factor * np.eye(3) + (1 - factor) * LUMA


def colour_change(augment: Augment, mean: np.ndarray, draws: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the matrix (3, 3) and the offset (3,) that change RGB values; ``mean`` is the image's mean colour.

    Every change is linear in the colours, so that all of them together are one matrix and one offset.
    """
    matrix, offset = np.eye(3), np.zeros(3)
    for change in _ORDERS[int(draws[column.ORDER] * 6)]:
        if change == 0 and augment.brightness:
            factor = 1 + column.either_way(augment.brightness, draws[column.BRIGHTNESS])
            matrix, offset = factor * matrix, factor * offset
        elif change == 1 and augment.contrast:
            factor = 1 + column.either_way(augment.contrast, draws[column.CONTRAST])
            gray = LUMA @ (matrix @ mean + offset)
            matrix, offset = factor * matrix, factor * offset + (1 - factor) * gray
        elif change == 2 and augment.saturation:
            mixing = saturation(1 + column.either_way(augment.saturation, draws[column.SATURATION]))
            matrix, offset = mixing @ matrix, mixing @ offset
    if augment.hue:
        angle = math.pi * augment.hue * (2 * draws[column.HUE] - 1)
        turn = np.eye(3)
        turn[1:, 1:] = [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
        turn = _FROM_YIQ @ turn @ _YIQ
        matrix, offset = turn @ matrix, turn @ offset
    if augment.pca_noise:
        # Box-Muller: four uniform numbers make (at least) three normal ones.
        radius = np.sqrt(-2 * np.log(1 - draws[column.PCA : column.PCA + 2]))
        angle = 2 * math.pi * draws[column.PCA + 2 : column.PCA + 4]
        normal = np.concatenate([radius * np.cos(angle), radius[:1] * np.sin(angle[:1])])
        offset = offset + _PCA_VECTORS @ (augment.pca_noise * normal * _PCA_VALUES)
    if augment.rand_gray and draws[column.GRAY] < augment.rand_gray:
        mixing = saturation(0)
        matrix, offset = mixing @ matrix, mixing @ offset
    return matrix, offset
