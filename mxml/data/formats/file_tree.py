"""Folders of files: what is found in them, and what can be put there and be found again."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple, NoReturn

from mxml.errors import ListError
from mxml.images.choices import VIDEO_SUFFIXES
from mxml.progress import SILENT, Progress
from mxml.text import quoted

IMAGE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
"""Suffixes of the files that are read as images."""

OTHER_IMAGE_SUFFIXES = (
    *(".arw", ".avif", ".cr2", ".cr3", ".dng", ".gif", ".heic", ".heif", ".ico", ".jfif", ".jp2", ".jpe", ".jxl"),
    *(".nef", ".orf", ".pbm", ".pgm", ".pnm", ".ppm", ".psd", ".raf", ".raw", ".rw2", ".svg", ".tga"),
)
"""Suffixes of other image formats, which are not read; such files are skipped in folders."""

_MAX_PART_BYTES = 255
_MANY_FILES = 100_000


def find_files(folder: Path, suffixes: tuple[str, ...], progress: Progress = SILENT) -> list[str]:
    """Return the files under ``folder`` with one of the suffixes, relative to it with ``/`` between, sorted.

    Suffixes are in small letters and match any case. Hidden files and folders are skipped, and links to folders
    are not followed. A note says how far it is in a folder of very many files. Raises ListError for a folder that
    cannot be read.
    """

    def refuse(error: OSError) -> NoReturn:
        raise ListError(f"{error.filename}: cannot be read: {error.strerror}")

    found: list[str] = []
    seen, told = 0, _MANY_FILES
    for path, folders, files in os.walk(folder, onerror=refuse):
        seen += len(files)
        if seen >= told:
            progress.note(f"{folder}: {seen:,} files so far")
            told = 2 * seen
        folders[:] = [name for name in folders if not name.startswith(".")]
        inner = os.path.relpath(path, folder).replace(os.sep, "/") + "/"
        inner = "" if inner == "./" else inner
        found += [inner + name for name in files if name.lower().endswith(suffixes) and not name.startswith(".")]
    return sorted(found)


class FoundImages(NamedTuple):
    """The images under a folder, in words how many others were skipped, ``5 .gif, 2 .heic``, or nothing, and how many
    videos are among those that were not counted.
    """

    names: list[str]
    passed_over: str
    videos: int


def look_for_images(folder: Path, progress: Progress = SILENT) -> FoundImages:
    """Return the image files under ``folder``, by their suffix, as find_files does; count those of other formats."""
    names, others, videos = [], Counter[str](), 0
    for name in find_files(folder, IMAGE_SUFFIXES + OTHER_IMAGE_SUFFIXES + VIDEO_SUFFIXES, progress):
        small = name.lower()
        if small.endswith(IMAGE_SUFFIXES):
            names.append(name)
        elif small.endswith(VIDEO_SUFFIXES):
            videos += 1
        else:
            others[os.path.splitext(name)[1].lower()] += 1
    return FoundImages(names, ", ".join(f"{count:,} {suffix}" for suffix, count in sorted(others.items())), videos)


def find_images(folder: Path) -> list[str]:
    """Return the image files under ``folder``, by their suffix, as find_files does."""
    return find_files(folder, IMAGE_SUFFIXES)


def relative_to(path: Path, root: Path) -> str:
    """Return what leads from ``root`` to ``path``, ready to be put before a name."""
    inner = os.path.relpath(path, root).replace(os.sep, "/")
    if inner.split("/")[0] == "..":
        raise ListError(f"{path}: is outside of the image root {root}, should be under it")
    return "" if inner == "." else f"{inner}/"


def file_fault(name: str) -> str | None:
    """Say why a file cannot be called so under a folder, or would not be found there by this name; None if it can."""
    for part in name.split("/"):
        if not part or part.startswith("."):
            return f"the path {quoted(name)} has an empty or a hidden part, which no folder is read for"
        if len(part.encode()) > _MAX_PART_BYTES:
            return f"the name {quoted(part)} is {len(part.encode())} bytes long, should be at most {_MAX_PART_BYTES}"
    return None


def blocked_files(names: Iterable[str]) -> list[str]:
    """Return the files that cannot be where they should, as others need a folder of that name."""
    wanted = set(names)
    folders = set()
    for name in wanted:
        folder = name.rpartition("/")[0]
        while folder and folder not in folders:
            folders.add(folder)
            folder = folder.rpartition("/")[0]
    return sorted(wanted & folders)
