"""The best threshold for one set of scores."""

from __future__ import annotations

import numpy as np

from mxml.evaluation.objectives import Objective

# Thresholds are averaged as logits, which have no ends.
_LEAST_SHARE = 1e-9
_EXACT = 1e-12


class SortedScores:
    """Scores of which some should be at or above a threshold, sorted once for every threshold that may be asked for.

    Parameters
    ----------
    scores : ndarray of shape (n,)
        Probabilities.
    present : ndarray of shape (n,)
        Bool: whether the image has the label.
    """

    def __init__(self, scores: np.ndarray, present: np.ndarray):
        self._order = np.argsort(-scores, kind="stable")
        descending = scores[self._order].astype(np.float64)
        self._present = present[self._order].astype(np.float64)
        # Equal scores are on the same side of every threshold.
        self._ends = np.flatnonzero(np.append(descending[1:] != descending[:-1], [True] * bool(len(descending))))
        self._values = descending[self._ends]
        # A float64 is between any two float32: a threshold is on no score.
        self._thresholds = (np.append(1.0, self._values) + np.append(self._values, 0.0)) / 2
        if len(self._values) and self._values[0] >= 1:
            # None is above a score of 1.
            self._thresholds[0] = np.nan
        self.count = len(scores)
        self.positives = int(present.sum())

    def best(self, objective: Objective, near: float, weights: np.ndarray | None = None) -> tuple[float, bool]:
        """Return the best threshold, and whether it reaches the precision or recall that is asked for, if one is.

        It is in the middle between two scores, or between one and 0 or 1. Of equally good ones it is the one nearest to
        ``near``, which it also is where no label is present. A precision that cannot be reached gives the highest.
        ``weights`` (n,) say how often each score counts.
        """
        counted = None if weights is None else weights[self._order].astype(np.float64)
        hits, predicted = self._counts(counted)
        if not hits[-1]:
            return near, not objective.is_target
        merit, reached = _merit(hits, predicted, objective)
        merit[np.isnan(self._thresholds)] = -1
        best = np.flatnonzero(merit >= merit.max() - _EXACT)
        return float(self._thresholds[best[np.abs(self._thresholds[best] - near).argmin()]]), reached

    def bagged(self, objective: Objective, near: float, rounds: int, generator: np.random.Generator) -> float:
        """Return the mean of the best thresholds of bootstrap samples, moved into the middle between two scores.

        The best threshold of a few images jumps from score to score; the mean hardly moves (Breiman, Bagging
        Predictors, 1996).
        """
        count = self.count
        if not self.positives:
            return near
        found = [
            self.best(objective, near, np.bincount(generator.integers(0, count, count), minlength=count))[0]
            for _ in range(rounds)
        ]
        return self.between(mixed(np.array(found), np.full(rounds, 1 / rounds)))

    def between(self, threshold: float) -> float:
        """Return the threshold in the middle of the scores that ``threshold`` is between: it decides the same."""
        above = int((self._values >= threshold).sum())
        middle = float(self._thresholds[above])
        return threshold if np.isnan(middle) else middle

    def _counts(self, weights: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Return how many are present, and how many there are, at or above each threshold."""
        present = self._present if weights is None else self._present * weights
        everyone = np.ones(len(present)) if weights is None else weights
        return self._sums_above(present), self._sums_above(everyone)

    def _sums_above(self, column: np.ndarray) -> np.ndarray:
        return np.append(0.0, np.cumsum(column)[self._ends])


def mixed(thresholds: np.ndarray, shares: np.ndarray) -> float:
    """Return the weighted mean of thresholds, taken as logits; ``shares`` add up to 1."""
    inside = np.clip(thresholds, _LEAST_SHARE, 1 - _LEAST_SHARE)
    return float(1 / (1 + np.exp(-(np.log(inside / (1 - inside)) * shares).sum())))


def _merit(hits: np.ndarray, predicted: np.ndarray, objective: Objective) -> tuple[np.ndarray, bool]:
    """Return a number for each threshold, the highest for the best; and whether any reaches what is asked for."""
    positives, count = hits[-1], predicted[-1]
    if not objective.is_target:
        return objective.f_score(hits, predicted, positives), True
    precision, recall = hits / np.maximum(predicted, 1), hits / positives
    aim, other = (precision, recall) if objective.kind == "precision" else (recall, precision)
    good = (aim >= objective.value - _EXACT) & (hits > 0)
    # The second number decides between equals: its share is smaller than what one image changes of the first.
    share = 1 / (4 * count**2)
    return (np.where(good, other + share * aim, -1), True) if good.any() else (aim + share * other, False)
