"""Images whose number is not known in advance, as batches of network input, in their order."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Callable, NamedTuple, Union

import numpy as np

from mxml.data.image_sources import ImageContent, to_pixels
from mxml.data.loading import Job, LoadingPool
from mxml.errors import ImageError, SettingError
from mxml.images.decode import Limits, Pixels, read_file, reduced
from mxml.images.network_input import Transform
from mxml.images.transforms import Preprocess
from mxml.runtime.imports import load_cv2

cv2 = load_cv2()

AHEAD = 2
"""How many batches are made ahead of the one that is asked for."""

StreamContent = Union[ImageContent, Pixels]


class StreamItem(NamedTuple):
    """One image: what it is called, and its content.

    The content is the bytes of a file, RGB pixels, or a video's frame; None means that ``name`` is the path of its
    file; a function reads it in a decoding thread, which may wait there; an ImageError says why there is none. A frame
    of a video has the video's ``name``, its number ``frame`` from 0 and its time in ``seconds``.
    """

    name: str
    content: StreamContent | Callable[[Limits], StreamContent] | ImageError | None = None
    frame: int | None = None
    seconds: float | None = None

    @property
    def called(self) -> str:
        """Return what messages call the image."""
        return self.name if self.frame is None else f"{self.name}#{self.frame}"


class StreamBatch(NamedTuple):
    """Some images in a row: ``data`` (N, 3, H, W) float32, the items (N), and for each its ImageError or None.

    Rows of images that cannot be read hold zeros. ``data`` may be used again once the next batch was asked for.
    ``pixels`` has what was decoded, upright RGB (H', W', 3) uint8, where the caller asked to keep it, else None.
    ``views`` has the images as each preprocessing makes them, the first of them again as ``data``.
    """

    data: np.ndarray
    items: tuple[StreamItem, ...]
    faults: tuple[ImageError | None, ...]
    pixels: tuple[np.ndarray | None, ...]
    views: tuple[np.ndarray, ...]


def stream_batches(
    items: Iterable[StreamItem],
    preprocess: Preprocess,
    batch_size: int,
    *,
    threads: int | None = None,
    prefetch: int = AHEAD,
    limits: Limits | None = None,
    keep_pixels: bool = False,
    more_views: Sequence[Preprocess] = (),
) -> Generator[StreamBatch, None, None]:
    """Decode images in the order of ``items``, and yield them in batches; the last one may be smaller.

    ``items`` is read by the thread that asks for a batch, as far as ``prefetch`` batches ahead of it. With
    ``keep_pixels`` images are decoded once, at their full size, and nothing is made ahead: a batch of photographs
    may take a gigabyte. ``more_views`` are further preprocessings of each image, and what they make is what each of
    them makes alone. Closing the generator ends the threads; so does an error in ``items``, which is raised. ``items``
    that have a method ``close`` are closed before that, so that no thread waits for what they would read.
    """
    for setting, value, least in (("batch_size", batch_size, 1), ("prefetch", prefetch, 0)):
        if value < least:
            raise SettingError(setting, value, f"at least {least}")
    shown = (preprocess, *more_views)
    views = _Views(tuple(map(Transform, shown)), tuple(view.data_shape for view in shown))
    load = partial(_load, views, limits or Limits(), keep_pixels)
    ahead = 0 if keep_pixels else prefetch
    remaining = iter(items)
    pending: deque[tuple[tuple[StreamItem, ...], Job[np.ndarray | None]]] = deque()
    pool = LoadingPool((batch_size, views.size), threads, keep=ahead + 2)
    try:
        while True:
            while len(pending) <= ahead:
                chunk = tuple(islice(remaining, batch_size))
                if not chunk:
                    break
                pending.append((chunk, pool.start(partial(load, chunk), range(len(chunk)))))
            if not pending:
                return
            chunk, job = pending.popleft()
            yield _finish(chunk, job, views)
            pool.give_back(job.data)
    finally:
        for _, job in pending:
            job.cancel()
        for closed in (items, remaining):
            if hasattr(closed, "close"):
                closed.close()
        pool.close()


@dataclass(frozen=True)
class _Views:
    """How an image is written as one row of numbers: what each transform makes of it, one behind the other."""

    transforms: tuple[Transform, ...]
    shapes: tuple[tuple[int, int, int], ...]

    @property
    def size(self) -> int:
        return sum(map(math.prod, self.shapes))

    def of_rows(self, rows: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return the parts of rows (N, ``size``), each (N, 3, H, W)."""
        ends = np.cumsum([math.prod(shape) for shape in self.shapes])
        parts = np.split(rows, ends[:-1], axis=1)
        return tuple(part.reshape(len(rows), *shape) for part, shape in zip(parts, self.shapes))


def _load(
    views: _Views, limits: Limits, keep_pixels: bool, items: tuple[StreamItem, ...], row: int, out: np.ndarray
) -> np.ndarray | None:
    content = items[row].content
    if isinstance(content, ImageError):
        raise content
    if content is None:
        content = read_file(items[row].name, limits)
    elif callable(content):
        content = content(limits)
    if isinstance(content, Pixels):
        pixels = content
    else:
        wanted = (lambda *_: 1) if keep_pixels else views.transforms[0].reduction
        pixels = to_pixels(content, wanted, limits, items[row].called)
    sources = {pixels.reduction: pixels}
    for transform, part in zip(views.transforms, views.of_rows(out[np.newaxis])):
        plan = transform.plan(*pixels.size)
        if not isinstance(content, Pixels) and not keep_pixels and plan.reduction not in sources:
            # A JPEG's decoder makes other pixels than means of blocks.
            sources[plan.reduction] = to_pixels(content, transform.reduction, limits, items[row].called)
        source = sources.get(plan.reduction, pixels)
        transform.write(reduced(source.bgr, plan.reduction // source.reduction), plan, part[0])
    return cv2.cvtColor(pixels.bgr, cv2.COLOR_BGR2RGB) if keep_pixels else None


def _finish(items: tuple[StreamItem, ...], job: Job[np.ndarray | None], views: _Views) -> StreamBatch:
    faults: list[ImageError | None] = []
    pixels: list[np.ndarray | None] = []
    for row, result in enumerate(job.results()):
        fault = result if isinstance(result, ImageError) else None
        if fault is not None:
            job.data[row] = 0
        faults.append(fault)
        pixels.append(None if isinstance(result, ImageError) else result)
    shown = views.of_rows(job.data[: len(items)])
    return StreamBatch(shown[0], items, tuple(faults), tuple(pixels), shown)
