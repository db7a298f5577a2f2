"""Precision, recall and F1 from counts of decisions: what can be computed of many resamples at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mxml.evaluation.objectives import Objective


@dataclass(frozen=True, eq=False)
class Decided:
    """Which labels images have, and which they were given.

    Attributes
    ----------
    present, predicted : ndarray of shape (N, C)
        Bool, both False where a label is unknown.
    """

    present: np.ndarray
    predicted: np.ndarray

    @classmethod
    def of(cls, predicted: np.ndarray, labels: np.ndarray) -> Decided:
        """Leave unknown labels out; ``labels`` (N, C) are 1, 0 and -1 (unknown)."""
        return cls(labels == 1, predicted & (labels >= 0))

    def counts(self, weights: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return how many are predicted rightly, predicted, and present: (C,), and (B, C) with ``weights`` (B, N)."""
        parts = (self.present & self.predicted, self.predicted, self.present)
        if weights is None:
            hits, predicted, present = (values.sum(axis=0) for values in parts)
        else:
            hits, predicted, present = (weights @ values.astype(weights.dtype) for values in parts)
        return hits, predicted, present

    def averages(self, weights: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """Return CP, CR, CF1, OP, OR and OF1 as ``mxml.evaluation.metrics`` defines them.

        ``weights`` (B, N) count each image so many times in each of B resamples: the values are (B,); without, ().
        """
        hits, predicted, present = self.counts(weights)
        has = present > 0
        classes = np.maximum(has.sum(axis=-1), 1)
        CP = np.where(has, ratio(hits, predicted), 0).sum(axis=-1) / classes
        CR = np.where(has, ratio(hits, present), 0).sum(axis=-1) / classes
        OP = ratio(hits.sum(axis=-1), predicted.sum(axis=-1))
        OR = ratio(hits.sum(axis=-1), present.sum(axis=-1))
        found = {"CP": CP, "CR": CR, "CF1": harmonic(CP, CR), "OP": OP, "OR": OR, "OF1": harmonic(OP, OR)}
        # As in metrics: without a label that is present there is nothing to say.
        return {name: np.where(has.any(axis=-1), value, np.nan) for name, value in found.items()}

    def mean_f(self, objective: Objective, weights: np.ndarray | None = None) -> np.ndarray:
        """Return the mean F-beta of the labels that an image has; (), or with weights (B, N) one per resample."""
        hits, predicted, present = self.counts(weights)
        has = present > 0
        return ratio(np.where(has, objective.f_score(hits, predicted, present), 0).sum(axis=-1), has.sum(axis=-1))

    def per_label(self) -> dict[str, np.ndarray]:
        """Return precision, recall and F1 of each label, (C,); NaN where no image has it."""
        hits, predicted, present = self.counts()
        precision, recall = ratio(hits, predicted), ratio(hits, present)
        found = {"precision": precision, "recall": recall, "F1": harmonic(precision, recall)}
        return {name: np.where(present > 0, value, np.nan) for name, value in found.items()}


def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Return part / whole; 0 where the whole is 0."""
    part, whole = np.asarray(part, dtype=np.float64), np.asarray(whole, dtype=np.float64)
    found: np.ndarray = np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
    return found


def harmonic(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the harmonic mean of two shares; 0 where both are 0."""
    return ratio(2 * first * second, first + second)
