"""The lists of an earlier split: which subset each image is in, and how new images are added to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mxml.data.image_list import ImageList, plain_path
from mxml.data.label_names import LABEL_NAMES_FILE, read_label_names
from mxml.data.lst_file import format_lst, read_lst
from mxml.errors import ListError
from mxml.prepare.subsets import SUBSETS
from mxml.text import quoted

_LARGEST_INDEX = 2**63 - 1


@dataclass(frozen=True, eq=False)
class ContinuedList:
    """A list of an earlier split with new images at its end.

    ``keeps_lines`` says that every line of the earlier list is there with its index number, labels and name, in its
    place. ``content`` is the list as a file; lines that are kept are so byte for byte.
    """

    images: ImageList
    keeps_lines: bool
    content: bytes


@dataclass(frozen=True, eq=False)
class ExistingLists:
    """The lists in ``folder`` by their subset's name, and the label names beside them, if there are any."""

    folder: Path
    lists: dict[str, ImageList]
    label_names: tuple[str, ...] | None

    def subset_numbers(self, names: Sequence[str]) -> np.ndarray:
        """Return (N,) int64: the number of the subset that has each of the images ``names``, -1 for none."""
        number = {
            plain_path(name): SUBSETS.index(subset) for subset, images in self.lists.items() for name in images.names()
        }
        return np.array([number.get(plain_path(name), -1) for name in names], np.int64)

    def missing_from(self, names: Sequence[str]) -> int:
        """Return how many of the lists' images are not among ``names``."""
        known = set(map(plain_path, names))
        return sum(plain_path(name) not in known for images in self.lists.values() for name in images.names())

    def continued(self, subset: str, images: ImageList, positions: np.ndarray) -> ContinuedList:
        """Return the list of a subset: the earlier one's lines in their order, then the new images of ``positions``.

        ``images`` are all images, ``positions`` (n,) int64 those of the subset. A line of the earlier list keeps its
        index number, and has the labels that ``images`` have; it is left out if its image is not in the subset. New
        images are numbered from one above the largest number on.
        """
        all_names = images.names()
        names = [all_names[position] for position in positions.tolist()]
        if subset not in self.lists:
            made = ImageList.from_rows(names, images.labels[positions], images.root)
            return ContinuedList(made, True, format_lst(made))
        earlier = self.lists[subset]
        rest = dict(zip(map(plain_path, names), positions.tolist()))
        earlier_names = earlier.names()
        there = [(line, rest.get(plain_path(name), -1)) for line, name in enumerate(earlier_names)]
        lines = np.array([line for line, position in there if position >= 0], np.int64)
        kept = np.array([position for _, position in there if position >= 0], np.int64)
        added = positions[~np.isin(positions, kept)]

        keeps_lines = len(lines) == len(earlier) and np.array_equal(images.labels[kept], earlier.labels)
        last = int(earlier.index.max())
        if last > _LARGEST_INDEX - len(added):
            raise ListError(
                f"{self.folder / subset}.lst: has the index number {last}, above which there is no room for more; use "
                "smaller numbers"
            )
        continued = ImageList.from_rows(
            [*map(earlier_names.__getitem__, lines.tolist()), *map(all_names.__getitem__, added.tolist())],
            images.labels[np.concatenate([kept, added])],
            images.root,
            np.concatenate([earlier.index[lines], last + np.arange(1, len(added) + 1)]),
        )
        if not keeps_lines:
            return ContinuedList(continued, False, format_lst(continued))
        content = (self.folder / f"{subset}.lst").read_bytes()
        if len(added):
            line_end = b"" if content.endswith(b"\n") else b"\n"
            content += line_end + format_lst(continued.select(np.arange(len(lines), len(continued))))
        return ContinuedList(continued, True, content)


def read_existing(folder: Path) -> ExistingLists:
    """Read the lists in ``folder``; raise ListError for one that cannot be read, and for lists that share images."""
    try:
        return _read_existing(folder)
    except ListError as error:
        raise ListError(f"{error.faults[0]}; correct the list, or use `new` to split again") from error


def _read_existing(folder: Path) -> ExistingLists:
    lists: dict[str, ImageList] = {}
    subset_of: dict[str, str] = {}
    for subset in SUBSETS:
        file = folder / f"{subset}.lst"
        if not file.is_file():
            continue
        lists[subset] = read_lst(file, allow_absolute=True, any_values=True)
        for name in map(plain_path, lists[subset].names()):
            if subset_of.setdefault(name, subset) != subset:
                raise ListError(f"{file}: has {quoted(name)}, which {subset_of[name]}.lst beside it has too")
    names = folder / LABEL_NAMES_FILE
    return ExistingLists(folder, lists, tuple(read_label_names(names)) if names.is_file() else None)


def refuse_left_over(folder: Path, subsets: int) -> None:
    """Raise ListError if ``folder`` has a list that a split into this many subsets would not replace."""
    for subset in SUBSETS[subsets:]:
        file = folder / f"{subset}.lst"
        if file.is_file():
            raise ListError(
                f"{file}: is left from a split into {len(SUBSETS)}, and would not belong to this one into "
                f"{subsets}; remove it, or give as many shares"
            )
