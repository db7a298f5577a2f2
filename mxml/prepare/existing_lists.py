"""The lists of an earlier split: which side each image is on, and what another split would change of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mxml.data.image_list import ImageList, plain_path
from mxml.data.label_names import read_label_names
from mxml.data.lst_file import read_lst
from mxml.errors import ListError
from mxml.text import quoted

PARTS = ("train", "val", "test")
"""What the parts of a split are called, in the order of their shares; their lists end in ``.lst``."""


@dataclass(frozen=True, eq=False)
class ExistingLists:
    """The lists in a folder by their part's name, and the label names beside them, if there are any."""

    lists: dict[str, ImageList]
    label_names: tuple[str, ...] | None

    def sides(self, names: Sequence[str]) -> np.ndarray:
        """Return (N,) int64: the number of the part that has each of the images ``names``, -1 for none."""
        side = {plain_path(name): PARTS.index(part) for part, images in self.lists.items() for name in images.names()}
        return np.array([side.get(plain_path(name), -1) for name in names], np.int64)

    def missing_from(self, names: Sequence[str]) -> int:
        """Return how many of the lists' images are not among ``names``."""
        known = set(map(plain_path, names))
        return sum(plain_path(name) not in known for images in self.lists.values() for name in images.names())

    def all_in(self, parts: Mapping[str, ImageList], label_names: Sequence[str]) -> bool:
        """Say whether new lists hold all that these do: the images of each part, with the same labels."""
        if not self.lists or self.label_names != tuple(label_names):
            return False
        for part, images in self.lists.items():
            new = dict(zip(parts[part].names(), map(bytes, parts[part].labels.astype(images.labels.dtype))))
            if any(new.get(name) != bytes(row) for name, row in zip(images.names(), images.labels)):
                return False
        return True


def read_existing(folder: Path) -> ExistingLists:
    """Read the lists in ``folder``; raise ListError for one that cannot be read, and for lists that share images."""
    try:
        return _read_existing(folder)
    except ListError as error:
        raise ListError(f"{error.faults[0]}; mend what is there, or --new-split splits anew") from error


def _read_existing(folder: Path) -> ExistingLists:
    lists: dict[str, ImageList] = {}
    part_of: dict[str, str] = {}
    for part in PARTS:
        file = folder / f"{part}.lst"
        if not file.is_file():
            continue
        lists[part] = read_lst(file, allow_absolute=True, any_values=True)
        for name in map(plain_path, lists[part].names()):
            if part_of.setdefault(name, part) != part:
                raise ListError(f"{file}: has {quoted(name)}, which {part_of[name]}.lst beside it has too")
    names = folder / "labels.txt"
    return ExistingLists(lists, tuple(read_label_names(names)) if names.is_file() else None)


def refuse_left_over(folder: Path, parts: int) -> None:
    """Raise ListError where a list is in ``folder`` that lists of ``parts`` parts would not replace."""
    for part in PARTS[parts:]:
        file = folder / f"{part}.lst"
        if file.is_file():
            raise ListError(
                f"{file}: is there from a split into {len(PARTS)}, and would be left over from this one into {parts}; "
                "remove it, or give as many shares"
            )
