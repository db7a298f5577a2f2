"""Metrics that are ratios of sums over images: what each image adds to both sums.

``mxml.evaluation.metrics`` defines each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mxml.evaluation.decisions import Decisions
from mxml.evaluation.ranking_keys import ranking_keys

# float32 probabilities end at 1 - 6e-8; without a bound one saturated mistake would make the mean loss infinite.
SCORE_CLIP = 1e-7
_BLOCK_CELLS = 1 << 19


@dataclass(frozen=True, eq=False)
class ImageValues:
    """What each of N images adds: ``columns`` has (N,) float64 arrays by name, ``single_label`` as of the decisions."""

    columns: Mapping[str, np.ndarray]
    single_label: bool

    @classmethod
    def of(cls, decisions: Decisions) -> ImageValues:
        """Compute them in blocks of images, so that little memory is needed besides."""
        count, width = decisions.present.shape
        step = max(1, _BLOCK_CELLS // max(1, width))
        blocks = [_columns(decisions, slice(start, start + step)) for start in range(0, max(1, count), step)]
        columns = {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
        return cls(columns, decisions.single_label)

    def sums(self) -> dict[str, np.ndarray]:
        """Return the sum of each column, arrays without dimensions."""
        return {name: np.asarray(column.sum()) for name, column in self.columns.items()}

    def metrics(self, sums: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return the metrics of sums of the columns, which may have one sum per resample."""
        wrong = _ratio(sums["wrong"], sums["known"])
        found = {
            "hamming": wrong,
            "element_accuracy": 1 - wrong,
            "subset_accuracy": _ratio(sums["exact"], sums["images"]),
            "ranking_loss": _ratio(sums["ranking_loss"], sums["images"]),
            "coverage": _ratio(sums["coverage"], sums["images"]),
            "one_error": _ratio(sums["wrong_top"], sums["has_label"]),
            "lrap": _ratio(sums["lrap"], sums["images"]),
            "loss": _ratio(sums["loss"], sums["images" if self.single_label else "known"]),
        }
        if self.single_label:
            found["accuracy"] = found["subset_accuracy"]
        return found


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=np.asarray(whole) > 0)


def _columns(decisions: Decisions, rows: slice) -> dict[str, np.ndarray]:
    scores, present, known = decisions.scores[rows], decisions.present[rows], decisions.known[rows]
    logits = None if decisions.logits is None else decisions.logits[rows]
    wrong = np.count_nonzero(present ^ decisions.predicted[rows], axis=1)
    positives = np.count_nonzero(present, axis=1)
    # An absent label that scores as high takes the first place.
    highest = np.where(present, scores, -1).max(axis=1, initial=-1)
    highest_absent = np.where(known & ~present, scores, -1).max(axis=1, initial=-1)
    losses = _softmax_losses if decisions.single_label else _losses
    columns = {
        "images": np.ones(len(wrong)),
        "known": np.count_nonzero(known, axis=1),
        "wrong": wrong,
        "exact": wrong == 0,
        "has_label": positives > 0,
        "wrong_top": (positives > 0) & (highest_absent >= highest),
        "loss": losses(scores, present, known, logits),
        **_rankings(scores, present, known, positives),
    }
    return {name: column.astype(np.float64) for name, column in columns.items()}


def _rankings(
    scores: np.ndarray, present: np.ndarray, known: np.ndarray, positives: np.ndarray
) -> dict[str, np.ndarray]:
    width = scores.shape[1]
    keys = np.sort(ranking_keys(scores, present, known), axis=1)[:, ::-1]
    ranked = (keys & 1).astype(bool)
    hits = np.cumsum(ranked, axis=1, dtype=np.int32)
    closes = np.ones(keys.shape, dtype=bool)
    closes[:, :-1] = keys[:, 1:] >> 1 != keys[:, :-1] >> 1
    # Each image's groups of labels that score alike end at these places, in rows one behind the other.
    ends = np.flatnonzero(closes)
    image, place = np.flatnonzero(ranked) // width, np.flatnonzero(ranked)
    last = ends[np.searchsorted(ends, place)]
    hits_above, above = hits.ravel()[last], last - image * width + 1

    def total(values: np.ndarray) -> np.ndarray:
        return np.bincount(image, values, minlength=len(scores))

    absent = np.count_nonzero(known, axis=1) - positives
    coverage = np.zeros(len(scores))
    # Of an image's places the last one, which is the lowest, stays.
    coverage[image] = above
    ordered = (positives == 0) | (absent == 0)
    pairs, ones = np.maximum(positives * absent, 1), np.maximum(positives, 1)
    return {
        "ranking_loss": np.where(ordered, 0, total(above - hits_above) / pairs),
        "coverage": coverage,
        "lrap": np.where(ordered, 1, total(hits_above / above) / ones),
    }


def _losses(scores: np.ndarray, present: np.ndarray, known: np.ndarray, logits: np.ndarray | None) -> np.ndarray:
    """Return the sum over each image's known labels of their binary cross-entropy."""
    if logits is None:
        wide = np.clip(scores.astype(np.float64), SCORE_CLIP, 1 - SCORE_CLIP)
        losses = -np.log(np.where(present, wide, 1 - wide))
    else:
        # log(1 + exp(-z)) of a present label, log(1 + exp(z)) of an absent one.
        wide = logits.astype(np.float64)
        losses = np.logaddexp(0.0, np.where(present, -wide, wide))
    total: np.ndarray = np.where(known, losses, 0).sum(axis=1)
    return total


def _softmax_losses(
    scores: np.ndarray, present: np.ndarray, known: np.ndarray, logits: np.ndarray | None
) -> np.ndarray:
    """Return the cross-entropy of each image's one label."""
    if logits is None:
        return -np.log(np.clip(scores[present].astype(np.float64), SCORE_CLIP, 1))
    wide = logits.astype(np.float64)
    losses: np.ndarray = np.logaddexp.reduce(wide, axis=1) - wide[present]
    return losses
