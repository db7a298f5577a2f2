"""Labels in one text file per image: ``photos/1.jpg.txt`` holds the labels of ``photos/1.jpg``, one per line.

It is the format of the Multi-label-Inception-net repository.
"""

from __future__ import annotations

import filecmp
import functools
import itertools
import os
import stat
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

import numpy as np

from mxml.data.formats.file_tree import IMAGE_SUFFIXES, blocked_files, file_fault, find_files, find_images
from mxml.data.formats.options import OTHER_FORMATS, FormatOptions
from mxml.data.formats.rows import rows_of_names
from mxml.data.image_list import path_fault
from mxml.data.label_names import LABEL_NAMES_FILE, format_label_names
from mxml.data.labelled_images import LabelledImages
from mxml.errors import Faults, ListError
from mxml.text import counted, quoted, shown
from mxml.text_lines import MAX_LINE_BYTES, read_lines

NAME = "text-files"
TITLE = "one text file of labels per image"
SUFFIXES: tuple[str, ...] = ()

_NAMED_BY_IMAGE = tuple(f"{suffix}.txt" for suffix in IMAGE_SUFFIXES)
_FILES_LOOKED_AT = 1000


def recognises(path: Path) -> bool:
    """Say whether ``path`` is a folder with files like ``1.jpg.txt``, or with text files and no images."""
    if not path.is_dir():
        return False
    names = list(itertools.islice(_small_names(path), _FILES_LOOKED_AT))
    if any(name.endswith(_NAMED_BY_IMAGE) for name in names):
        return True
    return any(name.endswith(".txt") for name in names) and not any(name.endswith(IMAGE_SUFFIXES) for name in names)


def read(path: Path, root: Path, options: FormatOptions) -> LabelledImages:
    """Read the text files under ``path``, whose sub-folders are those of the images under ``root``.

    ``car.jpg.txt`` is the text of ``car.jpg``. Where no image is called so, it is that of an only image in another
    folder under ``root``, as the repository has it, or of copies of one; the first of each is used; and ``car.txt``
    is the text of an only ``car`` with any suffix. labels.txt, which lists all labels, is no image's: it is in
    ``path`` or, as the repository has it, beside it. Images are sorted by their text. Raises one ListError with every
    fault.
    """
    if not path.is_dir():
        raise ListError(f"{path}: is a file, should be a folder with a text file per image, such as car.jpg.txt")
    files = [name for name in find_files(path, (".txt",)) if name != LABEL_NAMES_FILE]
    if not files:
        raise ListError(f"{path}: holds no text files, should hold one per image, such as car.jpg.txt")
    rows = rows_of_names(path, options, path if (path / LABEL_NAMES_FILE).is_file() else path.parent)
    images = _Images(root, {_without_suffix(file) for file in files})
    found: list[tuple[str, Path]] = []
    for file in files:
        try:
            found.append((images.called(_without_suffix(file)), path / file))
        except ListError as error:
            rows.fault(str(path / file), str(error))
    for name, text in sorted(found):
        try:
            rows.add(str(text), name, _labels(text))
        except ListError as error:
            rows.refuse(error)
    return rows.finish(root, images.notes())


def write(labelled: LabelledImages, target: Path, options: FormatOptions) -> None:
    """Write a text file per image under ``target``, and labels.txt there.

    Raises ListError for unknown labels, and for images whose file could not be found again as theirs.
    """
    images = labelled.images
    label_file = format_label_names(labelled.label_names)
    names = images.names()
    faults = Faults()
    for i in np.flatnonzero((images.labels == -1).any(axis=1)).tolist():
        faults.add(f"{quoted(names[i])} has unknown labels, which a text file cannot hold{OTHER_FORMATS}")
    for name in names:
        fault = _image_fault(name, Path(images.root))
        if fault:
            faults.add(f"{fault}, so no text file can be named after it{OTHER_FORMATS}")
    for name in blocked_files(f"{name}.txt" for name in names):
        faults.add(f"{quoted(name)} would be a file where other images need a folder; rename the image")
    faults.raise_any()
    target.mkdir()
    (target / LABEL_NAMES_FILE).write_bytes(label_file)
    for name, row in zip(names, images.labels):
        file = target / f"{name}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes("".join(f"{labelled.label_names[column]}\n" for column in np.flatnonzero(row == 1)).encode())


