"""Which images an epoch visits in what order, how workers share them, and the random numbers each one gets.

Every number comes from a hash of (seed, epoch, position, column), so that it depends on nothing else: not on threads,
batches, workers, or what was drawn before.
"""

from __future__ import annotations

import numpy as np

# SplitMix64: Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)

_ORDER_COLUMN = 0xFFFF


def mix(values: np.ndarray) -> np.ndarray:
    """Return SplitMix64's output function of uint64 ``values``."""
    values = (values ^ (values >> np.uint64(30))) * _FIRST
    values = (values ^ (values >> np.uint64(27))) * _SECOND
    return values ^ (values >> np.uint64(31))


def _hashes(seed: int, epoch: int, positions: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Return (N, K) uint64, one hash for every position and column."""
    key = np.zeros(1, np.uint64)
    for part in (seed, epoch):
        key = mix(key + np.uint64(part % (1 << 64)) + GOLDEN)
    rows = mix(key + (positions.astype(np.uint64) + np.uint64(1)) * GOLDEN)
    return mix(rows[:, None] + (columns.astype(np.uint64) + np.uint64(1)) * GOLDEN)


def uniforms(seed: int, epoch: int, positions: np.ndarray, columns: int) -> np.ndarray:
    """Return (N, ``columns``) float64 in [0, 1), one row for each of the (N,) ``positions`` in the list."""
    return (_hashes(seed, epoch, positions, np.arange(columns)) >> np.uint64(11)) * 2.0**-53


def epoch_order(count: int, seed: int, epoch: int, shuffle: bool) -> np.ndarray:
    """Return (count,) int64: the positions in the order in which ``epoch`` visits them."""
    positions = np.arange(count)
    if not shuffle:
        return positions
    return np.argsort(_hashes(seed, epoch, positions, np.array([_ORDER_COLUMN]))[:, 0], kind="stable")


def shard_bounds(count: int, part_index: int, num_parts: int) -> tuple[int, int]:
    """Return the half-open range of an epoch's order that belongs to one worker; sizes differ by at most one."""
    return part_index * count // num_parts, (part_index + 1) * count // num_parts


def num_batches(count: int, batch_size: int, num_parts: int, discard: bool) -> int:
    """Return how many batches every worker's epoch has: those of the longest shard, or the shortest if ``discard``."""
    if discard:
        return count // num_parts // batch_size
    longest = -(-count // num_parts)
    return -(-longest // batch_size)
