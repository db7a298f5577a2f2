"""List files (``.lst``): read, checked and written.

A line is what MXNet's im2rec writes: ``index TAB label TAB ... label TAB path``, one float with six decimals for each
class, here 1 (present), 0 (absent) or -1 (unknown).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mxml import atomic
from mxml.data.image_list import ImageList, path_fault
from mxml.data.lst_reader import LstReader
from mxml.data.other_files import other_than_list
from mxml.errors import Faults, ListError
from mxml.staging import is_half_moved
from mxml.text import quoted
from mxml.text_lines import read_blocks

_MOST_KEPT_FAULTS = 10_000


def read_lst(
    path: str | os.PathLike[str],
    root: str | os.PathLike[str] = "",
    num_classes: int | None = None,
    *,
    allow_absolute: bool = False,
    any_values: bool = False,
) -> ImageList:
    """Read and check a ``.lst`` file.

    Also takes any run of tabs and blanks between fields where paths hold none, CRLF, blank lines, a byte order mark and
    a missing last line end.

    Parameters
    ----------
    path : path
        The list: ``index TAB label TAB ... label TAB path`` on each line.
    root : path, optional
        The folder that the images' paths are under.
    num_classes : int, optional
        How many labels each line has; as many as the first line unless given.
    allow_absolute : bool, optional
        Allow absolute paths and images outside of ``root``. Only the text of a path is checked; links are
        not followed.
    any_values : bool, optional
        Take any finite numbers as labels, as float32, and not only 0, 1 and -1 (unknown).

    Returns
    -------
    ImageList
        The images in the list's order, with labels (N, C) int8, or float32 for ``any_values``.

    Raises
    ------
    ListError
        With every fault, each as ``file:line: what is wrong, what it should be``; the first 20 are kept. A file that
        is no list at all is one fault.
    """
    _require_whole(path)
    reader = LstReader(os.fspath(path), num_classes, allow_absolute, any_values)
    try:
        for first, block in read_blocks(path):
            reader.add_block(first, block)
    except ListError as error:
        reader.faults.extend(error)
    if reader.faults or not reader.index:
        raise _error(reader)
    return reader.images(os.fspath(root))


@dataclass(frozen=True, eq=False)
class GoodLines:
    """What could be read of a list, and what not.

    ``line_numbers`` (N,) int64 says which line, counted from 1, each of the images is from. ``fault_count`` other lines
    are not blank; ``faults`` has one ``file:line: what is wrong, what it should be`` for each, at most 10,000.
    """

    images: ImageList
    line_numbers: np.ndarray
    faults: tuple[str, ...]
    fault_count: int


def read_good_lines(
    path: str | os.PathLike[str],
    root: str | os.PathLike[str] = "",
    num_classes: int | None = None,
    *,
    allow_absolute: bool = False,
    any_values: bool = False,
) -> GoodLines:
    """Read a ``.lst`` file as read_lst does, but leave out the faulty lines instead of raising them.

    Raises ListError only for a file that does not exist or is not text, for a line over the limit, and where no line is
    good, which is one fault where the file is no list at all.
    """
    _require_whole(path)
    reader = LstReader(os.fspath(path), num_classes, allow_absolute, any_values, kept_faults=_MOST_KEPT_FAULTS)
    last = 0
    try:
        for first, block in read_blocks(path):
            reader.add_block(first, block)
            last = first + block.count(b"\n")
    except ListError as error:
        raise _not_a_list(path) or error from None
    if not reader.index:
        raise _error(reader)
    numbers = np.delete(np.arange(1, last + 1), np.array(reader.skipped, np.int64) - 1)
    return GoodLines(reader.images(os.fspath(root)), numbers, tuple(reader.faults.messages), reader.faults.total)


def _require_whole(path: str | os.PathLike[str]) -> None:
    """Raise ListError for a list of which nobody knows whether those beside it belong to it."""
    folder = Path(path).parent
    if is_half_moved(folder):
        raise ListError(
            f"{os.fspath(path)}: may not belong to the lists beside it: a process was killed while it replaced the "
            f"files in {folder}, or is still at it; start the command that makes them again, which finishes that first"
        )


def _error(reader: LstReader) -> ListError:
    """Return what is wrong with a list, in one line where it is something else."""
    return (None if reader.index else _not_a_list(reader.path)) or reader.error()


def _not_a_list(path: str | os.PathLike[str]) -> ListError | None:
    other = other_than_list(path)
    return None if other is None else ListError(f"{os.fspath(path)}: is {other}")


def format_lst(images: ImageList) -> bytes:
    """Return the list exactly as im2rec writes it: ``%d``, tab, ``%f`` and tab for each label, path, ``\\n``.

    Raises ListError for paths that no list can hold: with a tab or a line end, with blanks at an end, or not UTF-8.
    """
    if not images.num_classes:
        raise ListError("the images have no labels, should have one per class")
    known: dict[bytes, bytes] = {}
    lines = []
    faults = Faults()
    for number, row, name in zip(images.index.tolist(), images.labels, images.names()):
        fault = path_fault(name, allow_absolute=True)
        if "\t" in name:
            fault = f"the path {quoted(name)} holds a tab, which separates the fields of a .lst; rename the file"
        if fault:
            faults.add(fault)
            continue
        key = row.tobytes()
        section = known.get(key)
        if section is None:
            section = known[key] = b"".join(b"%f\t" % value for value in row.tolist())
        lines.append(b"%d\t%b%b\n" % (number, section, name.encode()))
    faults.raise_any()
    return b"".join(lines)


def write_lst(path: str | os.PathLike[str], images: ImageList) -> None:
    """Write a list exactly as im2rec writes it, whole or not at all.

    Parameters
    ----------
    path : path
        The file, which is replaced if it exists.
    images : ImageList
        What to write; ``index`` becomes the first column.

    Raises
    ------
    ListError
        For images without labels, and for paths that no list can hold: with a tab or a line end, with blanks at an
        end, or not UTF-8.
    MxmlError
        For a file that cannot be written.
    """
    atomic.write_bytes(path, format_lst(images))
