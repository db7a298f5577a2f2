"""How far a number may be off because the list has these images and not others: the percentile bootstrap.

Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13: images are drawn from the list with
replacement, as many as it has, and the numbers computed from these; the middle 95 % of many such values are the
interval. It says how much a number depends on which images are in the list, and nothing about another run of the
training, another kind of images or wrong labels. Of few images, and of a label that few have, it is too narrow.

The draws are always the same. So they serve for both of two numbers that are compared, and what is hard for both drops
out (chapter 16).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np

from mxml.progress import SILENT, Progress

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
class Difference:
    """A difference of two numbers with its 95 % interval; ``is_noise`` says that the interval holds 0."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, value: float, resampled: np.ndarray) -> Difference:
        """Return a difference with the interval of its resamples."""
        return cls(float(value), *(percentile_interval(resampled) or (np.nan, np.nan)))

    @property
    def is_noise(self) -> bool:
        """Whether other images might well show no difference, or one the other way round."""
        return not (self.low > 0 or self.high < 0)

    def interval(self) -> dict[str, float | None]:
        """Return ``value``, ``low`` and ``high``, None where one is undefined."""
        return {name: None if np.isnan(value) else value for name, value in asdict(self).items()}

    def to_dict(self) -> dict[str, float | bool | None]:
        """Return the same with ``is_noise``."""
        return {**self.interval(), "is_noise": self.is_noise}


def resample_count(images: int, labels: int) -> int:
    """Return how many resamples are drawn: 1,000, and for many images and labels fewer, down to 200."""
    return min(_MOST_RESAMPLES, max(_FEWEST_RESAMPLES, _CELLS // (images * labels)))


def resamples(count: int, number: int, progress: Progress = SILENT, what: str = "") -> Iterator[np.ndarray]:
    """Yield blocks (N, B) of how often each of ``count`` images is drawn, until there are ``number`` resamples.

    ``progress`` is told ``what`` it waits for, and of as large a share of the images as of the resamples is done.
    """
    random = np.random.default_rng(SEED)
    size = max(8, _BLOCK_WEIGHTS // count)
    progress.start(count, what)
    for start in range(0, number, size):
        end = min(start + size, number)
        block = np.empty((end - start, count), np.float32 if count < _EXACT else np.float64)
        for row in block:
            row[:] = np.bincount(random.integers(count, size=count), minlength=count)
        yield np.ascontiguousarray(block.T)
        progress.advance(count * end // number - count * start // number)


def percentile_interval(values: np.ndarray) -> Interval | None:
    """Return the ends of the interval of resampled values (B,), of which NaN do not count; None without a value."""
    defined = values[~np.isnan(values)]
    if not len(defined):
        return None
    low, high = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]).tolist()
    return low, high
