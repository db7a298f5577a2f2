"""Splitting images so that every part has its share of every label."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mxml.sampling import GOLDEN, mix


def stratified_split(labels: np.ndarray, shares: Sequence[float], seed: int) -> list[np.ndarray]:
    """Split N images into parts by iterative stratification; return the sorted positions of each part.

    ``labels`` is (N, C); an image has a label where it is 1, so unknown (-1) counts as absent. ``shares`` are the
    parts' sizes in proportion. The same arguments give the same parts with every version of Python and NumPy: the
    random order comes from integer arithmetic here.

    The labels are dealt out one by one, the one with the fewest images left first. Each of its images goes to the part
    that still wants most of this label; on a tie, to the one that wants most images; on a further tie, at random.
    Images without a label fill up the parts. Sechidis, Tsoumakas and Vlahavas, "On the Stratification of Multi-Label
    Data", ECML PKDD 2011, algorithm 1.
    """
    weights = np.asarray(shares, np.float64)
    if labels.ndim != 2 or len(weights) == 0 or not (weights >= 0).all() or not weights.sum() > 0:
        raise ValueError("labels must be (N, C), and shares at least 0 and not all of them 0")
    weights = weights / weights.sum()
    noise = _noise(len(labels), seed)
    # The images in random order, each label's column in one piece.
    order = np.argsort(noise, kind="stable")
    has_label = np.ascontiguousarray((labels == 1)[order].T)
    part_of = np.full(len(labels), -1, np.int64)
    wanted_images = weights * len(labels)
    wanted = weights[:, None] * has_label.sum(axis=1)
    left = has_label.sum(axis=1)
    while left.any():
        label = int(np.argmin(np.where(left > 0, left, len(labels) + 1)))
        chosen = np.flatnonzero(has_label[label] & (part_of < 0))
        parts = _deal(len(chosen), wanted[:, label].tolist(), wanted_images.tolist(), noise[order[chosen]])
        part_of[chosen] = parts
        for part in range(len(weights)):
            taken = chosen[parts == part]
            wanted[part] -= has_label[:, taken].sum(axis=1)
            wanted_images[part] -= len(taken)
        left -= has_label[:, chosen].sum(axis=1)
    chosen = np.flatnonzero(part_of < 0)
    part_of[chosen] = _deal(len(chosen), wanted_images.tolist(), wanted_images.tolist(), noise[order[chosen]])
    return [np.sort(order[part_of == part]) for part in range(len(weights))]


def _deal(count: int, wanted: list[float], wanted_images: list[float], noise: np.ndarray) -> np.ndarray:
    """Choose a part for each of ``count`` images, always the one that wants most; return (count,) int64."""
    wants = [list(pair) for pair in zip(wanted, wanted_images)]
    parts = np.empty(count, np.int64)
    for position in range(count):
        most = max(wants)
        best = wants.index(most)
        if wants.count(most) > 1:
            tied = [part for part, want in enumerate(wants) if want == most]
            best = tied[int(noise[position]) % len(tied)]
        wants[best][0] -= 1
        wants[best][1] -= 1
        parts[position] = best
    return parts


def _noise(count: int, seed: int) -> np.ndarray:
    """Return (count,) uint64: the first numbers that SplitMix64 draws from ``seed``."""
    return mix(np.uint64(seed % 2**64) + np.arange(1, count + 1, dtype=np.uint64) * GOLDEN)
