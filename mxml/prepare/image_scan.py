"""The images of a list: which can be read, their sizes, and hashes that find copies."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import numpy as np

from mxml.data.image_list import ImageList
from mxml.data.image_sources import ImageFiles, ImageSource
from mxml.errors import ImageError
from mxml.images.decode import Limits, decode_reduced, largest_reduction
from mxml.images.perceptual_hash import BITS, ENOUGH_PIXELS, GRID_CELLS, colour_grid, perceptual_hash
from mxml.progress import SILENT, Progress
from mxml.runtime.threads import physical_cores

__all__ = ["ImageFault", "ImageScan", "scan_images"]

DIGEST_BYTES = 16

_DAMAGED = "damaged"
_ROWS_A_TASK = 64
_TASKS_A_THREAD = 4  # waiting ones included
_DEFAULT_LIMITS = Limits()


class ImageFault(NamedTuple):
    """A fault of an image: its position in the list, ``ImageError``'s kind of fault or ``damaged``, and why."""

    position: int
    kind: str
    reason: str


@dataclass(frozen=True, eq=False)
class ImageScan:
    """The N images of a list, column by column, one row per image, in the list's order.

    ``readable`` (N,) bool says which images training can read; ``faults`` says why the others cannot be read.
    ``damages`` names images that can be decoded although their data are damaged.
    ``width`` and ``height`` (N,) int32 are pixels as shown, 0 where unreadable. ``animated`` (N,) bool marks those of
    which only the first of several frames or pages is used.
    ``size`` (N,) int64 is the length of the file in bytes, 0 where it could not be opened. ``digest`` (N, 16) uint8 is
    the BLAKE2b hash of its bytes, ``phash`` (N, 32) uint8 what ``perceptual_hash`` gives, ``colour`` (N, 48) uint8 what
    ``colour_grid`` gives; these are zeros where unreadable.
    """

    faults: tuple[ImageFault, ...]
    damages: tuple[ImageFault, ...]
    readable: np.ndarray
    width: np.ndarray
    height: np.ndarray
    size: np.ndarray
    animated: np.ndarray
    digest: np.ndarray
    phash: np.ndarray
    colour: np.ndarray

    def __len__(self) -> int:
        return len(self.readable)

    def select(self, positions: Any) -> ImageScan:
        """Return the rows at ``positions``, in that order."""
        chosen = np.asarray(positions, dtype=np.int64)
        rows_of: dict[int, list[int]] = {}
        for row, position in enumerate(chosen.tolist()):
            rows_of.setdefault(position, []).append(row)
        faults, damages = (
            tuple(sorted(fault._replace(position=row) for fault in some for row in rows_of.get(fault.position, ())))
            for some in (self.faults, self.damages)
        )
        columns = (getattr(self, field.name) for field in fields(self) if field.name not in ("faults", "damages"))
        return ImageScan(faults, damages, *(column[chosen] for column in columns))


def scan_images(
    images: ImageList | ImageSource,
    *,
    threads: int | None = None,
    limits: Limits = _DEFAULT_LIMITS,
    progress: Progress = SILENT,
) -> ImageScan:
    """Open every image of a list, or of a source of files, as training does, each path once, and decode all of it.

    ``threads`` (default: physical cores) work at once; no decoded image is kept. ``limits`` bounds single images.
    ``progress`` is told from this thread, a few dozen images at a time.
    An image that cannot be read is not an error but one of ``faults``; a JPEG that is damaged inside decodes with its
    damage, as it does in training, and is one of ``damages``.
    """
    source = ImageFiles(images) if isinstance(images, ImageList) else images
    first_rows = _first_rows(source)
    distinct = np.unique(first_rows)
    scan = _empty_scan(len(images))
    found: list[ImageFault] = []
    progress.start(len(images), "opening images")
    with closing(_run(_Scanner(source, limits, scan), distinct, threads or physical_cores())) as results:
        for done, some in results:
            found += some
            progress.advance(done)
    scan = replace(
        scan,
        faults=tuple(fault for fault in found if fault.kind != _DAMAGED),
        damages=tuple(fault for fault in found if fault.kind == _DAMAGED),
    )
    if len(distinct) == len(images):
        return scan
    progress.advance(len(images) - len(distinct))
    return scan.select(first_rows)


