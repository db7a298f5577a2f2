"""Files that a person names for drawings: none replaces an input, nor any other file unless that is allowed."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator, Sequence

from mxml import atomic
from mxml.data.formats.file_tree import IMAGE_SUFFIXES
from mxml.errors import ImageError, ListError, MxmlError
from mxml.inference.input_names import STDIN, Reading, Several, is_camera, named
from mxml.inference.url import is_url

_LISTS = (".lst", ".txt")


def require_output(
    path: str,
    inputs: Sequence[str] = (),
    root: str | None = None,
    *,
    replace: bool = False,
    more: Iterable[str] = (),
) -> None:
    """Raise MxmlError, before any work is done, for a file that would replace an input, or be one the next time.

    ``more`` are files that may be written as well, and ``root`` the folder that the paths of lists are under. Unless
    ``replace`` is given, a file that exists is refused, too. Raises StorageError where none can be made.
    """
    atomic.require_place(path)
    existing = [file for file in dict.fromkeys((path, *more)) if os.path.lexists(file)]
    for name in inputs:
        if name == STDIN or is_url(name) or is_camera(name):
            continue
        if os.path.isdir(name):
            _require_outside(path, name)
        for file in _same(existing, name, root):
            raise MxmlError(f"{file}: is one of the inputs, which it would replace; choose another name")
    if existing and not replace:
        raise MxmlError(f"{existing[0]}: already exists; `force` replaces it, or choose another name")


def pages(path: str) -> list[str]:
    """Return the files that are called as the pages of a contact sheet ``path`` are: ``sheet_2.jpg``, ..."""
    stem, suffix = os.path.splitext(path)
    name = re.compile(re.escape(os.path.basename(stem)) + r"_\d+" + re.escape(suffix))
    return files_called(os.path.dirname(path), name)


def files_called(folder: str, name: re.Pattern[str]) -> list[str]:
    """Return the files of a folder whose names match, none where there is no such folder."""
    if not os.path.isdir(folder or "."):
        return []
    return [os.path.join(folder, found) for found in sorted(os.listdir(folder or ".")) if name.fullmatch(found)]


def _require_outside(path: str, folder: str) -> None:
    inside = os.path.realpath(path).startswith(os.path.join(os.path.realpath(folder), ""))
    if inside and path.lower().endswith(IMAGE_SUFFIXES):
        raise MxmlError(
            f"{path}: is in {folder}, whose images are tagged, and would be tagged itself the next time; choose "
            "another folder"
        )


def _same(files: Sequence[str], name: str, root: str | None) -> Iterator[str]:
    """Yield those of some files that a name stands for, which may be a pattern or a list."""
    if not files or os.path.isdir(name):
        return
    own = {os.path.realpath(file): file for file in files}
    names = {os.path.basename(file) for file in files} | {os.path.basename(file) for file in own}
    for path in _paths(name, root):
        # Of a long list only a few files are looked at.
        if (path == name or os.path.basename(path) in names) and os.path.realpath(path) in own:
            yield own[os.path.realpath(path)]


def _paths(name: str, root: str | None) -> Iterator[str]:
    yield name
    if glob.has_magic(name) and not os.path.exists(name):
        yield from glob.glob(name, recursive=True)
    elif name.lower().endswith(_LISTS) and os.path.isfile(name):
        try:
            found = named(name, Reading(root))
        except (ImageError, ListError):
            # Whoever reads it says what is wrong.
            return
        items = found.items if isinstance(found, Several) else ()
        yield from (item for item in items if isinstance(item, str))
