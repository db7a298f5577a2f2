"""From a layer's values and a score's gradient there to a map: how much each of its cells speaks for the score."""

from __future__ import annotations

import numpy as np


def class_activation_map(values: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    """Return the (H, W) part of a score that is computed from each cell of a layer (C, H, W).

    Where the score is a sum over the layer's channels and positions, this is that sum taken apart, and adds up to the
    score but for a constant. Behind a global average pooling it is the class activation map of Zhou et al., "Learning
    deep features for discriminative localization", CVPR 2016, eq. 2; behind a maximum each channel counts where it is
    largest.
    """
    contributions: np.ndarray = np.einsum("chw,chw->hw", values.astype(np.float64), gradient.astype(np.float64))
    return contributions


def grad_cam(values: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    """Return the (H, W) map of Selvaraju et al., "Grad-CAM", ICCV 2017, eqs. 1 and 2, of a layer (C, H, W).

    Each channel counts by its mean gradient, and only what speaks for the score is kept.
    """
    weights = gradient.astype(np.float64).mean(axis=(1, 2))
    found: np.ndarray = np.maximum(np.einsum("chw,c->hw", values.astype(np.float64), weights), 0)
    return found
