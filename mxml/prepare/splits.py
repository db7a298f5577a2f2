"""Splitting images so that every part has its share of every label."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from mxml.data.sampling import GOLDEN, mix

# How many kinds _even_out swaps among, and how often: they bound its time, to about a second for three parts.
_KINDS, _SWAPS = 256, 1000


def stratified_split(
    labels: np.ndarray,
    shares: Sequence[float],
    seed: int,
    groups: np.ndarray | None = None,
    kept: np.ndarray | None = None,
) -> list[np.ndarray]:
    """Split N images into parts by iterative stratification; return the sorted (n,) int64 positions of each part.

    ``labels`` is (N, C); an image has a label where it is 1, so unknown (-1) counts as absent. ``shares`` are the
    P parts' sizes in proportion. ``groups`` is (N,) int64: images with the same number stay in one part. ``kept`` is
    (N,) int64: the part, from 0, that an image is in already and never leaves, or -1. The others are given to what
    the parts then still want, and so make up for what is uneven. A group with kept images follows most of them, on a
    tie to the first part; where they were in several parts, they stay so.

    The same arguments give the same parts with every version of Python and NumPy: the random order comes from integer
    arithmetic here, and what decides is summed in a fixed order. Other images or shares give other parts, unless
    ``kept`` holds what there was before.

    The labels are handled one by one, the one with the fewest images left first. Each of its images goes to the part
    that still wants most of this label; on a tie, to the one that wants most images; on a further tie, at random.
    Sechidis, Tsoumakas and Vlahavas, "On the Stratification of Multi-Label Data", ECML PKDD 2011, algorithm 1. In three
    things this goes beyond the paper. Having no label is handled as a label. Groups of several images are placed
    before the single images, those that hold most of the set first, each so that chi-squared of what is wanted becomes
    least. And at the end images and groups change parts while that lessens chi-squared, in which the parts' sizes then
    count as much as all labels together.

    Raises ValueError for arrays of another shape, shares that are negative, not finite or all 0, ``groups`` or ``kept``
    that are not whole numbers, and parts that there are not.
    """
    weights = np.asarray(shares, np.float64)
    if labels.ndim != 2 or len(weights) == 0 or not (weights >= 0).all() or not 0 < weights.sum() < np.inf:
        raise ValueError("labels must be (N, C), and shares at least 0, finite and not all of them 0")
    _check_numbers("groups", groups, len(labels))
    _check_numbers("kept", kept, len(labels))
    if kept is not None and not ((kept >= -1) & (kept < len(weights))).all():
        raise ValueError(f"kept must be -1 or a part, 0 to {len(weights) - 1}")
    weights = weights / weights.sum()

    # "No label" is wanted as a label is, and so is, in the last column, what every image has: the parts' sizes.
    holds = np.ones((len(labels), labels.shape[1] + 2), bool)
    np.equal(labels, 1, out=holds[:, :-2])
    np.logical_not(holds[:, :-2].any(axis=1), out=holds[:, -2])
    totals = holds.sum(axis=0)
    wanted = weights[:, None] * totals
    part_of = np.full(len(labels), -1, np.int64)
    if kept is not None:
        part_of = _with_their_groups(kept, groups, len(weights))
        for part in range(len(weights)):
            wanted[part] -= holds[part_of == part].sum(axis=0)

    free = np.flatnonzero(part_of < 0)
    noise = _noise(len(labels), seed)[free]
    if groups is not None:
        # A group has the random number of its first image, which no other group has: ordered by it, they lie together.
        _, first, group_of = np.unique(groups[free], return_index=True, return_inverse=True)
        noise = noise[first][group_of.reshape(-1)]
    order = np.argsort(noise, kind="stable")
    free, noise = free[order], noise[order]
    starts = np.flatnonzero(np.diff(noise, prepend=~noise[:1]))
    counts = _counts(holds[free], starts)
    sizes, noise = counts[-1].astype(np.int64), noise[starts]

    dealt = np.full(len(starts), -1, np.int64)
    several = np.flatnonzero(sizes > 1)
    dealt[several] = _deal_groups(counts[:, several], totals, wanted, weights.tolist(), noise[several])
    single = np.flatnonzero(sizes == 1)
    dealt[single] = _deal_images(counts[:, single], wanted, noise[single])
    _even_out(dealt, counts, totals, wanted, weights)
    part_of[free] = np.repeat(dealt, sizes)
    return [np.flatnonzero(part_of == part) for part in range(len(weights))]


def _check_numbers(name: str, numbers: np.ndarray | None, count: int) -> None:
    if numbers is not None and (numbers.shape != (count,) or numbers.dtype.kind not in "iu"):
        raise ValueError(f"{name} must be ({count},) whole numbers, is {numbers.shape} {numbers.dtype}")


def _with_their_groups(kept: np.ndarray, groups: np.ndarray | None, parts: int) -> np.ndarray:
    """Return (N,) int64: ``kept``, and for the other images of a group the part that most of its kept ones are in."""
    part_of = kept.astype(np.int64)
    if groups is None:
        return part_of
    is_kept = kept >= 0
    with_kept, group_of = np.unique(groups[is_kept], return_inverse=True)
    if not len(with_kept):
        return part_of
    votes = np.bincount(group_of.reshape(-1) * parts + part_of[is_kept], minlength=len(with_kept) * parts)
    choices = votes.reshape(-1, parts).argmax(axis=1)
    followers = np.flatnonzero(~is_kept & np.isin(groups, with_kept))
    part_of[followers] = choices[np.searchsorted(with_kept, groups[followers])]
    return part_of


def _counts(holds: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Return (C, G): how many images of each group hold what; the groups begin at ``starts`` in ``holds`` (n, C)."""
    # Each column in one piece, in the smallest type that can count the images of a group.
    columns = np.ascontiguousarray(holds.T).view(np.uint8)
    if len(starts) == len(holds):
        return columns
    largest = int(np.diff(starts, append=len(holds)).max())
    return np.add.reduceat(columns, starts, axis=1, dtype=np.min_scalar_type(largest))


