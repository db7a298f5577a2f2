"""Precision, recall and F1 from counts of labels; ``mxml.evaluation.metrics`` defines each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mxml.evaluation.objectives import Objective


@dataclass(frozen=True, eq=False)
class Counts:
    """Labels of each class that are predicted rightly (``hits``), ``predicted`` and present (``positives``).

    Each is (..., C): one row of counts, or one row per resample of the images.
    """

    hits: np.ndarray
    predicted: np.ndarray
    positives: np.ndarray

    @classmethod
    def of(cls, present: np.ndarray, predicted: np.ndarray) -> Counts:
        """Count two (N, C) arrays of booleans."""
        return cls(*(np.count_nonzero(one, axis=0) for one in (present & predicted, predicted, present)))

    def per_class(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return precision, recall and F1 of each class, (..., C) float64 each, NaN where it has no positive."""
        occurs = self.positives > 0
        precision = np.where(occurs, share(self.hits, self.predicted), np.nan)
        recall = np.where(occurs, share(self.hits, self.positives), np.nan)
        return precision, recall, harmonic_mean(precision, recall)

    def averages(self) -> dict[str, np.ndarray]:
        """Return ``CP``, ``CR``, ``CF1``, ``OP``, ``OR`` and ``OF1``, (...) float64 each, NaN without a positive."""
        precision, recall, _ = self.per_class()
        CP, CR = mean_of_defined(precision), mean_of_defined(recall)
        hits, predicted, positives = (one.sum(axis=-1) for one in (self.hits, self.predicted, self.positives))
        OP = np.where(positives > 0, share(hits, predicted), np.nan)
        OR = np.where(positives > 0, share(hits, positives), np.nan)
        return {
            "CP": CP, "CR": CR, "CF1": harmonic_mean(CP, CR), "OP": OP, "OR": OR, "OF1": harmonic_mean(OP, OR)
        }  # fmt: skip

    def mean_f(self, objective: Objective) -> np.ndarray:
        """Return the mean F-beta of the classes that have a positive, (...) float64, and 0 where none has one."""
        occurs = self.positives > 0
        scores = np.where(occurs, objective.f_score(self.hits, self.predicted, self.positives), 0)
        return share(scores.sum(axis=-1), occurs.sum(axis=-1))


def share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Return ``part / whole``, and 0 where ``whole`` is 0."""
    return np.divide(part, whole, out=np.zeros(np.shape(part), np.float64), where=np.asarray(whole) > 0)


def harmonic_mean(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the harmonic mean, 0 where both are 0; NaN stays NaN."""
    return np.where(first + second == 0, 0.0, 2 * first * second / np.where(first + second == 0, 1, first + second))


def mean_of_defined(values: np.ndarray) -> np.ndarray:
    """Return the mean over the last axis of what is not NaN; NaN where nothing is."""
    defined = ~np.isnan(values)
    count = defined.sum(axis=-1)
    return np.where(count > 0, share(np.where(defined, values, 0).sum(axis=-1), count), np.nan)
