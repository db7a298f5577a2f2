"""The sum by which the images of a list are known again: of the names and contents of all of them."""

from __future__ import annotations

import hashlib
import itertools
import os
import stat
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

from mxml.data.image_list import ImageList
from mxml.data.lst_file import read_lst
from mxml.images.decode import Limits
from mxml.model.sidecar import UsedList
from mxml.progress import Progress

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

# What waits for the storage of a network needs more threads than the machine has cores.
_THREADS = 8
_AT_ONCE = 256
_BLOCK_BYTES = 1 << 20
_NO_CONTENT = "-"


class _File(NamedTuple):
    """Which file an image is, whatever way its path takes, and its size in bytes."""

    device: int
    inode: int
    size: int


def sum_of_images(images: ImageList, progress: Progress) -> str:
    """Return the SHA-256 sum of the names and contents of all images.

    One that is not there, or larger than an image may be, has no content.
    """
    return _sum(images, _files(images, progress), progress)


def has_images_of_run(used: UsedList, progress: Progress) -> bool:
    """Say whether the images that a list names are those that the run has read, by their recorded size and sum.

    Whoever wrote the list chose the files, so none is read unless the sizes of all of them are right; each is then read
    once, and no further than its size, since what the kernel makes up has no end. Raises ListError for a faulty list.
    """
    if used.images_sha256 is None or used.image_bytes is None:
        return False
    images = read_lst(used.path, used.root)
    files = _files(images, progress)
    if sum(file.size for file in files if file is not None) != used.image_bytes:
        return False
    return _sum(images, files, progress) == used.images_sha256


def _files(images: ImageList, progress: Progress) -> list[_File | None]:
    progress.start(len(images), "looking for the validation images")
    return in_threads(_file, (images.path(position) for position in range(len(images))), progress)


def _sum(images: ImageList, files: Sequence[_File | None], progress: Progress) -> str:
    first_at: dict[_File, int] = {}
    for position, file in enumerate(files):
        if file is not None and file.size <= Limits().max_bytes:
            first_at.setdefault(file, position)
    progress.start(len(first_at), "sum of the validation images")
    to_read = ((images.path(position), file.size) for file, position in first_at.items())
    content_of = dict(zip(first_at, in_threads(_content, to_read, progress)))
    digest = hashlib.sha256()
    for position, file in enumerate(files):
        content = _NO_CONTENT if file is None else content_of.get(file, _NO_CONTENT)
        digest.update(f"{content} {images.name(position)}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def in_threads(function: Callable[[_Item], _Result], items: Iterable[_Item], progress: Progress) -> list[_Result]:
    """Return what ``function`` returns for each item, in their order; ``progress`` may end it between two chunks."""
    left = iter(items)
    results: list[_Result] = []
    with ThreadPoolExecutor(_THREADS, "mxml-sum") as pool:
        while chunk := list(itertools.islice(left, _AT_ONCE)):
            try:
                found: Iterable[_Result] = pool.map(function, chunk)
            except RuntimeError:  # where memory is scarce, no more threads start
                found = map(function, chunk)
            results += found
            progress.advance(len(chunk))
    return results


def _file(path: str) -> _File | None:
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return _File(status.st_dev, status.st_ino, status.st_size) if stat.S_ISREG(status.st_mode) else None


def _content(path_and_size: tuple[str, int]) -> str:
    path, left = path_and_size
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            while left and (block := file.read(min(left, _BLOCK_BYTES))):
                digest.update(block)
                left -= len(block)
    except OSError:
        return _NO_CONTENT
    return digest.hexdigest()