def _deal_groups(
    counts: np.ndarray, totals: np.ndarray, wanted: np.ndarray, shares: list[float], noise: np.ndarray
) -> np.ndarray:
    """Choose a part for each of n groups; return (n,) int64, and take what they hold off ``wanted`` (P, C).

    ``counts`` is (C, n), ``totals`` (C,), ``noise`` (n,). Of the parts that want more of what a group holds than they
    have too much, it goes to the one where it leaves the least chi-squared: the sum, over parts and labels, of the
    squares of what is wanted still, each divided by what was wanted of the whole set.
    """
    squares = np.zeros(counts.shape[1])
    for row, total in zip(counts, totals.tolist()):
        squares += row.astype(np.float64) ** 2 / max(total, 1)
    wants = wanted.tolist()
    parts = np.empty(counts.shape[1], np.int64)
    for group in np.argsort(-squares, kind="stable").tolist():
        column = counts[:, group]
        held = np.flatnonzero(column)
        amounts = list(zip(held.tolist(), column[held].tolist(), (column[held] / totals[held]).tolist()))
        # Python's sum rounds in another way since 3.12, fsum alike everywhere.
        pulls = [math.fsum(weight * want[label] for label, _, weight in amounts) for want in wants]
        square = float(squares[group])
        gains = [(2 * pull - square) / share if pull > 0 else -math.inf for pull, share in zip(pulls, shares)]
        best = _largest(gains, int(noise[group]))
        for label, amount, _ in amounts:
            wants[best][label] -= amount
        parts[group] = best
    wanted[:] = wants
    return parts


