"""MixUp and CutMix: rows of a batch mixed with each other, and their labels with them.

Rows are mixed in pairs, and both rows of a pair change. Who is paired with whom, and how much they are mixed, comes
from the random numbers of the rows' own positions; so a batch is a pure function of what is in it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from mxml.errors import SettingError

SMALLEST_ALPHA, LARGEST_ALPHA = 0.01, 100.0

COLUMNS = 5  # the random numbers, uniform in [0, 1), that one row needs
_PARTNER, _KIND, _SHARE, _X, _Y = range(COLUMNS)


@dataclass(frozen=True)
class Mixing:
    """How the rows of training batches are mixed in pairs; ``Mixing()`` mixes none.

    A row that keeps a share s of itself gets the label s * own + (1 - s) * partner's. Where both are asked for, each
    pair gets one of them, with probability 1/2.

    A label that is unknown in one of the two images is unknown in the mixture, since its value there could be anything
    up to that image's share. Rows without any known label, such as those that fill a batch up or whose image cannot be
    read, are left as they are and mixed into no other. With an odd number of rows one stays as it is, and so does the
    partner of an image that cannot be read.

    Parameters
    ----------
    mixup : float
        Alpha of MixUp (Zhang et al., 2018), 0 for none: images are averaged, with s from Beta(alpha, alpha).
    cutmix : float
        Alpha of CutMix (Yun et al., 2019), 0 for none: a rectangle comes from the partner, of a share 1 - s of the
        area, with s from Beta(alpha, alpha). Its middle is in the image; s is then what is left of the image.

    Raises
    ------
    SettingError
        For an alpha that is neither 0 nor from 0.01 to 100.
    """

    mixup: float = 0.0
    cutmix: float = 0.0

    def __post_init__(self) -> None:
        for name in ("mixup", "cutmix"):
            wanted = alpha_fault(getattr(self, name))
            if wanted:
                raise SettingError(name, getattr(self, name), wanted)

    def __bool__(self) -> bool:
        return bool(self.mixup or self.cutmix)


def alpha_fault(value: float) -> str:
    """Say what an alpha should be; an empty text if it is good."""
    good = value == 0 or SMALLEST_ALPHA <= value <= LARGEST_ALPHA
    return "" if good else f"0, or {SMALLEST_ALPHA:g} to {LARGEST_ALPHA:g}"


def drawn_pairs(known: np.ndarray, draws: np.ndarray) -> list[tuple[int, int]]:
    """Return which rows of a batch are mixed with each other, of those that are ``known``, (N,) of bool.

    ``draws`` is (N, COLUMNS), uniform in [0, 1).
    """
    rows = np.flatnonzero(known)
    paired = rows[np.argsort(draws[rows, _PARTNER], kind="stable")].tolist()
    return list(zip(paired[0::2], paired[1::2]))


def mix_pairs(
    mixing: Mixing, data: np.ndarray, labels: np.ndarray, draws: np.ndarray, pairs: Iterable[tuple[int, int]]
) -> None:
    """Mix pairs of rows in place.

    ``data`` is (N, 3, height, width), ``labels`` (N, C), and ``draws`` (N, COLUMNS), uniform in [0, 1).
    """
    for one, other in pairs:
        draw = draws[one]
        cuts = bool(mixing.cutmix) and (not mixing.mixup or draw[_KIND] < 0.5)
        share = beta_share(mixing.cutmix if cuts else mixing.mixup, float(draw[_SHARE]))
        if cuts:
            share = swap_rectangles(data[one], data[other], share, float(draw[_X]), float(draw[_Y]))
        else:
            average(data[one], data[other], share)
        first, second = labels[one].astype(np.float64), labels[other].astype(np.float64)
        labels[one] = mixed_labels(first, second, share)
        labels[other] = mixed_labels(second, first, share)


def beta_share(alpha: float, draw: float) -> float:
    """Return the value of Beta(alpha, alpha) below which it is with probability ``draw``."""
    from scipy.special import betaincinv

    return float(betaincinv(alpha, alpha, draw))


def average(one: np.ndarray, other: np.ndarray, share: float) -> None:
    """Let each of two rows keep ``share`` of itself, the rest from the other."""
    moved = (other - one) * np.float32(1 - share)
    one += moved
    other -= moved


def swap_rectangles(one: np.ndarray, other: np.ndarray, share: float, x: float, y: float) -> float:
    """Swap a rectangle of two rows, a share of 1 - ``share`` where all of it is inside; return what each one keeps."""
    height, width = one.shape[1:]
    place, area = [], 1
    for side, draw in ((height, y), (width, x)):
        length = int(side * math.sqrt(1 - share))
        first = int(side * draw) - length // 2
        part = slice(max(0, first), min(side, first + length))
        place.append(part)
        area *= part.stop - part.start
    rows, columns = place
    kept = one[:, rows, columns].copy()
    one[:, rows, columns] = other[:, rows, columns]
    other[:, rows, columns] = kept
    return 1 - area / (height * width)


def mixed_labels(own: np.ndarray, partners: np.ndarray, share: float) -> np.ndarray:
    """Return the labels of an image that keeps ``share`` of itself; -1 where one that counts is unknown."""
    unknown = ((own < 0) & (share > 0)) | ((partners < 0) & (share < 1))
    return np.where(unknown, -1, share * own + (1 - share) * partners)
