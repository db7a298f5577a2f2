"""Two models on the same images: how far their metrics differ, whether that is more than noise, and where tags differ.

The intervals are of a paired bootstrap: both models are judged on the same draws of images.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mxml.errors import MxmlError
from mxml.evaluation.bootstrap import Difference, resample_count, resamples
from mxml.evaluation.precision_recall import mean_of_defined
from mxml.evaluation.weighted import WeightedCounts, WeightedRanks
from mxml.progress import SILENT, Progress

METRICS = ("mAP", "CF1", "OF1")


@dataclass(frozen=True, eq=False)
class Answers:
    """What a model says of N images: ``scores`` (N, C) and which labels it gives them, ``predicted`` (N, C) bool."""

    scores: np.ndarray
    predicted: np.ndarray


@dataclass(frozen=True)
class Compared:
    """A number of both models, and the second less the first."""

    first: float
    second: float
    difference: Difference


@dataclass(frozen=True)
class ChangedTags:
    """An image that the models give different labels.

    Attributes
    ----------
    row : int
        Which image it is, from 0.
    only_first, only_second : tuple of int
        The labels that only one of them gives.
    right_first, right_second : int
        On how many of these, if they are known, each is right.
    """

    row: int
    only_first: tuple[int, ...]
    only_second: tuple[int, ...]
    right_first: int
    right_second: int

    @property
    def better(self) -> str:
        """``A`` for the first, ``B`` for the second, an empty text where neither is right on more labels."""
        if self.right_first == self.right_second:
            return ""
        return "A" if self.right_first > self.right_second else "B"


@dataclass(frozen=True, eq=False)
class Comparison:
    """How two models differ.

    Attributes
    ----------
    images : int
        How many have a known label.
    metrics : dict
        mAP, CF1 and OF1 of both, as ``mxml.evaluation.metrics`` defines them, with 95 % intervals of the difference.
    AP : tuple of Compared
        The average precision of each label; NaN where no image has it.
    positives : tuple of int
        How many images have each label.
    changed : tuple of ChangedTags
        The images whose labels differ, in their order.
    """

    images: int
    metrics: dict[str, Compared]
    AP: tuple[Compared, ...]
    positives: tuple[int, ...]
    changed: tuple[ChangedTags, ...]


def compare_answers(first: Answers, second: Answers, labels: np.ndarray, progress: Progress = SILENT) -> Comparison:
    """Compare two models on images whose ``labels`` (N, C) are 1, 0 and -1 (unknown).

    Raises MxmlError where no image has a label.
    """
    if not (labels == 1).any():
        raise MxmlError("no image has a label, so there is nothing to compare")
    both = (_Judged(first, labels), _Judged(second, labels))
    count, width = labels.shape
    blocks = [
        [judged.resampled(weights) for judged in both]
        for weights in resamples(count, resample_count(count, width), progress, "comparing")
    ]
    old, new = (np.concatenate(parts, axis=1) for parts in zip(*blocks))
    single = np.ones((count, 1), np.float32)
    values = [judged.resampled(single)[:, 0] for judged in both]
    compared = [
        Compared(float(a), float(b), Difference.of(float(b - a), differences))
        for a, b, differences in zip(*values, new - old)
    ]
    return Comparison(
        int((labels >= 0).any(axis=1).sum()),
        dict(zip(METRICS, compared)),
        tuple(compared[len(METRICS) :]),
        tuple((labels == 1).sum(axis=0).tolist()),
        _changed(first.predicted, second.predicted, labels),
    )


class _Judged:
    """A model's answers, made ready once for all resamples."""

    def __init__(self, answers: Answers, labels: np.ndarray):
        present, known = labels == 1, labels >= 0
        self._counts = WeightedCounts(present, answers.predicted & known)
        self._ranks = WeightedRanks(answers.scores, present, known)

    def resampled(self, weights: np.ndarray) -> np.ndarray:
        """Return (3 + C, B): METRICS and the AP of each label, in each of B resamples."""
        AP = self._ranks.average_precisions(weights)
        averages = self._counts.of(weights).averages()
        return np.stack([mean_of_defined(AP), averages["CF1"], averages["OF1"], *AP.T])


def _changed(first: np.ndarray, second: np.ndarray, labels: np.ndarray) -> tuple[ChangedTags, ...]:
    differs = first != second
    found = []
    for row in np.flatnonzero(differs.any(axis=1)).tolist():
        known = differs[row] & (labels[row] >= 0)
        right_first = int((known & (first[row] == (labels[row] == 1))).sum())
        found.append(
            ChangedTags(
                row,
                tuple(np.flatnonzero(differs[row] & first[row]).tolist()),
                tuple(np.flatnonzero(differs[row] & second[row]).tolist()),
                right_first,
                int(known.sum()) - right_first,
            )
        )
    return tuple(found)