def _deal_images(counts: np.ndarray, wanted: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Choose a part for each of n images, label by label; return (n,) int64.

    ``counts`` is (C, n) of 0 and 1, ``wanted`` (P, C), ``noise`` (n,); what is in the last row counts as a label too,
    and decides ties.
    """
    part_of = np.full(counts.shape[1], -1, np.int64)
    left = counts.sum(axis=1, dtype=np.int64)
    while left.any():
        label = int(np.argmin(np.where(left > 0, left, len(part_of) + 1)))
        chosen = np.flatnonzero((counts[label] > 0) & (part_of < 0))
        parts = _deal_label(wanted[:, label], wanted[:, -1], noise[chosen])
        part_of[chosen] = parts
        for part in range(len(wanted)):
            given = counts[:, chosen[parts == part]].sum(axis=1, dtype=np.int64)
            wanted[part] -= given
            left -= given
    return part_of


def _deal_label(wanted: np.ndarray, wanted_images: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Choose a part for each of n images with one label, always the one that wants most; return (n,) int64.

    ``wanted`` and ``wanted_images`` are (P,), ``noise`` is (n,).
    """
    wants = [list(pair) for pair in zip(wanted.tolist(), wanted_images.tolist())]
    parts = np.empty(len(noise), np.int64)
    for position, random in enumerate(noise.tolist()):
        best = _largest(wants, random)
        wants[best][0] -= 1
        wants[best][1] -= 1
        parts[position] = best
    return parts


def _largest(values: list[Any], noise: int) -> int:
    """Return which value is the largest; among equal ones ``noise`` chooses."""
    largest = max(values)
    if values.count(largest) == 1:
        return values.index(largest)
    tied = [position for position, value in enumerate(values) if value == largest]
    return tied[noise % len(tied)]


def _even_out(
    dealt: np.ndarray, counts: np.ndarray, totals: np.ndarray, wanted: np.ndarray, shares: np.ndarray
) -> None:
    """Let items, images or groups, change parts while that lessens chi-squared; ``dealt`` (n,) is changed.

    ``counts`` is (C, n), ``totals`` (C,), ``wanted`` (P, C), ``shares`` (P,). Items that hold the same are of one kind.
    Each time, of all swaps of an item in one part for one in another, or for none, the best one is made, and repeated
    to where chi-squared is least. Only the commonest kinds take part.
    """
    kinds, examples = _common_kinds(counts)
    members = np.argsort(kinds, kind="stable")[np.count_nonzero(kinds < 0) :]
    # The last kind is "none"; n of them are enough for every part to give away one for each item that it can get.
    held = np.zeros((len(counts), len(examples) + 1))
    held[:, :-1] = counts[:, examples]
    stock = np.zeros((len(shares), held.shape[1]), np.int64)
    np.add.at(stock, (dealt[members], kinds[members]), 1)
    stock[:, -1] = len(dealt)

    weights = np.divide(totals[-1], totals, out=np.zeros(len(totals)), where=totals > 0)
    weights[-1] = math.fsum(weights[:-1].tolist())
    per_share = np.divide(1, shares, out=np.zeros(len(shares)), where=shares > 0)
    # Sums over what is held, one after the other: how np.sum and @ round depends on the machine.
    overlap = np.zeros((held.shape[1], held.shape[1]))
    pulls = np.zeros(stock.shape)
    for row, weight, wants in zip(held, weights, (wanted * per_share[:, None]).T):
        overlap += np.multiply.outer(row, row) * weight
        pulls += np.multiply.outer(wants, row) * weight
    distance = overlap.diagonal()[:, None] + overlap.diagonal() - 2 * overlap

    pairs = list(itertools.combinations(np.flatnonzero(shares > 0).tolist(), 2))
    for _ in range(_SWAPS):
        most, swap = 1e-6, None
        for p, q in pairs:
            pull = pulls[q] - pulls[p]
            gain = 2 * (pull[:, None] - pull) - (per_share[p] + per_share[q]) * distance
            gain[stock[p] == 0] = -np.inf
            gain[:, stock[q] == 0] = -np.inf
            best = int(gain.argmax())
            if gain.flat[best] > most:
                most, swap = float(gain.flat[best]), (p, q, *divmod(best, len(gain)))
        if swap is None:
            break
        p, q, given, taken = swap
        # t times together gain t * slope - t ** 2 * cost.
        cost = (per_share[p] + per_share[q]) * distance[given, taken]
        times = max(1, min(int((most + cost) / (2 * cost)), stock[p, given], stock[q, taken]))
        stock[[p, q], given] += [-times, times]
        stock[[p, q], taken] += [times, -times]
        change = times * (overlap[given] - overlap[taken])
        pulls[p] += per_share[p] * change
        pulls[q] -= per_share[q] * change
    dealt[members] = np.repeat(np.tile(np.arange(len(shares)), len(examples)), stock[:, :-1].T.reshape(-1))


def _common_kinds(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (n,) int64, which of the ``_KINDS`` commonest columns of ``counts`` (C, n) each one is, or -1; and one
    position of each of these, the commonest first."""
    keys = np.zeros(counts.shape[1], np.uint64)
    for row, factor in zip(counts, _noise(len(counts), 0)):
        keys += np.multiply(row, factor, dtype=np.uint64)
    _, examples, kinds, sizes = np.unique(keys, return_index=True, return_inverse=True, return_counts=True)
    common = np.argsort(-sizes, kind="stable")[:_KINDS]
    numbers = np.full(len(sizes), -1)
    numbers[common] = np.arange(len(common))
    return numbers[kinds.reshape(-1)], examples[common]


def _noise(count: int, seed: int) -> np.ndarray:
    """Return (count,) uint64: the first numbers that SplitMix64 draws from ``seed``."""
    return mix(np.uint64(seed % 2**64) + np.arange(1, count + 1, dtype=np.uint64) * GOLDEN)
