"""Statistics of the labels of some lists, and the metrics of guessing by each label's frequency.

A label of -1 is unknown, and is counted neither as present nor as absent.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mxml.data.image_list import ImageList

_BLOCK_ROWS = 1 << 16


@dataclass(frozen=True)
class Guessing:
    """Metrics of a model that gives every image the training list's share of each label; NaN where undefined.

    Constant scores put all images into one tie, so a label's average precision is its share among the known ones, and
    ``mAP`` the mean over the labels that occur. A label is predicted, for all images or none, where its training share
    is at least 0.5: ``hamming`` is the share of known labels decided wrongly, ``element_accuracy`` of those decided
    rightly.
    """

    mAP: float
    hamming: float
    element_accuracy: float


@dataclass(frozen=True, eq=False)
class ListStatistics:
    """The labels of one list of N images with C labels.

    ``present``, ``absent`` and ``unknown`` (C,) int64 count images; ``shares`` (C,) float64 is present / (present +
    absent), NaN where no label is known. ``label_counts[k]`` int64 is the number of images with exactly k labels
    present, up to the largest such k. ``cooccurrence`` (C, C) int64 counts the images that have both labels; its
    diagonal is ``present``.
    """

    name: str
    images: int
    present: np.ndarray
    absent: np.ndarray
    unknown: np.ndarray
    shares: np.ndarray
    label_counts: np.ndarray
    cooccurrence: np.ndarray
    guessing: Guessing


@dataclass(frozen=True, eq=False)
class LabelStatistics:
    """The labels of some lists, of which the first is the one to train on.

    ``pos_weight`` (C,) float64 is absent / present in the training list, as PyTorch's BCEWithLogitsLoss means it; NaN
    where no image has the label. ``new_pairs[k]`` (P, 2) int64 are the pairs of labels i < j that occur together in
    list k and never in the training list, the most frequent first (none for the training list itself).
    ``absent_pairs`` (Q, 2) int64 are the pairs i < j of labels that occur, yet together in no list.
    """

    label_names: tuple[str, ...]
    lists: tuple[ListStatistics, ...]
    pos_weight: np.ndarray
    new_pairs: tuple[np.ndarray, ...]
    absent_pairs: np.ndarray

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain Python values that JSON can hold, NaN as None."""
        lists = []
        for stats, pairs in zip(self.lists, self.new_pairs):
            lists.append(
                {
                    "list": stats.name,
                    "images": stats.images,
                    "labels": [
                        {"name": name, "present": present, "absent": absent, "unknown": unknown, "share": _plain(share)}
                        for name, present, absent, unknown, share in zip(
                            self.label_names,
                            stats.present.tolist(),
                            stats.absent.tolist(),
                            stats.unknown.tolist(),
                            stats.shares.tolist(),
                        )
                    ],
                    "images_per_label_count": stats.label_counts.tolist(),
                    "cooccurrence": stats.cooccurrence.tolist(),
                    "guessing": {
                        "mAP": _plain(stats.guessing.mAP),
                        "hamming": _plain(stats.guessing.hamming),
                        "element_accuracy": _plain(stats.guessing.element_accuracy),
                    },
                    "pairs_not_in_training": [
                        {"labels": names, "images": int(stats.cooccurrence[first, second])}
                        for names, (first, second) in zip(self._pair_names(pairs), pairs.tolist())
                    ],
                }
            )
        return {
            "lists": lists,
            "pos_weight": {name: _plain(weight) for name, weight in zip(self.label_names, self.pos_weight.tolist())},
            "pairs_without_example": self._pair_names(self.absent_pairs),
        }

    def _pair_names(self, pairs: np.ndarray) -> list[list[str]]:
        return [[self.label_names[first], self.label_names[second]] for first, second in pairs.tolist()]


