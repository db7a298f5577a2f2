"""The losses' formulas for one entry: logit z, probability p = sigmoid(z), q = 1 - p, label y from 0 to 1.

Every loss is y times what a present label costs plus 1 - y times what an absent one costs. So it is linear in y, also
where its paper has hard labels alone, and a mixed label costs the mix.

============ ============================== ==================================================
loss         a present label                an absent label
============ ============================== ==================================================
bce          -w log p                       -log q
focal        -a q^g log p                   -(1 - a) p^g log q
asymmetric   -q^g+ log p                    -r^g- log(1 - r), with r = max(p - m, 0)
============ ============================== ==================================================

An absent setting changes nothing: weights w and a and 1 - a are then 1, exponents g and the margin m are 0.

- bce: its gradient is p - y (Bishop, Pattern Recognition and Machine Learning, 2006, section 4.3.2). w is PyTorch's
  ``pos_weight``.
- softmax, of single labels, has one value for a row of logits: logsumexp(z) - sum(y z), which is -log p of the one
  label for p = softmax(z). Labels may be shares that add up to 1. Its gradient is p - y too (Bishop, 2006, section
  4.3.4).
- focal: Lin et al., Focal Loss for Dense Object Detection, 2017, section 3.
- asymmetric: Ridnik et al., Asymmetric Loss for Multi-Label Classification, 2021. The gradient is that of the whole
  loss, as the paper analyses it; the authors' program can also take the powers for constants. With a margin it fades
  for absent labels of the highest probabilities: the paper takes these for wrong labels.

With s(z) = -log q = log(1 + exp z), the gradient at z of p^g s(z) is p^g (p + g q s(z)); that of q^g s(-z) is its
mirror. Nothing in it grows faster than s, so it is finite and exact to float32's rounding at any logit. q is computed
as sigmoid(-z), since 1 - p is 0 in float32 from z = 17 on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from mxml.runtime.imports import load_mxnet
from mxml.runtime.types import NDArray

mx = load_mxnet()

Labels = TypeVar("Labels", np.ndarray, NDArray)


def cross_entropy(logits: np.ndarray, labels: np.ndarray, pos_weight: Sequence[float] | None = None) -> np.ndarray:
    """Return the values of bce; ``pos_weight`` holds one number, or one for each class."""
    if pos_weight is None:
        values: np.ndarray = np.logaddexp(0, logits) - labels * logits
        return values
    return _mixed(labels, np.asarray(pos_weight) * _softplus(-logits), _softplus(logits))


def cross_entropy_gradient(
    probabilities: NDArray, labels: NDArray, logits: NDArray | None, pos_weight: NDArray | None = None
) -> NDArray:
    """Return the gradient of bce; ``pos_weight`` is (1, 1) or (1, C)."""
    if pos_weight is None:
        return probabilities - labels
    present = mx.nd.broadcast_mul(labels * (1 - probabilities), pos_weight)
    return (1 - labels) * probabilities - present


def softmax_cross_entropy(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the value of softmax for each row (N,)."""
    values: np.ndarray = np.logaddexp.reduce(logits, axis=1) - (labels * logits).sum(axis=1)
    return values


def softmax_cross_entropy_gradient(probabilities: NDArray, labels: NDArray, logits: NDArray | None) -> NDArray:
    """Return the gradient of softmax."""
    return probabilities - labels


def focal(logits: np.ndarray, labels: np.ndarray, gamma: float = 0.0, alpha: float | None = None) -> np.ndarray:
    """Return the values of the focal loss."""
    of_present, of_absent = _focal_weights(alpha)
    return _mixed(labels, of_present * _focused(-logits, gamma), of_absent * _focused(logits, gamma))


def focal_gradient(
    probabilities: NDArray, labels: NDArray, logits: NDArray, gamma: float = 0.0, alpha: float | None = None
) -> NDArray:
    """Return the gradient of the focal loss."""
    of_present, of_absent = _focal_weights(alpha)
    others = mx.nd.sigmoid(-logits)
    present = _focused_gradient(-logits, others, probabilities, gamma)
    absent = _focused_gradient(logits, probabilities, others, gamma)
    return of_absent * (1 - labels) * absent - of_present * labels * present


def asymmetric(
    logits: np.ndarray, labels: np.ndarray, gamma_pos: float = 0.0, gamma_neg: float = 0.0, margin: float = 0.0
) -> np.ndarray:
    """Return the values of the asymmetric loss."""
    shifted = np.maximum(np.exp(-_softplus(-logits)) - margin, 0)
    # log(1 - r) = log(q + m), at most 0.
    rest = np.logaddexp(-_softplus(logits), math.log(margin) if margin else -math.inf)
    absent = shifted**gamma_neg * np.maximum(-rest, 0)
    return _mixed(labels, _focused(-logits, gamma_pos), absent)


def asymmetric_gradient(
    probabilities: NDArray,
    labels: NDArray,
    logits: NDArray,
    gamma_pos: float = 0.0,
    gamma_neg: float = 0.0,
    margin: float = 0.0,
) -> NDArray:
    """Return the gradient of the asymmetric loss."""
    others = mx.nd.sigmoid(-logits)
    present = _focused_gradient(-logits, others, probabilities, gamma_pos)
    if margin:
        absent = _shifted_gradient(probabilities, others, gamma_neg, margin)
    else:
        absent = _focused_gradient(logits, probabilities, others, gamma_neg)
    return (1 - labels) * absent - labels * present


def _mixed(labels: np.ndarray, present: np.ndarray, absent: np.ndarray) -> np.ndarray:
    values: np.ndarray = labels * present + (1 - labels) * absent
    return values


def _focal_weights(alpha: float | None) -> tuple[float, float]:
    return (1.0, 1.0) if alpha is None else (alpha, 1 - alpha)


def _softplus(logits: np.ndarray) -> np.ndarray:
    values: np.ndarray = np.logaddexp(0, logits)
    return values


def _focused(logits: np.ndarray, gamma: float) -> np.ndarray:
    """Return p^g s(z)."""
    values: np.ndarray = np.exp(-gamma * _softplus(-logits)) * _softplus(logits)
    return values


def _focused_gradient(logits: NDArray, probabilities: NDArray, others: NDArray, gamma: float) -> NDArray:
    """Return p^g (p + g q s(z)); ``others`` are q."""
    if not gamma:
        return probabilities
    softplus = mx.nd.relu(logits) + mx.nd.log1p(mx.nd.exp(-mx.nd.abs(logits)))
    return probabilities**gamma * (probabilities + gamma * others * softplus)


def _shifted_gradient(probabilities: NDArray, others: NDArray, gamma: float, margin: float) -> NDArray:
    """Return the gradient of -r^g log(1 - r), r = max(p - m, 0): p q r^g (1 / (q + m) - g log(1 - r) / r)."""
    shifted = mx.nd.relu(probabilities - margin)
    rest = others + margin
    factor = others / rest
    if gamma:
        # Each where it does not cancel. What `where` does not take may be infinite.
        loss = mx.nd.where(shifted < 0.5, -mx.nd.log1p(-shifted), -mx.nd.log(rest))
        factor = shifted**gamma * (factor + gamma * others * loss / shifted)
    return mx.nd.where(shifted > 0, probabilities * factor, mx.nd.zeros_like(shifted))


def smoothed(labels: Labels, smoothing: float) -> Labels:
    """Move labels, of NumPy or MXNet, towards 1/2."""
    return labels * (1 - smoothing) + smoothing / 2 if smoothing else labels
