"""Images that are the same picture: copies of a file, and pictures whose hashes and colours nearly agree.

Hashes are not compared each with each. As in multi-index hashing (Norouzi, Punjani and Fleet, "Fast search in Hamming
space with multi-index hashing", CVPR 2012), they are cut into bands, and those that agree in a whole band are compared:
of two hashes that differ in fewer bits than there are bands, one band has to agree. Bits of low frequencies change
least, so further keys are drawn from them; they find most of what differs in more bits.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mxml.images.perceptual_hash import BITS, GRID_CELLS
from mxml.prepare.image_scan import ImageScan
from mxml.progress import SILENT, Progress

__all__ = ["NEAR", "NEAR_CHROMA", "NEAR_LUMA", "SURELY_FOUND", "Duplicates", "find_duplicates"]

NEAR = 46
"""Most bits in which the hashes of near duplicates differ.

Measured on miml-scene (benchmarks/duplicate_copies.py): 99 of 100 copies with 2 % of every side cropped are within it,
and none of the 1.3 million pairs of different photographs, of which the nearest show one sunset at two moments (49
bits) and one place twice (52).
"""

NEAR_LUMA, NEAR_CHROMA = 40, 20
"""Most by which Y, and Cb and Cr, of a cell of near duplicates' colour grids differ.

Measured on miml-scene (benchmarks/duplicate_copies.py): copies 15 % brighter or darker differ by at most 39 and 16
(15 % of white are 38, of the fullest colour 17), and pictures that it holds twice by 14 and 7. Of photographs whose hue
is turned by 120 degrees 95 of 100 differ by more.
"""

SURELY_FOUND = 15
"""Bits up to which every near duplicate is found; of those that differ in more, nearly all."""

_LOW_BITS = 64  # from which further keys are drawn
_DRAWS = 4
_KEYS = (BITS + _DRAWS * _LOW_BITS) // 16
_COMPARE_ALL = 4096  # hashes; so few are quickly compared each with each
_LARGE = 256  # hashes with one key, of which not all are compared with one another
_PIVOTS = 32
_NEIGHBOURS = 32
_CHUNK = 1 << 15  # comparisons at a time: their memory stays in the processor's cache
_MOST_LINKS = 1 << 22

_NEAR_COLOUR = np.repeat(np.array([NEAR_LUMA, NEAR_CHROMA, NEAR_CHROMA], np.uint8), GRID_CELLS)

_PAIRS, _FOURS, _BYTES, _SUM = (
    np.uint64(mask) for mask in (0x5555555555555555, 0x3333333333333333, 0x0F0F0F0F0F0F0F0F, 0x0101010101010101)
)


@dataclass(frozen=True, eq=False)
class Duplicates:
    """Pairs of images that show the same picture; each group is tied together, not each image to each.

    ``pairs`` (P, 2) int64 holds positions, the first before the second, in order. ``distance`` (P,) int64 is in how
    many of 256 bits their hashes differ, -1 where the files' bytes are the same. A group of k images has k - 1 pairs,
    the closest of those that were found.
    """

    pairs: np.ndarray
    distance: np.ndarray

    def groups(self) -> tuple[np.ndarray, ...]:
        """Return the positions of the images of each group, in order, the groups by their first."""
        positions, nodes = np.unique(self.pairs, return_inverse=True)
        numbers = _components(len(positions), nodes.reshape(-1, 2))
        order = np.argsort(numbers, kind="stable")
        ends = np.flatnonzero(np.diff(numbers[order])) + 1
        groups = np.split(positions[order], ends) if len(order) else []
        return tuple(sorted(groups, key=lambda group: int(group[0])))

    def group_numbers(self, count: int) -> np.ndarray:
        """Return (count,) int64 that is the same for the images of a group and different for all others."""
        return _components(count, self.pairs)


def find_duplicates(scan: ImageScan, progress: Progress = SILENT) -> Duplicates:
    """Find the readable images that are the same picture: equal files, and near hashes with near colours.

    Hashes are near that are at most NEAR bits apart; colours, where no cell differs by more than NEAR_LUMA and
    NEAR_CHROMA. Of images with near colours whose hashes differ in up to SURELY_FOUND bits, or that such steps join,
    all are surely in one group; of those that differ in more, up to NEAR, nearly all are, and all among up to 4,096
    different images. Where more than 256 hashes agree in one key, not all of them are compared, so that a bulk of like
    pictures takes no quadratic time; a tight cluster in few colours is found whole all the same. Pictures with a void
    hash, such as one colour or a gradient, have no duplicates but equal files.
    """
    positions = np.flatnonzero(scan.readable)
    copies, firsts = _tie_equal(scan.digest[positions], positions)
    firsts = firsts[scan.phash[firsts].any(axis=1)]
    alike, firsts = _tie_equal(np.concatenate([scan.phash[firsts], scan.colour[firsts]], axis=1), firsts)
    links, distance = _near(np.ascontiguousarray(scan.phash[firsts]), scan.colour[firsts], progress)
    pairs = np.concatenate([copies, alike, firsts[links]])
    distances = np.concatenate([np.full(len(copies), -1), np.zeros(len(alike), np.int64), distance])
    pairs.sort(axis=1)
    order = np.lexsort((pairs[:, 1], pairs[:, 0]))
    return Duplicates(pairs[order], distances[order])


def _tie_equal(values: np.ndarray, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return pairs that tie the positions with equal rows of ``values`` into chains, and the first of each."""
    _, group = np.unique(np.ascontiguousarray(values).view(f"V{values.shape[1]}").ravel(), return_inverse=True)
    order = np.argsort(group, kind="stable")
    same = group[order[1:]] == group[order[:-1]]
    sorted_positions = positions[order]
    pairs = np.stack([sorted_positions[:-1][same], sorted_positions[1:][same]], axis=1)
    return pairs, np.sort(sorted_positions[np.concatenate([[True], ~same])[: len(order)]])