def _small_names(folder: Path) -> Iterator[str]:
    """Yield the files under a folder as find_files does, but in small letters, one by one, without labels.txt."""
    for path, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if not name.startswith(".") and not (name == LABEL_NAMES_FILE and Path(path) == folder):
                yield name.lower()


def _without_suffix(file: str) -> str:
    return file[: -len(".txt")]


def _names_itself(name: str, root: Path) -> bool:
    """Say whether a text file without its ``.txt`` is called exactly as its image."""
    return name.lower().endswith(IMAGE_SUFFIXES) or os.path.isfile(root / name)


class _Images:
    """The images under a root, by what their text files may be called; ``taken`` are the exact names."""

    def __init__(self, root: Path, taken: Collection[str]):
        self._root = root
        self._taken = taken
        self._copies = 0

    def called(self, name: str) -> str:
        """Return the image whose text is called ``name`` and .txt; raise ListError where that may be none or many."""
        if os.path.isfile(self._root / name):
            return name
        is_whole = name.lower().endswith(IMAGE_SUFFIXES)
        if not is_whole:
            images = self._by_stem.get(name, [])
        elif "/" not in name:
            images = [image for image in self._by_file.get(name, []) if image not in self._taken]
        else:
            images = []
        if len(images) > 1:
            self._require_copies(images)
        if images:
            return images[0]
        if is_whole:
            # Nothing is there; another check reports that.
            return name
        raise ListError(f"belongs to no image; should be named like an image under {self._root}, with .txt added")

    def _require_copies(self, images: list[str]) -> None:
        first, *others = (self._root / image for image in images)
        try:
            if not all(filecmp.cmp(first, other, shallow=False) for other in others):
                raise ListError(
                    f"may belong to several images: {shown(images)}; should be named like one of them, with .txt added"
                )
        except OSError as error:
            raise ListError(f"{error.filename}: cannot be read: {error.strerror}") from error
        self._copies += 1

    def notes(self) -> list[str]:
        """Say which images were taken, where that was a choice."""
        if not self._copies:
            return []
        return [f"{self._root}: holds several copies of {counted(self._copies, 'image')}; the first of each is used"]

    @functools.cached_property
    def _names(self) -> list[str]:
        return find_images(self._root)

    @functools.cached_property
    def _by_stem(self) -> dict[str, list[str]]:
        return _grouped((os.path.splitext(name)[0], name) for name in self._names)

    @functools.cached_property
    def _by_file(self) -> dict[str, list[str]]:
        return _grouped((name.rpartition("/")[2], name) for name in self._names)


def _grouped(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for key, value in pairs:
        groups.setdefault(key, []).append(value)
    return groups


def _labels(file: Path) -> list[str]:
    """Return the labels that a text file holds, one per line."""
    try:
        status = file.stat()
    except OSError as error:
        raise ListError(f"{file}: cannot be read: {error.strerror}") from error
    # A pipe would be waited for.
    if not stat.S_ISREG(status.st_mode):
        raise ListError(f"{file}: is not a regular file, should hold one label per line")
    if status.st_size > MAX_LINE_BYTES:
        raise ListError(
            f"{file}: has {status.st_size:,} bytes, should be one label per line in at most {MAX_LINE_BYTES:,}"
        )
    return [line.strip() for line in read_lines(file) if line.strip()]


def _image_fault(name: str, root: Path) -> str | None:
    """Say why an image's text file could not be found as its text; None where it can."""
    fault = path_fault(name) or file_fault(name) or file_fault(f"{name}.txt")
    if fault:
        return fault
    if f"{name}.txt" == LABEL_NAMES_FILE or not _names_itself(name, root):
        return f"the name {quoted(name)} does not end as an image's does: {', '.join(IMAGE_SUFFIXES)}"
    return None
