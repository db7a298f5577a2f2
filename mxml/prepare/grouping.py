"""Which images belong together, so that a split does not separate them."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from mxml.data.image_list import ImageList
from mxml.errors import MxmlError, SettingError
from mxml.prepare.subsets import Split
from mxml.progress import SILENT, Progress
from mxml.text import counted, quoted

if TYPE_CHECKING:
    from mxml.prepare.duplicates import Duplicates
    from mxml.prepare.image_scan import ImageScan


@dataclass(frozen=True, eq=False)
class ScannedImages:
    """Images that were all opened: the scan's rows and the positions in ``duplicates`` are those of ``images``."""

    images: ImageList
    scan: ImageScan
    duplicates: Duplicates


@dataclass(frozen=True, eq=False)
class Groups:
    """Which of N images stay together: these have the same number in ``numbers`` (N,) int64; None if there are none.

    Each of ``notes`` is one line for the user. ``scanned`` is what was found where every image was opened.
    """

    numbers: np.ndarray | None
    notes: tuple[str, ...] = ()
    scanned: ScannedImages | None = None


def find_groups(images: ImageList, split: Split, progress: Progress = SILENT) -> Groups:
    """Find the images that a split keeps together, by their names and as near-duplicates.

    To find near-duplicates every image is opened. Raises what ``group_by_pattern`` does.
    """
    by_name = None if split.group_by is None else group_by_pattern(images.names(), split.group_by)
    if split.ignore_duplicates:
        return Groups(by_name)
    duplicates = _duplicates(images, progress)
    if by_name is None or duplicates.numbers is None:
        return duplicates
    return replace(duplicates, numbers=join_groups(by_name, duplicates.numbers))


def group_by_pattern(names: Sequence[str], pattern: str) -> np.ndarray:
    """Return (N,) int64: one number for all names in which a regular expression finds the same text.

    The text is what the expression's groups match, or all of the match where it has none. A name without a match is
    a group of its own. Raises SettingError for an invalid regular expression, and MxmlError for one that finds
    nothing in any name.
    """
    try:
        with warnings.catch_warnings():
            # Python warns of what a later version may read differently; that does not concern the user.
            warnings.simplefilter("ignore", FutureWarning)
            expression = re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise SettingError("group_by", pattern, f"a regular expression: {error}") from None
    numbers: dict[object, int] = {}
    found = np.empty(len(names), np.int64)
    matches = 0
    for position, name in enumerate(names):
        match = expression.search(name)
        matches += match is not None
        key = position if match is None else (match.groups() or match.group())
        found[position] = numbers.setdefault(key, len(numbers))
    if not matches:
        raise MxmlError(f"`group_by` {pattern}: finds nothing in any name, such as {names[0]!r}")
    return found


def join_groups(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return (N,) int64: the groups that result when images together in either grouping (N,) stay together."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    left = np.unique(first, return_inverse=True)[1]
    right = np.unique(second, return_inverse=True)[1]
    size = int(left.max(initial=-1)) + 1
    nodes = size + int(right.max(initial=-1)) + 1
    edges = coo_array((np.ones(len(left), np.int8), (left, right + size)), shape=(nodes, nodes))
    return connected_components(edges, directed=False)[1][left].astype(np.int64)


def _duplicates(images: ImageList, progress: Progress) -> Groups:
    from mxml.prepare.duplicates import find_duplicates
    from mxml.prepare.image_scan import scan_images

    scan = scan_images(images, progress=progress)
    notes = []
    if scan.faults:
        first = scan.faults[0]
        notes.append(
            f"{len(scan.faults):,} of {counted(len(images), 'image')} cannot be read, such as "
            f"{quoted(images.name(first.position))} ({first.reason}); mxml check lists them all"
        )
    duplicates = find_duplicates(scan, progress)
    together = duplicates.groups()
    if together:
        count, largest = sum(map(len, together)), max(map(len, together))
        notes.append(
            f"{count:,} images are duplicates or near-duplicates of others, such as "
            f"{' and '.join(quoted(images.name(position)) for position in together[0][:2])}; each such group, "
            f"the largest of {largest:,} images, stays in one subset, and mxml check shows them"
        )
    scanned = ScannedImages(images, scan, duplicates)
    return Groups(duplicates.group_numbers(len(images)), tuple(notes), scanned)
