"""How images are to be split into subsets."""

from __future__ import annotations

from dataclasses import dataclass

from mxml.errors import SettingError

SUBSETS = ("train", "val", "test")
"""What the subsets of a split are called, in the order of their shares; their lists end in ``.lst``."""


@dataclass(frozen=True)
class Split:
    """How to split images into train, val and, with three ``shares``, test.

    Images that lists have already stay in their subset, unless ``new`` splits all of them again. Images in whose
    names the regular expression ``group_by`` finds the same text stay together; near-duplicate images do as well,
    unless ``ignore_duplicates`` is set. ``seed`` decides which images go where. Raises SettingError for ``shares`` that
    no lists can have.
    """

    shares: tuple[float, ...] = (0.8, 0.2)
    new: bool = False
    group_by: str | None = None
    ignore_duplicates: bool = False
    seed: int = 42

    def __post_init__(self) -> None:
        shares = self.shares
        if not 2 <= len(shares) <= len(SUBSETS) or not all(0 < x < 1 for x in shares) or abs(sum(shares) - 1) > 1e-6:
            wanted = "two or three shares that add up to 1, such as 0.8,0.2 or 0.8,0.1,0.1"
            raise SettingError("shares", tuple(shares), wanted)
