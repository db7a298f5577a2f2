"""Probabilities that mean what they say: logits are scaled and shifted before the sigmoid.

Both methods give a label the logit ``slope * logit + intercept``, with a slope above 0, so that its images keep their
order; they minimise the cross-entropy of held-out labels.

- **temperature**: one slope for all labels, ``1 / T``, and no intercept. Guo et al., On Calibration of Modern Neural
  Networks (ICML 2017), section 4.2, for a sigmoid.
- **platt**: a slope and an intercept per label, fitted to Platt's targets, which keep a label that the scores separate
  from an infinite slope: ``(P + 1) / (P + 2)`` of P present ones and ``1 / (A + 2)`` of A absent ones. Platt,
  Probabilistic Outputs for Support Vector Machines (1999), section 2.2. Labels with little support share one fit to all
  labels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mxml.errors import SettingError

METHODS = ("temperature", "platt")
LEAST_SLOPE, MOST_SLOPE, MOST_INTERCEPT = 1e-3, 1e3, 1e3
"""What a calibration may have; a fit that leaves these has no more to say than that its labels are noise."""


@dataclass(frozen=True)
class Calibration:
    """An affine map of each label's logit.

    Attributes
    ----------
    method : {"temperature", "platt"}
        How it was fitted.
    slopes : tuple of float
        C numbers from 0.001 to 1000.
    intercepts : tuple of float
        C numbers from -1000 to 1000; 0 for a temperature.
    """

    method: str
    slopes: tuple[float, ...]
    intercepts: tuple[float, ...]

    def apply(self, logits: np.ndarray) -> np.ndarray:
        """Return the calibrated logits of logits (N, C) float32, in float32.

        Parameters
        ----------
        logits : ndarray of shape (N, C)
            As the network gives them.

        Returns
        -------
        ndarray of shape (N, C)
            In the same precision.
        """
        slopes, intercepts = (np.asarray(values, dtype=logits.dtype) for values in (self.slopes, self.intercepts))
        return logits * slopes + intercepts


def fit_calibration(method: str, logits: np.ndarray, labels: np.ndarray, min_support: int) -> Calibration:
    """Fit a calibration to held-out images.

    Parameters
    ----------
    method : {"temperature", "platt"}
        See the module's docstring.
    logits : ndarray of shape (N, C)
        Finite numbers.
    labels : ndarray of shape (N, C)
        1, 0 and -1 (unknown).
    min_support : int
        A label with fewer known present or absent images gets the parameters that are fitted to all labels together.

    Returns
    -------
    Calibration
    """
    logits = logits.astype(np.float64)
    known = labels >= 0
    count = labels.shape[1]
    if method == "temperature":
        slope = _fit(logits[known], (labels[known] == 1).astype(np.float64), with_intercept=False)[0]
        return Calibration(method, (slope,) * count, (0.0,) * count)
    if method != "platt":
        raise SettingError("calibrate", method, " or ".join(METHODS))
    pooled = _platt(logits[known], labels[known])
    fitted = []
    for column in range(count):
        rows = known[:, column]
        truth = labels[rows, column]
        present = int((truth == 1).sum())
        enough = min(present, len(truth) - present) >= max(min_support, 1)
        fitted.append(_platt(logits[rows, column], truth) if enough else pooled)
    slopes, intercepts = zip(*fitted)
    return Calibration(method, slopes, intercepts)


def _platt(logits: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    present = labels == 1
    positives, negatives = int(present.sum()), int((~present).sum())
    return _fit(logits, np.where(present, (positives + 1) / (positives + 2), 1 / (negatives + 2)), with_intercept=True)


def _fit(logits: np.ndarray, targets: np.ndarray, *, with_intercept: bool) -> tuple[float, float]:
    """Return the slope and the intercept of least cross-entropy: a convex problem in one or two numbers."""
    from scipy.optimize import minimize
    from scipy.special import expit

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        slope, intercept = parameters[0], parameters[1] if with_intercept else 0.0
        moved = slope * logits + intercept
        error = expit(moved) - targets
        gradient = [(error * logits).mean(), error.mean()][: len(parameters)]
        return float((np.logaddexp(0.0, moved) - targets * moved).mean()), np.array(gradient)

    start = [1.0, 0.0] if with_intercept else [1.0]
    bounds = [(LEAST_SLOPE, MOST_SLOPE), (-MOST_INTERCEPT, MOST_INTERCEPT)][: len(start)]
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"ftol": 1e-15, "gtol": 1e-9})
    slope, intercept = (*map(float, found.x), 0.0)[:2]
    return slope, intercept
