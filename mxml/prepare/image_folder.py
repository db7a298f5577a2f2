"""Compares the images that a set names with those in the image folder."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from mxml.data.formats.file_tree import IMAGE_SUFFIXES, find_images
from mxml.data.image_list import ImageList, plain_path
from mxml.errors import SHOWN_FAULTS, ListError
from mxml.text import quoted
from mxml.text_lines import read_lines

# Formats whose lines name an image each, and what stands around the name.
_OF_LINES = (".csv", ".tsv", ".tab", ".jsonl", ".lst", ".txt")
_AROUND_NAMES = r'\t,;"'


def compare_with_folder(images: ImageList, sources: Sequence[Path]) -> tuple[str, ...]:
    """Return the images under the root that a set does not name, sorted; refuse a set with images that do not exist.

    ``sources`` are where the set comes from, for messages; these guess where a missing image is.
    """
    origin = ", ".join(map(str, sources))
    root = Path(images.root)
    names = images.names()
    if not root.is_dir():
        hint = _beside(names[0], sources) or "; `root` says which it is"
        raise ListError(f"{root}: is not a folder, should be the folder with the images{hint}")
    found = set(find_images(root))
    missing = [name for name in names if name not in found and not os.path.isfile(root / name)]
    if missing:
        where = _Guess(root, found)
        if len(missing) == len(names) > 1:
            hint = where.of(missing[0], all_missing=True) or _beside(missing[0], sources)
            hint = hint or "; `root` names the folder that the paths are under"
            raise ListError(f"{origin}: none of its {len(names):,} images exists, such as {root / missing[0]}{hint}")
        lines = _first_lines(missing[:SHOWN_FAULTS], sources)
        faults = [
            f"{lines.get(name, origin)}: names {quoted(name)}, but {root / name} does not exist"
            f"{where.of(name) or '; take it out there, or add the image'}"
            for name in missing[:SHOWN_FAULTS]
        ]
        raise ListError(faults, len(missing))
    named = {plain_path(name) for name in names}
    # Absolute names may be of images under the root.
    named |= {os.path.relpath(name, root.resolve()) for name in named if os.path.isabs(name)}
    return tuple(sorted(found - named))


def _beside(name: str, sources: Sequence[Path]) -> str:
    """Return where an image is in the folder of the one source, for the end of a message; nothing if it is not."""
    if len(sources) > 1 or not sources[0].is_file():
        return ""
    folder = sources[0].parent
    try:
        return _Guess(folder, find_images(folder)).of(name, all_missing=True)
    except ListError:
        return ""


def _first_lines(names: Sequence[str], sources: Sequence[Path]) -> dict[str, str]:
    """Return the ``file:line`` that names an image first, of those that are found in files of lines."""
    longest_first = sorted(names, key=len, reverse=True)
    pattern = re.compile(rf"(?:^|[{_AROUND_NAMES}])({'|'.join(map(re.escape, longest_first))})(?=$|[{_AROUND_NAMES}])")
    found: dict[str, str] = {}
    for source in sources:
        if source.suffix.lower() not in _OF_LINES or not source.is_file():
            continue
        for number, line in enumerate(read_lines(source), 1):
            match = pattern.search(line)
            if match:
                found.setdefault(match[1], f"{source}:{number}")
    return found


class _Guess:
    """Guesses where a missing image is, from common mistakes."""

    def __init__(self, root: Path, found: Iterable[str]):
        self._root = root
        self._by_path: dict[str, str] = {}
        self._by_file: dict[str, list[str]] = {}
        for name in found:
            self._by_path.setdefault(name.casefold(), name)
            file = posixpath.basename(name)
            for key in {file, posixpath.splitext(file)[0]}:
                self._by_file.setdefault(key, []).append(name)

    def of(self, name: str, all_missing: bool = False) -> str:
        """Return the rest of a message, or nothing; where all images are missing, the root is likely wrong."""
        slashed = name.replace("\\", "/")
        if slashed != name:
            return "; paths have / between their parts"
        # By its text: pathlib takes the folder above "." for "." again.
        above = Path(os.path.normpath(self._root / ".."))
        first = name.partition("/")[0]
        if first == self._root.resolve().name and os.path.isfile(above / name):
            return f"; the paths begin with {first}/, so `root` should be {above}"
        if name.casefold() in self._by_path:
            return f"; {quoted(self._by_path[name.casefold()])} exists"
        like = self._by_file.get(posixpath.basename(name), [])
        if len(like) != 1:
            return ""
        if not name.lower().endswith(IMAGE_SUFFIXES):
            return f"; {quoted(like[0])} exists, and paths need their suffix"
        if all_missing and like[0].endswith(f"/{name}"):
            return f"; {quoted(like[0])} exists, so `root` should be {self._root / like[0][: -len(name) - 1]}"
        return f"; {quoted(like[0])} exists"
