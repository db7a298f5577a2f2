"""Curves of one label: precision against recall, and both against the threshold, with few points each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

CURVE_POINTS = 200
SWEEP = np.arange(101) / 100
"""The thresholds at which a sweep is computed."""


@dataclass(frozen=True, eq=False)
class PrecisionRecall:
    """Precision against recall, as steps.

    ``precision`` (K,) holds from the recall before to ``recall`` (K,), which rises to 1; the first step begins at 0.
    The area below is the average precision.
    """

    recall: np.ndarray
    precision: np.ndarray


@dataclass(frozen=True, eq=False)
class Sweep:
    """``precision``, ``recall`` and ``F1`` (101,) where a label is given from a score of 0, 0.01, ..., 1 on.

    Precision is NaN where no image gets the label.
    """

    precision: np.ndarray
    recall: np.ndarray
    F1: np.ndarray


def precision_recall(scores: np.ndarray, present: np.ndarray) -> PrecisionRecall:
    """Return the curve of a label's scores (n,) in images that have it or not, ``present`` (n,) bool with one True.

    Of more than 200 steps those that end within the same 1/200 of recall are drawn as one, as high as their mean: the
    area stays the same.
    """
    order = np.argsort(-scores, kind="stable")
    # Images of equal score get the label together.
    last = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    found = np.cumsum(present[order])[last]
    precision = found / (last + 1)
    steps = np.diff(found, prepend=0)
    rising = steps > 0
    found, precision, steps = found[rising], precision[rising], steps[rising]
    cells = -(-found * CURVE_POINTS // found[-1])
    firsts = np.flatnonzero(np.diff(cells, prepend=-1))
    ends = np.append(firsts[1:], len(cells)) - 1
    means = np.add.reduceat(precision * steps, firsts) / np.add.reduceat(steps, firsts)
    return PrecisionRecall(found[ends] / found[-1], means)


def sweep(scores: np.ndarray, present: np.ndarray) -> Sweep:
    """Return what each threshold would give; takes what ``precision_recall`` takes."""
    wide = scores.astype(np.float64)
    found, wrong = (len(part) - np.searchsorted(np.sort(part), SWEEP) for part in (wide[present], wide[~present]))
    given = found + wrong
    precision = np.divide(found, given, out=np.full(len(SWEEP), np.nan), where=given > 0)
    positives = np.count_nonzero(present)
    return Sweep(precision, found / positives, 2 * found / (given + positives))
