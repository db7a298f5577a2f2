"""Pairs of labels that a training list always or never shows together, where chance does not explain it.

Both cases are an empty cell in a table of two labels: no image has the first and lacks the second, or no image has
both. How likely the cell is empty by chance, given how many images have each label, is the hypergeometric probability
that Fisher's exact test uses. Among many pairs some cells are empty by chance; Benjamini and Hochberg's procedure
("Controlling the False Discovery Rate", 1995) keeps these to one in a hundred of the pairs that are reported.

Some labels exclude each other by nature, such as the colours of a garment. Where every image has exactly one label of a
group, the labels in it are taken to be such values of one property, and their pairs are not reported.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

FALSE_SHARE = 0.01

_BLOCK_ROWS = 1 << 16
# What bounds the search for groups; beyond it no group is found.
_MOST_LABELS = 200
_MOST_COMBINATIONS = 4096
_MOST_STEPS = 10_000


@dataclass(frozen=True)
class LabelPair:
    """Two columns of labels; ``images`` have the first one, and about ``expected`` of these the second by chance."""

    first: int
    second: int
    images: int
    expected: float


@dataclass(frozen=True, eq=False)
class PairCounts:
    """Counts of images in which both labels of a pair are known, each (C, C) int64.

    ``known[i, j]`` counts all of these, ``present[i, j]`` those with label i, ``together[i, j]`` those with both.
    """

    known: np.ndarray
    present: np.ndarray
    together: np.ndarray


def count_pairs(labels: np.ndarray) -> PairCounts:
    """Count the pairs of (N, C) labels of 1, 0 and -1."""
    width = labels.shape[1]
    known, present, together = (np.zeros((width, width), np.int64) for _ in range(3))
    for start in range(0, len(labels), _BLOCK_ROWS):
        block = labels[start : start + _BLOCK_ROWS]
        # float32 is exact up to 2**24, far above the rows of a block, and BLAS multiplies no integers.
        has = (block == 1).astype(np.float32)
        knows = (block >= 0).astype(np.float32)
        known += (knows.T @ knows).astype(np.int64)
        present += (has.T @ knows).astype(np.int64)
        together += (has.T @ has).astype(np.int64)
    return PairCounts(known, present, together)


def always_together(counts: PairCounts) -> list[LabelPair]:
    """Return the pairs whose first label never occurs without the second, the least likely first.

    Of two labels that always occur together there is one pair.
    """
    known, present, together = counts.known, counts.present, counts.together
    absent = known - present.T
    one_way = (together > 0) & (together == present)
    np.fill_diagonal(one_way, False)
    pairs = np.argwhere(one_way & ~np.tril(one_way & one_way.T))
    chance = _log_chance_of_none(known, present, absent, pairs)
    width = len(known)
    return _beyond_chance(counts, pairs, chance, width * (width - 1))


def never_together(counts: PairCounts, labels: np.ndarray) -> list[LabelPair]:
    """Return the pairs of labels that no image has both of, the least likely first; (N, C) ``labels`` were counted.

    Pairs that exclude each other by nature are left out.
    """
    apart = ~exclusive_pairs(labels)
    tested = int(np.triu(apart, 1).sum())
    pairs = np.argwhere(np.triu(apart & (counts.together == 0), 1))
    chance = _log_chance_of_none(counts.known, counts.present, counts.present.T, pairs)
    return _beyond_chance(counts, pairs, chance, tested)


def _log_chance_of_none(known: np.ndarray, some: np.ndarray, others: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Return for each of the pairs (P, 2) the log of the chance that no image is among ``some`` and ``others``."""
    from scipy.special import gammaln

    at = tuple(pairs.T)
    images, left, right = known[at], some[at], others[at]
    kept, all_ways = images - left - right, images
    chance: np.ndarray = (
        gammaln(images - left + 1) + gammaln(images - right + 1) - gammaln(kept + 1) - gammaln(all_ways + 1)
    )
    return chance


def _beyond_chance(counts: PairCounts, pairs: np.ndarray, log_chance: np.ndarray, tested: int) -> list[LabelPair]:
    order = np.argsort(log_chance, kind="stable")
    bounds = math.log(FALSE_SHARE) + np.log(np.arange(1, len(order) + 1) / max(tested, 1))
    below = np.flatnonzero(log_chance[order] <= bounds)
    found = pairs[order[: below[-1] + 1 if len(below) else 0]].tolist()
    return [
        LabelPair(
            first,
            second,
            int(counts.present[first, second]),
            float(counts.present[first, second] * counts.present[second, first] / counts.known[first, second]),
        )
        for first, second in found
    ]


# ---- labels that exclude each other by nature


def exclusive_pairs(labels: np.ndarray) -> np.ndarray:
    """Return (C, C) bool: which pairs are in a group of labels of which every image has exactly one.

    ``labels`` is (N, C); images with unknown labels do not count, and where these are most there are no groups.
    """
    width = labels.shape[1]
    exclusive = np.zeros((width, width), bool)
    whole = labels[(labels >= 0).all(axis=1)]
    if not 2 <= width <= _MOST_LABELS or 2 * len(whole) < max(1, len(labels)):
        return exclusive
    combinations = np.unique(np.packbits(whole == 1, axis=1), axis=0)
    if len(combinations) > _MOST_COMBINATIONS:
        return exclusive
    rows = np.unpackbits(combinations, axis=1, count=width).astype(bool)
    for group in _Covers(rows).groups:
        exclusive[np.ix_(group, group)] = True
    np.fill_diagonal(exclusive, False)
    return exclusive


class _Covers:
    """Finds the groups of columns of which every row has exactly one: exact covers, by Knuth's algorithm X."""

    def __init__(self, rows: np.ndarray):
        self.groups: list[list[int]] = []
        self._columns_of = [np.flatnonzero(row).tolist() for row in rows]
        self._rows_with = [frozenset(np.flatnonzero(column).tolist()) for column in rows.T]
        self._steps = 0
        self._search(frozenset(range(len(rows))), [])

    def _search(self, uncovered: frozenset[int], chosen: list[int]) -> None:
        self._steps += 1
        if self._steps > _MOST_STEPS:
            return
        if not uncovered:
            self.groups.append(chosen)
            return
        fewest: list[int] | None = None
        for row in uncovered:
            # A column that also has a row which is covered would give that row a second one.
            candidates = [column for column in self._columns_of[row] if self._rows_with[column] <= uncovered]
            if fewest is None or len(candidates) < len(fewest):
                fewest = candidates
            if not fewest:
                return
        for column in fewest or ():
            self._search(uncovered - self._rows_with[column], [*chosen, column])
