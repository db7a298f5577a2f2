"""Average precision of a label: the area under its precision-recall curve, and the mean of eleven points of it."""

from __future__ import annotations

import numpy as np

from mxml.evaluation.ranking_keys import ranking_keys

_LEVELS = 10
_BLOCK_CELLS = 1 << 20


def average_precisions(scores: np.ndarray, labels: np.ndarray) -> list[float | None]:
    """Return each label's AP alone, which takes far less time than all; None for one never present, or never absent.

    ``scores`` (N, C) float32 or float64 that are not negative; ``labels`` (N, C) of 1, 0 and -1 (unknown).
    """
    APs, _ = average_precisions_of(scores, labels == 1, labels >= 0)
    absent = (labels == 0).any(axis=0)
    return [None if np.isnan(AP) or not absent[index] else float(AP) for index, AP in enumerate(APs)]


def average_precisions_of(scores: np.ndarray, present: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return AP and 11-point AP of each column, (C,) float64 each, NaN without a positive; arguments (N, C)."""
    count, width = scores.shape
    found = np.full((2, width), np.nan)
    step = max(1, _BLOCK_CELLS // max(1, count))
    for start in range(0, width, step):
        columns = (np.ascontiguousarray(one[:, start : start + step].T) for one in (scores, present, known))
        keys = np.sort(ranking_keys(*columns), axis=1)[:, ::-1]
        for index, column in enumerate(keys, start):
            hits, ends = _curve(column[: np.count_nonzero(column)])
            if len(hits):
                found[:, index] = _area(hits, ends), _eleven_points(hits, ends)
    return found[0], found[1]


def group_ends(ranked_scores: np.ndarray) -> np.ndarray:
    """Return how many come up to the end of each group of equal values, in an array that is sorted."""
    closes = np.ones(len(ranked_scores), dtype=bool)
    closes[:-1] = ranked_scores[1:] != ranked_scores[:-1]
    return np.flatnonzero(closes) + 1


def _curve(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return, where a group of equal scores with a positive ends, how many positives and how many images come so far.

    ``keys`` (n,) are in descending order.
    """
    ends = group_ends(keys >> 1)
    hits = np.cumsum(keys & 1, dtype=np.int64)[ends - 1]
    grows = np.diff(hits, prepend=0) > 0
    return hits[grows], ends[grows]


def _area(hits: np.ndarray, ends: np.ndarray) -> float:
    return float((np.diff(hits, prepend=0) * (hits / ends)).sum() / hits[-1])


def _eleven_points(hits: np.ndarray, ends: np.ndarray) -> float:
    best_from = np.maximum.accumulate((hits / ends)[::-1])[::-1]
    # In whole numbers: a recall of 0.3 is not above three times the float 0.1.
    reached = np.searchsorted(_LEVELS * hits, np.arange(_LEVELS + 1) * hits[-1])
    return float(best_from[reached].mean())