def _components(count: int, pairs: np.ndarray) -> np.ndarray:
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    graph = coo_matrix((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    return connected_components(graph, directed=False)[1].astype(np.int64)


# ---- hashes that nearly agree


def _near(hashes: np.ndarray, colours: np.ndarray, progress: Progress) -> tuple[np.ndarray, np.ndarray]:
    """Return (P, 2) rows with near ``hashes``, (N, 32) uint8, and ``colours``, (N, 48) uint8, and the bits between.

    Of the pairs that were found, those that tie each group at the least distances.
    """
    links = _Links(colours)
    words = np.ascontiguousarray(hashes.view(np.uint64).T)
    if len(hashes) <= _COMPARE_ALL:
        _compare_neighbours(words, np.full(len(hashes), len(hashes)), links, np.arange(len(hashes)))
        return links.shortest()
    # With every key all of them are compared: so large a part of the work is done.
    steps = np.diff(np.linspace(0, len(hashes), _KEYS + 1).astype(int)).tolist()
    progress.start(len(hashes), "comparing images")
    for number, keys in enumerate(_keys(hashes)):
        order = np.argsort(keys, kind="stable")  # of 16-bit keys a radix sort
        sorted_words = words.take(order, axis=1)
        starts = np.flatnonzero(np.diff(keys[order], prepend=-1))
        sizes = np.diff(starts, append=len(order))
        large = sizes > _LARGE
        ends = np.repeat(np.where(large, 0, starts + sizes), sizes)
        _compare_neighbours(sorted_words, ends, links, order)
        for start, size in zip(starts[large].tolist(), sizes[large].tolist()):
            rows = order[start : start + size]
            _compare_many(words.take(rows, axis=1), number, links, rows)
        progress.advance(steps[number])
    return links.shortest()


def _keys(hashes: np.ndarray) -> Iterator[np.ndarray]:
    """Yield (N,) keys of 16 bits: the bands of the whole hash, then draws from its low frequencies."""
    yield from hashes.view(np.uint16).T
    bits = np.unpackbits(hashes[:, : _LOW_BITS // 8], axis=1)
    chance = np.random.RandomState(0)  # its numbers are the same for ever
    for _ in range(_DRAWS):
        drawn = np.packbits(bits[:, chance.permutation(_LOW_BITS)], axis=1)
        yield from np.ascontiguousarray(drawn).view(np.uint16).T


def _compare_neighbours(
    words: np.ndarray, ends: np.ndarray, links: _Links, rows: np.ndarray, most: int | None = None
) -> None:
    """Compare each hash with those behind it, before its end and, with ``most``, so many at most."""
    active = np.arange(len(ends))
    step = 0
    while step != most:
        step += 1
        active = active[ends[active] > active + step]
        if not len(active):
            break
        for start in range(0, len(active), _CHUNK):
            first = active[start : start + _CHUNK]
            links.add(words, first, first + step, rows)


def _compare_many(words: np.ndarray, number: int, links: _Links, rows: np.ndarray) -> None:
    """Compare hashes that are too many for each with each.

    Some are compared with all, others with every key: of a tight cluster in one colour the first finds nearly all
    others, so the next is taken from those that none has found. Then all are compared with their neighbours in sorted
    order (Hernandez and Stolfo, "The merge/purge problem for large databases", SIGMOD 1995), sorted by other bits with
    every key, and equal hashes by their colours.
    """
    chance = np.random.RandomState(number)
    everything = np.arange(len(rows))
    lonely = np.ones(len(rows), bool)
    for _ in range(_PIVOTS):
        left = np.flatnonzero(lonely)
        if not len(left):
            break
        pivot = int(left[chance.randint(len(left))])
        lonely[pivot] = False
        for start in range(0, len(rows), _CHUNK):
            others = everything[start : start + _CHUNK]
            lonely[links.add(words, np.full(len(others), pivot), others, rows)] = False
    colour_words = links.colours[rows].view(np.uint64).T
    order = np.lexsort((colour_words[number % len(colour_words)], words[number % len(words)]))
    ends = np.full(len(rows), len(rows))
    _compare_neighbours(words.take(order, axis=1), ends, links, rows[order], _NEIGHBOURS)


class _Links:
    """Pairs with near hashes and colours, and the hashes' distances.

    Of very many only those are kept that tie groups, and from then on only what ties one group to another.
    """

    def __init__(self, colours: np.ndarray):
        self._count = len(colours)
        self.colours = colours
        self._groups = np.arange(len(colours))
        self._held: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self._size = 0

    def add(self, words: np.ndarray, first: np.ndarray, second: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Compare hashes, (4, N) uint64, at two places each; keep the pairs that are near, in colour too.

        ``rows`` says which hash is at a place. Returns the second places of these pairs, and of near hashes that were
        tied before.
        """
        # Half of the bits tells nearly all that are not near.
        half = _differing(words[:2].take(first, axis=1) ^ words[:2].take(second, axis=1))
        maybe = np.flatnonzero(half <= NEAR)
        if not len(maybe):
            return maybe
        first, second = first[maybe], second[maybe]
        distance = half[maybe] + _differing(words[2:].take(first, axis=1) ^ words[2:].take(second, axis=1))
        near = np.flatnonzero(distance <= NEAR)
        if not len(near):
            return near
        second, distance = second[near], distance[near].astype(np.int64)
        one, other = rows[first[near]], rows[second]
        tied = self._groups[one] == self._groups[other]
        new = np.flatnonzero(~tied)
        new = new[self._near_colours(one[new], other[new])]
        self._hold(one[new], other[new], distance[new])
        tied[new] = True
        return second[tied]

    def _near_colours(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        one, other = self.colours.take(first, axis=0), self.colours.take(second, axis=0)
        return (np.maximum(one, other) - np.minimum(one, other) <= _NEAR_COLOUR).all(axis=1)

    def _hold(self, first: np.ndarray, second: np.ndarray, distance: np.ndarray) -> None:
        self._held.append((first, second, distance))
        self._size += len(first)
        if self._size > _MOST_LINKS:
            pairs, distances = self.shortest()
            self._held, self._size = [(pairs[:, 0], pairs[:, 1], distances)], 0
            self._groups = _components(self._count, pairs)

    def shortest(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the pairs, (P, 2) int64, that tie each group at the least distances, and these."""
        from scipy.sparse import coo_matrix
        from scipy.sparse.csgraph import minimum_spanning_tree

        if not self._held:
            return np.zeros((0, 2), np.int64), np.zeros(0, np.int64)
        first, second, distance = (np.concatenate(column) for column in zip(*self._held))
        # One pair found by two keys must count once: a sparse matrix would add its distances.
        low, high = np.minimum(first, second), np.maximum(first, second)
        _, once = np.unique(low * self._count + high, return_index=True)
        # A distance of 0 must count too: a tree has no such edges.
        graph = coo_matrix((distance[once] + 1, (low[once], high[once])), shape=(self._count, self._count))
        tree = minimum_spanning_tree(graph.tocsr()).tocoo()
        return np.stack([tree.row, tree.col], axis=1).astype(np.int64), tree.data.astype(np.int64) - 1


def _differing(words: np.ndarray) -> np.ndarray:
    """Count the bits of (2, N) uint64, both rows together: (N,). NumPy has no function for it before 2.0."""
    words -= words >> np.uint64(1) & _PAIRS
    words = (words & _FOURS) + (words >> np.uint64(2) & _FOURS)
    nibbles = words[0] + words[1]
    return ((nibbles & _BYTES) + (nibbles >> np.uint64(4) & _BYTES)) * _SUM >> np.uint64(56)
