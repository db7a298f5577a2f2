"""One of several parts of the images, for machines that share the work."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass

from mxml.errors import SettingError

MOST_PARTS = 1_000_000

_PART = re.compile(r"([0-9]{1,9})/([0-9]{1,9})")


@dataclass(frozen=True)
class Part:
    """The ``number``-th of ``count`` parts of all images, counted from 1.

    A path's hash decides in which part it is, not its place among the others: the parts of one command are a partition
    also where a machine sees a folder to which images have just been added, and an image stays in its part when the
    command is given again. The parts are about equally large: of 10,000 images in 16 parts each has 625, give or take
    50.

    Parameters
    ----------
    number : int
        From 1 to ``count``.
    count : int
        How many parts there are, up to a million.

    Raises
    ------
    SettingError
        If there is no such part.
    """

    number: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count <= MOST_PARTS:
            raise _no_part(str(self))

    @classmethod
    def parse(cls, text: str) -> Part:
        """Return the part that a text such as ``3/16`` names.

        Parameters
        ----------
        text : str
            The part's number and how many there are.

        Returns
        -------
        Part

        Raises
        ------
        SettingError
            If the text is not like that, or there is no such part.
        """
        match = _PART.fullmatch(text)
        if match is None:
            raise _no_part(text)
        return cls(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def holds(self, path: str) -> bool:
        """Say whether the image of this path is in the part.

        Parameters
        ----------
        path : str
            As a prediction has it. Another spelling of it, such as ``./a.jpg`` for ``a.jpg``, may be in another part.

        Returns
        -------
        bool
        """
        digest = hashlib.sha256(os.fsencode(path)).digest()
        return int.from_bytes(digest[:8], "big") % self.count == self.number - 1


def _no_part(text: str) -> SettingError:
    return SettingError("part", text, f"K/N, part K of N, such as 3/16; N up to {MOST_PARTS:,}")
