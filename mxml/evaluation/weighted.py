"""Counts and average precision where each image counts so many times: those of many resamples at once.

A resample is how often it draws each image, so nothing is sorted again. Counts are a product of a matrix with these
weights, and of AP the weights are summed between the places, in the list's own ranking, where precision is measured.
Both are exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mxml.evaluation.average_precision import group_ends
from mxml.evaluation.precision_recall import Counts, share

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


class WeightedCounts:
    """The counts of labels (N, C) that are ``present`` and ``predicted``, both bool and False where unknown."""

    def __init__(self, present: np.ndarray, predicted: np.ndarray):
        self._matrices = [_indicators(one) for one in (present & predicted, predicted, present)]

    def of(self, weights: np.ndarray) -> Counts:
        """Return the counts (B, C) of images that count by ``weights`` (N, B)."""
        return Counts(*(np.asarray(one @ weights, dtype=np.float64).T for one in self._matrices))


class WeightedRanks:
    """The labels of N images, each sorted once by its scores; arguments (N, C)."""

    def __init__(self, scores: np.ndarray, present: np.ndarray, known: np.ndarray):
        ones = np.ones(len(present), np.float32)
        self._labels = [
            _RankedLabel.of(scores[:, index], present[:, index], known[:, index], ones)
            for index in range(present.shape[1])
        ]

    def average_precisions(self, weights: np.ndarray) -> np.ndarray:
        """Return (B, C) float64 of images that count by ``weights`` (N, B); NaN where no image has the label."""
        return np.stack([label.average_precisions(weights) for label in self._labels], axis=1)


@dataclass(frozen=True, eq=False)
class _RankedLabel:
    """One label's images, best first, cut into G groups: each ends behind all that score as high as some positive.

    Both matrices (G, N) sum weights of images over a group: of ``all`` its images, and of its ``positives``.
    """

    all: csr_matrix
    positives: csr_matrix

    @classmethod
    def of(cls, scores: np.ndarray, present: np.ndarray, known: np.ndarray, ones: np.ndarray) -> _RankedLabel:
        """Rank one label's column; ``ones`` (N,) float32 are shared by all matrices."""
        images = np.flatnonzero(known).astype(np.int32)
        images = images[np.argsort(-scores[images])]
        hits = np.concatenate([[0], np.cumsum(present[images])])
        ends = group_ends(scores[images])
        ends = ends[np.diff(hits[ends], prepend=0) > 0]
        last = ends[-1] if len(ends) else 0
        starts = np.concatenate([[0], ends])
        images = images[:last]
        return cls(_sums(starts, images, ones), _sums(hits[starts], images[present[images]], ones))

    def average_precisions(self, weights: np.ndarray) -> np.ndarray:
        """Return (B,) float64, NaN where a resample has no positive."""
        positives, images = (_rows(groups @ weights) for groups in (self.positives, self.all))
        hits, above = (np.cumsum(one, axis=1, dtype=np.int64) for one in (positives, images))
        area = np.einsum("bg,bg->b", positives, share(hits, above))
        total = positives.sum(axis=1)
        return np.where(total > 0, share(area, total), np.nan)


def _rows(sums: np.ndarray) -> np.ndarray:
    """Return whole numbers (G, B) as (B, G) integers: cumulative sums of rows of these are the fastest."""
    return np.ascontiguousarray(sums.T).astype(np.int64)


def _sums(starts: np.ndarray, images: np.ndarray, ones: np.ndarray) -> csr_matrix:
    from scipy.sparse import csr_matrix

    entries = (ones[: len(images)], images, starts.astype(np.int32))
    return csr_matrix(entries, shape=(len(starts) - 1, len(ones)), copy=False)


def _indicators(chosen: np.ndarray) -> csr_matrix:
    """Return (C, N): 1 where a label of an image is chosen."""
    from scipy.sparse import csr_matrix

    return csr_matrix(chosen.T).astype(np.float32)
