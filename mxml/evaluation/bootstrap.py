"""How far a number may be off because the list has these images and not others: the bootstrap over images.

Images are drawn with replacement, as many as there are, and the number is computed again. The same draws serve for both
of two numbers that are compared, so that what is hard for both drops out (Efron and Tibshirani, An Introduction to the
Bootstrap, 1993, chapters 13 and 16).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np

RESAMPLES = 1000
_SEED = 0
# What one block of resamples may hold.
_BLOCK_NUMBERS = 4_000_000


@dataclass(frozen=True)
class Difference:
    """A difference of two numbers with its 95 % interval; ``is_noise`` says that the interval holds 0."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, value: float, resampled: np.ndarray) -> Difference:
        """Return a difference with the percentile interval of its resamples; those that are undefined are left out."""
        defined = resampled[~np.isnan(resampled)]
        low, high = np.percentile(defined, [2.5, 97.5]).tolist() if len(defined) else (np.nan, np.nan)
        return cls(float(value), low, high)

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


def resamples(count: int, columns: int = 1, resampled: int = RESAMPLES) -> Iterator[np.ndarray]:
    """Yield blocks (B, count) of how often each of ``count`` images is drawn, always the same; ``resampled`` in all.

    ``columns`` says how many numbers per image and resample the caller holds.
    """
    generator = np.random.default_rng(_SEED)
    block = max(1, _BLOCK_NUMBERS // max(count * columns, 1))
    for start in range(0, resampled, block):
        size = min(block, resampled - start)
        # float32 counts exactly up to 2**24 images.
        kind = np.float32 if count < 1 << 24 else np.float64
        yield np.stack(
            [np.bincount(generator.integers(0, count, count), minlength=count).astype(kind) for _ in range(size)]
        )
