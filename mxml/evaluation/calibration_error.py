"""Expected calibration error: how far probabilities are from the shares that come true."""

from __future__ import annotations

import math

import numpy as np

from mxml.evaluation.decisions import Decisions

BINS = 15
_BLOCK_CELLS = 1 << 19


def calibration_errors(decisions: Decisions) -> tuple[float, np.ndarray]:
    """Return the error over all known labels, and that of each class alone.

    Parameters
    ----------
    decisions : Decisions
        Scores (N, C) in [0, 1] and labels.

    Returns
    -------
    overall : float
        Probabilities of all known labels are put into 15 bins of equal width. The error is the mean, over the labels,
        of the distance in their bin between the mean probability and the share that is present: Naeini et al.,
        Obtaining Well Calibrated Probabilities Using Bayesian Binning (AAAI 2015), with as many bins as Guo et al.
        (ICML 2017). Of single labels, as in Guo et al., only the highest probability of each image is taken, and the
        share whose label that is. NaN without a known label.
    per_class : ndarray of shape (C,)
        The first of these for each class alone, float64; NaN without a known label.
    """
    count, width = decisions.known.shape
    step = max(1, _BLOCK_CELLS // max(1, width))
    gaps = np.zeros((width, BINS))
    for start in range(0, count, step):
        rows = slice(start, start + step)
        gaps += _gaps(decisions.scores[rows], decisions.present[rows], decisions.known[rows])
    known = np.count_nonzero(decisions.known, axis=0)
    per_class = np.divide(np.abs(gaps).sum(axis=1), known, out=np.full(width, np.nan), where=known > 0)
    overall, decided = gaps.sum(axis=0), known.sum()
    if decisions.single_label:
        highest = decisions.scores[decisions.predicted][:, np.newaxis]
        right = decisions.present[decisions.predicted][:, np.newaxis]
        overall, decided = _gaps(highest, right, np.ones_like(right))[0], len(right)
    return float(np.abs(overall).sum() / decided) if decided else math.nan, per_class


def bins_of(probabilities: np.ndarray) -> np.ndarray:
    """Return which of the 15 bins each probability, float64 in [0, 1], is in, from 0."""
    return np.minimum((probabilities * BINS).astype(np.intp), BINS - 1)


def _gaps(scores: np.ndarray, present: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return (C, 15): in each bin of a class the sum of the probabilities less the number of present labels."""
    wide = scores.astype(np.float64)
    cells = bins_of(wide) + BINS * np.arange(scores.shape[1])
    gaps = np.bincount(cells.ravel(), ((wide - present) * known).ravel(), minlength=BINS * scores.shape[1])
    return gaps.reshape(-1, BINS)
