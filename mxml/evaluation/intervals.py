"""Intervals of metrics over what other images might have given: the percentile bootstrap.

Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13: images are drawn from the list with
replacement, as many as it has, and the metrics computed from these; the middle 95 % of many such values are the
interval. It says how much a metric depends on which images are in the list, and nothing about another run of the
training, another kind of images or wrong labels. Of few images, and of a label that few have, it is too narrow.

A resample is how often it draws each image, so nothing is sorted again. A metric of ratios is a product of a matrix
with these weights, and of AP the weights are summed between the places, in the list's own ranking, where precision is
measured. Both are exact. What is slow or biased in resamples has no interval: 11-point AP, and the calibration error,
which any noise makes larger.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mxml.evaluation.average_precision import group_ends
from mxml.evaluation.decisions import Decisions
from mxml.evaluation.image_values import ImageValues
from mxml.evaluation.metrics import top3_averages
from mxml.evaluation.precision_recall import Counts, mean_of_defined, share
from mxml.progress import SILENT, Progress

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

LEVEL = 0.95
SEED = 0
_MOST_RESAMPLES = 1000
_FEWEST_RESAMPLES = 200
# Resamples times labels of all images: some seconds.
_CELLS = 2_000_000_000
# So many weights stay in a processor's cache.
_BLOCK_WEIGHTS = 1 << 20
# Below, float32 holds every whole number.
_EXACT = 1 << 24

Interval = tuple[float, float]


@dataclass(frozen=True)
class Intervals:
    """The 95 % intervals of one evaluation.

    Attributes
    ----------
    resamples : int
        How many resamples they are from: 1,000, and down to 200 for many images and labels; 0 for fewer than two
        images, which have no intervals.
    metrics : mapping of str to (float, float)
        The lower and the upper end for each metric by its name, without those that have no interval.
    AP : tuple of (float, float) or None
        The same for each class's AP; None without a positive.
    level, seed
        The share of the resamples within an interval, and what they were drawn with.
    """

    resamples: int
    metrics: Mapping[str, Interval]
    AP: tuple[Interval | None, ...]
    level: float = LEVEL
    seed: int = SEED

    def to_dict(self) -> dict[str, Any]:
        """Return all but the classes' as JSON holds it: the metrics' as lists of two beside the other fields."""
        return {
            "level": self.level, "resamples": self.resamples, "seed": self.seed,
            **{name: list(interval) for name, interval in self.metrics.items()},
        }  # fmt: skip


def bootstrap_intervals(decisions: Decisions, progress: Progress = SILENT) -> Intervals:
    """Compute the intervals of checked scores and labels.

    Parameters
    ----------
    decisions : Decisions
        The N images that have a known label.
    progress : Progress
        Told of as large a share of the images as of the resamples is done.

    Returns
    -------
    Intervals
        The same for the same scores and labels in the same order. A resample in which a metric is undefined, as an AP
        is without a positive, does not count for that metric, nor a class without a positive for the resample's mAP.
    """
    count, width = decisions.known.shape
    if count < 2:
        return Intervals(0, {}, (None,) * width)
    resamples = resample_count(count, width)
    progress.start(count, "intervals of the metrics")
    statistics = _Statistics(decisions)
    APs, others, done = [], [], 0
    for weights in _weights(count, resamples):
        APs.append(statistics.average_precisions(weights))
        others.append(statistics.ratios(weights))
        before, done = done, done + weights.shape[1]
        progress.advance(count * done // resamples - count * before // resamples)
    AP = np.concatenate(APs)
    columns = {"mAP": mean_of_defined(AP)}
    columns |= {name: np.concatenate([block[name] for block in others]) for name in others[0]}
    found = {name: _interval(values) for name, values in columns.items()}
    return Intervals(
        resamples,
        {name: interval for name, interval in found.items() if interval is not None},
        tuple(map(_interval, AP.T)),
    )


def resample_count(images: int, labels: int) -> int:
    """Return how many resamples are drawn: 1,000, and for many images and labels fewer, down to 200."""
    return min(_MOST_RESAMPLES, max(_FEWEST_RESAMPLES, _CELLS // (images * labels)))


def _weights(count: int, resamples: int) -> Iterator[np.ndarray]:
    """Yield (N, B) floats, how often each of B resamples draws each image, until there are as many as wanted."""
    random = np.random.default_rng(SEED)
    size = max(8, _BLOCK_WEIGHTS // count)
    for start in range(0, resamples, size):
        block = np.empty((min(size, resamples - start), count), np.float32 if count < _EXACT else np.float64)
        for row in block:
            row[:] = np.bincount(random.integers(count, size=count), minlength=count)
        yield np.ascontiguousarray(block.T)


class _Statistics:
    """Metrics as functions of weights (N, B) of the images; each is (B,), and AP (B, C)."""

    def __init__(self, decisions: Decisions):
        present, predicted, top3 = decisions.present, decisions.predicted, decisions.predicted_in_top
        self._positives = _indicators(present)
        self._decided = [(_indicators(present & one), _indicators(one)) for one in (predicted, top3)]
        ones = np.ones(len(present), np.float32)
        self._ranked = [
            _Ranked.of(decisions.scores[:, index], present[:, index], decisions.known[:, index], ones)
            for index in range(present.shape[1])
        ]
        self._values = ImageValues.of(decisions)
        self._columns = np.stack(list(self._values.columns.values()))

    def ratios(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        positives = _totals(self._positives, weights)
        plain, top3 = (
            Counts(_totals(hits, weights), _totals(predicted, weights), positives) for hits, predicted in self._decided
        )
        sums = dict(zip(self._values.columns, self._columns @ weights))
        return {**plain.averages(), **top3_averages(top3), **self._values.metrics(sums)}

    def average_precisions(self, weights: np.ndarray) -> np.ndarray:
        return np.stack([ranked.average_precisions(weights) for ranked in self._ranked], axis=1)


@dataclass(frozen=True, eq=False)
class _Ranked:
    """One label's images, best first, cut into G groups: each ends behind all that score as high as some positive.

    Both matrices (G, N) sum weights of images over a group: of ``all`` its images, and of its ``positives``.
    """

    all: csr_matrix
    positives: csr_matrix

    @classmethod
    def of(cls, scores: np.ndarray, present: np.ndarray, known: np.ndarray, ones: np.ndarray) -> _Ranked:
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


def _totals(indicators: csr_matrix, weights: np.ndarray) -> np.ndarray:
    """Return (B, C) float64: how often each label is chosen in each resample."""
    return np.asarray(indicators @ weights, dtype=np.float64).T


def _interval(values: np.ndarray) -> Interval | None:
    defined = values[~np.isnan(values)]
    if not len(defined):
        return None
    low, high = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]).tolist()
    return low, high
