"""Which images an epoch visits and in what order, how workers share them, and the random numbers each one gets.

Every number comes from a hash of (seed, epoch, position, column), so that it depends on nothing else: not on threads,
batches, workers, or what was drawn before.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mxml.errors import SettingError

# SplitMix64: Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)

_ORDER_COLUMN = 0xFFFF


def mix(values: np.ndarray) -> np.ndarray:
    """Return SplitMix64's output function of uint64 ``values``."""
    values = (values ^ (values >> np.uint64(30))) * _FIRST
    values = (values ^ (values >> np.uint64(27))) * _SECOND
    return values ^ (values >> np.uint64(31))


def _hashes(seed: int, epochs: int | np.ndarray, positions: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Return (N, K) uint64, one hash for every position, with its epoch, and column."""
    key = mix(np.atleast_1d(np.uint64(seed % (1 << 64))) + GOLDEN)
    key = mix(key + np.atleast_1d(epochs).astype(np.uint64) + GOLDEN)
    rows = mix(key + (positions.astype(np.uint64) + np.uint64(1)) * GOLDEN)
    return mix(rows[:, None] + (columns.astype(np.uint64) + np.uint64(1)) * GOLDEN)


def uniforms(seed: int, epochs: int | np.ndarray, positions: np.ndarray, columns: int, first: int = 0) -> np.ndarray:
    """Return (N, ``columns``) float64 in [0, 1), one row for each of the (N,) ``positions`` in the list.

    ``epochs`` is one epoch, or (N,) with one for each position. The columns are counted from ``first``.
    """
    return (_hashes(seed, epochs, positions, np.arange(first, first + columns)) >> np.uint64(11)) * 2.0**-53


def epoch_order(count: int, seed: int, epoch: int, shuffle: bool) -> np.ndarray:
    """Return (count,) int64: the positions in the order in which ``epoch`` visits them."""
    positions = np.arange(count)
    if not shuffle:
        return positions
    return np.argsort(_hashes(seed, epoch, positions, np.array([_ORDER_COLUMN]))[:, 0], kind="stable")


def shard_bounds(count: int, part_index: int, num_parts: int) -> tuple[int, int]:
    """Return the half-open range of an epoch's order that belongs to one worker; sizes differ by at most one."""
    return part_index * count // num_parts, (part_index + 1) * count // num_parts


def _divided_up(count: int, by: int) -> int:
    return -(-count // by)


class BatchRows(NamedTuple):
    """What one batch holds: each row's ``positions`` in the list, (batch_size,) int64, and the ``epochs`` it is from.

    The rows from ``distinct`` on repeat those before, in their order. The last ``pad`` rows only fill the batch up.
    ``pairs`` are rows that are mixed with each other; after the batch's own rows come those that only these name.
    """

    positions: np.ndarray
    epochs: np.ndarray
    distinct: int
    pad: int
    pairs: tuple[tuple[int, int], ...] = ()


class Sampler:
    """Says what each batch of each epoch holds; a pure function of its settings, the epoch and the batch's number.

    ``last_batch`` says what becomes of an epoch's last images where they do not fill a batch: ``pad`` fills it with
    images of the epoch's beginning, ``discard`` leaves them out, ``roll_over`` gives them to the next epoch. Of
    ``num_parts`` workers, each visits its share of the epoch's common order, and all have as many batches: with
    ``pad`` as the longest share needs, else as the shortest one fills.
    """

    def __init__(
        self,
        count: int,
        batch_size: int,
        *,
        shuffle: bool,
        seed: int,
        part_index: int = 0,
        num_parts: int = 1,
        last_batch: str = "pad",
    ):
        if batch_size < 1:
            raise SettingError("batch_size", batch_size, "at least 1")
        _require_part(part_index, num_parts)
        self._count = count
        self._batch_size = batch_size
        self._shuffle = shuffle
        self._seed = seed
        self._part = (part_index, num_parts)
        self._last_batch = last_batch
        self._orders: dict[int, np.ndarray] = {}

    def num_batches(self, epoch: int) -> int:
        """Return how many batches every worker's ``epoch`` has; they differ by one at most, with ``roll_over``."""
        _, num_parts = self._part
        if self._last_batch == "pad":
            return _divided_up(_divided_up(self._count, num_parts), self._batch_size)
        if self._last_batch == "discard":
            return self._count // num_parts // self._batch_size
        return self._rolled(epoch + 1) - self._rolled(epoch)

    def batch(self, epoch: int, number: int) -> BatchRows:
        """Return what batch ``number``, counted from 0, of ``epoch`` holds."""
        size = self._batch_size
        if self._last_batch == "roll_over":
            # The epochs' orders, one after the other, are cut into batches; each belongs to the epoch in which it ends.
            share = self._count // self._part[1]
            first = (self._rolled(epoch) + number) * size
            epochs, places = np.divmod(np.arange(first, first + size), share)
            positions = np.empty(size, np.int64)
            for one in np.unique(epochs):
                rows = epochs == one
                positions[rows] = self._share(int(one))[places[rows]]
            return BatchRows(positions, epochs, size, 0)
        own = self._share(epoch)
        # A list shorter than the number of workers leaves some without images; they pad with the first.
        visited = own if len(own) else self._order(epoch)[:1]
        first = number * size
        return BatchRows(
            visited[np.arange(first, first + size) % len(visited)],
            np.full(size, epoch),
            min(size, len(visited)),
            size - min(size, max(0, len(own) - first)),
        )

    def common(self, epoch: int, number: int) -> tuple[BatchRows, int]:
        """Return the batch of all who share one, and which of its rows is this worker's first."""
        return self.batch(epoch, number), 0

    def draws(self, rows: BatchRows, columns: int, first: int = 0) -> np.ndarray:
        """Return every row's random numbers from column ``first`` on, (N, ``columns``) in [0, 1)."""
        return uniforms(self._seed, rows.epochs, rows.positions, columns, first)

    def _rolled(self, epoch: int) -> int:
        """Return how many batches are full before ``epoch`` begins."""
        return epoch * (self._count // self._part[1]) // self._batch_size

    def _share(self, epoch: int) -> np.ndarray:
        return self._order(epoch)[slice(*shard_bounds(self._count, *self._part))]

    def _order(self, epoch: int) -> np.ndarray:
        if epoch not in self._orders:
            while len(self._orders) > 1:  # a batch holds images of two epochs at most
                del self._orders[min(self._orders)]
            self._orders[epoch] = epoch_order(self._count, self._seed, epoch, self._shuffle)
        return self._orders[epoch]


class RowsSampler(Sampler):
    """Says what one worker's rows of every batch hold: together the workers' rows are the batch of one process.

    A batch has ``batch_size`` rows for each of the ``num_parts`` workers, ``part_index`` says which of them are its
    own.
    """

    def __init__(
        self,
        count: int,
        batch_size: int,
        *,
        shuffle: bool,
        seed: int,
        part_index: int = 0,
        num_parts: int = 1,
        last_batch: str = "pad",
    ):
        _require_part(part_index, num_parts)
        super().__init__(count, batch_size * num_parts, shuffle=shuffle, seed=seed, last_batch=last_batch)
        self._rows = slice(part_index * batch_size, (part_index + 1) * batch_size)

    def batch(self, epoch: int, number: int) -> BatchRows:
        """Return what this worker's rows of a batch hold."""
        whole = super().batch(epoch, number)
        size = self._rows.stop - self._rows.start
        after = self._batch_size - self._rows.stop
        return BatchRows(
            whole.positions[self._rows],
            whole.epochs[self._rows],
            # Any run of rows of a batch repeats after as many rows as the whole batch does.
            min(whole.distinct, size),
            min(size, max(0, whole.pad - after)),
        )

    def common(self, epoch: int, number: int) -> tuple[BatchRows, int]:
        """Return the batch of one process, and which of its rows is this worker's first."""
        return super().batch(epoch, number), self._rows.start


def _require_part(part_index: int, num_parts: int) -> None:
    if num_parts < 1:
        raise SettingError("num_parts", num_parts, "at least 1")
    if not 0 <= part_index < num_parts:
        raise SettingError("part_index", part_index, f"from 0 to {num_parts - 1}")