def label_statistics(lists: Sequence[ImageList], names: Iterable[str], label_names: Sequence[str]) -> LabelStatistics:
    """Count the labels of some lists, of which the first is the one to train on.

    ``names`` are the lists', in order; the labels of all are (N, C) of 1, 0 and -1 with one C, and may have no rows.
    """
    counts = [_count(images.labels) for images in lists]
    train = counts[0]
    train_shares = label_shares(train.present, train.absent)
    with np.errstate(invalid="ignore", divide="ignore"):
        pos_weight = np.where(train.present > 0, train.absent / train.present, math.nan)
    together = [np.triu(count.cooccurrence, 1) for count in counts]
    occurs = np.logical_or.reduce([count.present > 0 for count in counts])
    anywhere = np.logical_or.reduce([pairs > 0 for pairs in together])
    return LabelStatistics(
        tuple(label_names),
        tuple(_list_statistics(name, count, train_shares) for name, count in zip(names, counts)),
        pos_weight,
        tuple(_most_frequent_first(np.where(together[0] == 0, pairs, 0)) for pairs in together),
        np.argwhere(np.triu(np.outer(occurs, occurs), 1) & ~anywhere),
    )


def label_shares(present: np.ndarray, absent: np.ndarray) -> np.ndarray:
    """Return present / (present + absent) of counts of images, (C,) float64; NaN where no label is known."""
    with np.errstate(invalid="ignore"):
        shares: np.ndarray = present / (present + absent)
    return shares


@dataclass(frozen=True, eq=False)
class _Counts:
    images: int
    present: np.ndarray
    absent: np.ndarray
    label_counts: np.ndarray
    cooccurrence: np.ndarray


def _count(labels: np.ndarray) -> _Counts:
    width = labels.shape[1]
    absent = np.zeros(width, np.int64)
    cooccurrence = np.zeros((width, width), np.int64)
    label_counts = np.zeros(width + 1, np.int64)
    for start in range(0, len(labels), _BLOCK_ROWS):
        block = labels[start : start + _BLOCK_ROWS]
        # float32 is exact up to 2**24, far above the rows of a block, and BLAS multiplies no integers.
        present = (block == 1).astype(np.float32)
        cooccurrence += (present.T @ present).astype(np.int64)
        absent += np.count_nonzero(block == 0, axis=0)
        label_counts += np.bincount(present.sum(axis=1).astype(np.int64), minlength=width + 1)
    largest = np.flatnonzero(label_counts)[-1] if len(labels) else 0
    return _Counts(
        len(labels), np.diagonal(cooccurrence).copy(), absent, label_counts[: largest + 1].copy(), cooccurrence
    )


def _list_statistics(name: str, counts: _Counts, train_shares: np.ndarray) -> ListStatistics:
    known = counts.present + counts.absent
    shares = label_shares(counts.present, counts.absent)
    return ListStatistics(
        name,
        counts.images,
        counts.present,
        counts.absent,
        counts.images - known,
        shares,
        counts.label_counts,
        counts.cooccurrence,
        _guess(counts.present, counts.absent, shares, train_shares),
    )


def _guess(present: np.ndarray, absent: np.ndarray, shares: np.ndarray, train_shares: np.ndarray) -> Guessing:
    known = int((present + absent).sum())
    if not known:
        return Guessing(math.nan, math.nan, math.nan)
    occurring = shares[present > 0]
    # A label of which training knows nothing (NaN) is not predicted.
    wrong = int(np.where(train_shares >= 0.5, absent, present).sum())
    return Guessing(float(occurring.mean()) if len(occurring) else math.nan, wrong / known, (known - wrong) / known)


def _most_frequent_first(pairs: np.ndarray) -> np.ndarray:
    """Return (P, 2) the positions of what is not 0, largest first, equal ones in order."""
    positions = np.argwhere(pairs)
    return positions[np.argsort(-pairs[tuple(positions.T)], kind="stable")]


def _plain(number: float) -> float | None:
    return None if math.isnan(number) else number
