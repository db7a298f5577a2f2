"""How far probabilities are from the shares that come true."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from mxml.evaluation.calibration_error import BINS, bins_of


@dataclass(frozen=True, eq=False)
class Reliability:
    """Decisions in 15 bins of equal width, by their probability.

    ``counts`` (15,) int64, ``confidence`` (15,) the mean probability in each bin and ``share`` (15,) the share that
    came true, NaN in an empty one. ``error`` is the expected calibration error, the mean over all decisions of the
    distance between the two in their bin: Naeini et al., Obtaining Well Calibrated Probabilities Using Bayesian Binning
    (AAAI 2015), with as many bins as Guo et al., On Calibration of Modern Neural Networks (ICML 2017).
    """

    counts: np.ndarray
    confidence: np.ndarray
    share: np.ndarray

    @property
    def error(self) -> float:
        """Return the expected calibration error, NaN without a decision."""
        if not self.counts.any():
            return math.nan
        return float(np.nansum(self.counts * np.abs(self.confidence - self.share)) / self.counts.sum())


def reliability(probabilities: np.ndarray, came_true: np.ndarray) -> Reliability:
    """Put decisions into bins: their probabilities (n,) in [0, 1], and whether each came true, (n,) bool."""
    wide = probabilities.astype(np.float64)
    bins = bins_of(wide)
    counts = np.bincount(bins, minlength=BINS)
    sums = (np.bincount(bins, values, minlength=BINS) for values in (wide, came_true))
    confidence, share = (np.divide(total, counts, out=np.full(BINS, np.nan), where=counts > 0) for total in sums)
    return Reliability(counts, confidence, share)