def _first_rows(source: ImageSource) -> np.ndarray:
    """Return for each image the first row that has its path."""
    first: dict[str, int] = {}
    return np.array([first.setdefault(source.name(row), row) for row in range(len(source))], np.int64)


def _empty_scan(count: int) -> ImageScan:
    return ImageScan(
        faults=(),
        damages=(),
        readable=np.zeros(count, bool),
        width=np.zeros(count, np.int32),
        height=np.zeros(count, np.int32),
        size=np.zeros(count, np.int64),
        animated=np.zeros(count, bool),
        digest=np.zeros((count, DIGEST_BYTES), np.uint8),
        phash=np.zeros((count, BITS // 8), np.uint8),
        colour=np.zeros((count, GRID_CELLS * 3), np.uint8),
    )


def _run(scanner: _Scanner, rows: np.ndarray, threads: int) -> Generator[tuple[int, list[ImageFault]], None, None]:
    """Let threads scan the rows, some at a time; yield in their order how many are done, and their faults."""
    tasks: deque[tuple[int, Future[list[ImageFault]]]] = deque()
    with ThreadPoolExecutor(threads, "mxml-scan") as pool:
        try:
            for start in range(0, len(rows), _ROWS_A_TASK):
                some = rows[start : start + _ROWS_A_TASK].tolist()
                tasks.append((len(some), pool.submit(scanner.scan, some)))
                if len(tasks) >= threads * _TASKS_A_THREAD:
                    yield _result(tasks)
            while tasks:
                yield _result(tasks)
        finally:  # after Ctrl-C, threads end with the image that they are at
            scanner.stopped = True
            pool.shutdown(cancel_futures=True)


def _result(tasks: deque[tuple[int, Future[list[ImageFault]]]]) -> tuple[int, list[ImageFault]]:
    count, task = tasks.popleft()
    return count, task.result()


class _Scanner:
    """Writes what images are into their rows of a scan; shared by the threads, each with rows of its own."""

    def __init__(self, source: ImageSource, limits: Limits, scan: ImageScan):
        self.stopped = False
        self._source = source
        self._limits = limits
        self._scan = scan

    def scan(self, rows: list[int]) -> list[ImageFault]:
        """Fill the rows; return the faults of the images that cannot be read, and of those that are damaged."""
        faults = []
        for row in rows:
            if self.stopped:
                break
            try:
                damage = self._fill(row)
                if damage:
                    faults.append(ImageFault(row, _DAMAGED, damage))
            except ImageError as error:
                faults.append(ImageFault(row, error.kind, error.reason))
        return faults

    def _fill(self, row: int) -> str | None:
        """Fill one row; return what is damaged inside."""
        scan, path = self._scan, self._source.name(row)
        data = self._source.read(row, self._limits)
        assert isinstance(data, bytes), "what is scanned are files"
        scan.size[row] = len(data)
        pixels = decode_reduced(data, _reduction, limits=self._limits, path=path)
        scan.phash[row] = perceptual_hash(pixels.bgr)
        scan.colour[row] = colour_grid(pixels.bgr)
        scan.digest[row] = np.frombuffer(hashlib.blake2b(data, digest_size=DIGEST_BYTES).digest(), np.uint8)
        scan.width[row], scan.height[row] = pixels.size
        scan.animated[row] = pixels.animated
        scan.readable[row] = True
        return pixels.damage


def _reduction(width: int, height: int) -> int:
    """Return the most that leaves a picture enough pixels for its hash."""
    return largest_reduction(min(width, height) / ENOUGH_PIXELS)
