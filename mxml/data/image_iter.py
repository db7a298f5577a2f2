"""``ImageIter``: batches from image files for MXNet's Module, decoded by threads ahead of their use."""

from __future__ import annotations

import contextlib
import os
import weakref
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

import numpy as np

from mxml.data import sampling
from mxml.data.image_cache import CachedImage, ImageCache
from mxml.data.image_list import ImageList
from mxml.data.lst_file import read_lst
from mxml.errors import ImageError, ListError, MxmlError, TrainingError
from mxml.images.decode import Limits, decode, read_file, read_header
from mxml.images.network_input import Transform
from mxml.images.transforms import RGB_MEAN, RGB_STD, Augment, Preprocess
from mxml.runtime.imports import load_mxnet
from mxml.runtime.threads import physical_cores

mx = load_mxnet()

# Rows that a thread takes at once: few enough that all threads finish a batch together, enough to hide the hand-over.
_ROWS_A_TASK = 8
_LABEL_TYPES = ("float32", "int32", "int64", "float64")
_INTERPOLATION_NUMBERS = {1: "linear", 2: "cubic", 3: "area"}
_SHOWN_BAD = 3


@dataclass(frozen=True)
class BadImage:
    """An image that could not be read: its position in the list, its path, and why."""

    position: int
    path: str
    reason: str


class ImageIter(mx.io.DataIter):  # type: ignore[name-defined]
    """Iterate over batches of a list of image files; stands in for ``mx.image.ImageIter``.

    The positional arguments, up to ``inter_method``, are those of ``mx.image.ImageIter`` and its CreateAugmenter and
    mean the same; record files, ``aug_list``, ``last_batch_handle='roll_over'`` and interpolations other than 1, 2
    and 3 are refused with an MxmlError. ``images`` takes an ImageList instead of a file or list of rows,
    ``preprocess`` and ``augment`` take the values that those arguments otherwise make. ``resize=0`` crops images as
    they are.

    A batch holds ``data`` (batch_size, 3, H, W) float32, ``label`` (batch_size, C) of ``dtype``, ``pad``, the number
    of rows at its end that repeat earlier images to fill it up, and ``index``, each row's position in the list. It
    never changes once it is returned.

    With ``images``, labels always have two axes, and rows that are to count for nothing have the label -1 throughout.
    Without, they are MXNet's, since other losses know no -1: (batch_size,) with ``label_width`` 1, and each row has
    the label of the image that it shows.

    ``seed``, the epoch and an image's position decide on shuffling and augmentation, nothing else does. ``reset``
    goes on to the next epoch; ``set_epoch`` to any place. Of ``num_parts`` workers, each visits its share of the
    epoch's common order and all have the same number of batches.

    ``threads`` decode (default: physical cores), ``prefetch`` batches ahead. ``cache_bytes`` is the memory in which
    decoded images may be kept for later epochs. ``limits`` bounds single images.

    ``bad_images`` says what an unreadable image does: ``skip``, for training, fills its row with another image of the
    batch, to count for nothing as padded rows then do; once more than ``max_bad_share`` of the list is unreadable, a
    TrainingError names some. ``error`` raises its ImageError. ``report`` leaves zeros, to count for nothing. ``bad``
    lists those met.
    """

    def __init__(
        self,
        batch_size: int,
        data_shape: Sequence[int] | None = None,
        label_width: int | None = None,
        path_imgrec: str | None = None,
        path_imglist: str | os.PathLike[str] | None = None,
        path_root: str | os.PathLike[str] | None = None,
        path_imgidx: str | None = None,
        shuffle: bool = False,
        part_index: int = 0,
        num_parts: int = 1,
        aug_list: Any = None,
        imglist: list[Any] | None = None,
        data_name: str = "data",
        label_name: str = "softmax_label",
        dtype: str = "float32",
        last_batch_handle: str = "pad",
        resize: int = 0,
        rand_crop: bool = False,
        rand_resize: bool = False,
        rand_mirror: bool = False,
        mean: Any = None,
        std: Any = None,
        brightness: float = 0,
        contrast: float = 0,
        saturation: float = 0,
        hue: float = 0,
        pca_noise: float = 0,
        rand_gray: float = 0,
        inter_method: int = 2,
        *,
        images: ImageList | None = None,
        preprocess: Preprocess | None = None,
        augment: Augment | None = None,
        seed: int = 0,
        threads: int | None = None,
        prefetch: int = 2,
        bad_images: str = "skip",
        max_bad_share: float = 0.05,
        cache_bytes: int = 0,
        limits: Limits | None = None,
    ):
        super().__init__(batch_size)
        for name, value in (("path_imgrec", path_imgrec), ("path_imgidx", path_imgidx), ("aug_list", aug_list)):
            if value is not None:
                raise MxmlError(f"{name} is not supported: mxml.ImageIter reads image files and augments by itself")
        _check("batch_size", batch_size, batch_size >= 1, "at least 1")
        _check("num_parts", num_parts, num_parts >= 1, "at least 1")
        _check("part_index", part_index, 0 <= part_index < num_parts, f"from 0 to {num_parts - 1}")
        _check("dtype", dtype, dtype in _LABEL_TYPES, " or ".join(_LABEL_TYPES))
        _check("last_batch_handle", last_batch_handle, last_batch_handle in ("pad", "discard"), "'pad' or 'discard'")
        _check("threads", threads, threads is None or threads >= 1, "at least 1")
        _check("prefetch", prefetch, prefetch >= 0, "at least 0")
        _check("bad_images", bad_images, bad_images in ("skip", "error", "report"), "'skip', 'error' or 'report'")
        _check("max_bad_share", max_bad_share, 0 <= max_bad_share <= 1, "from 0 to 1")
        _check("cache_bytes", cache_bytes, cache_bytes >= 0, "at least 0")

        if preprocess is None:
            preprocess = _preprocess(data_shape, resize, mean, std, inter_method)
        elif resize or mean is not None or std is not None or inter_method != 2:
            raise MxmlError("preprocess already says what resize, mean, std and inter_method would; give either")
        elif data_shape is not None and tuple(data_shape) != preprocess.data_shape:
            raise MxmlError(f"data_shape is {tuple(data_shape)}, but preprocess makes {preprocess.data_shape}")
        asked = _augment(
            rand_crop, rand_resize, rand_mirror, brightness, contrast, saturation, hue, pca_noise, rand_gray
        )
        if augment is not None and asked != Augment():
            raise MxmlError("augment already says what rand_crop, rand_mirror and the like would; give either")
        self.preprocess = preprocess
        self.augment = augment or asked

        self.images = _images(images, path_imglist, path_root, imglist, label_width)
        if not len(self.images):
            raise ListError(f"{path_imglist or 'the image list'} holds no images")
        classes = self.images.num_classes
        if label_width is not None and label_width != classes:
            raise MxmlError(f"label_width is {label_width}, but the list has {classes} labels an image")
        self._masks = images is not None
        self._label_shape = (classes,) if self._masks or classes > 1 else ()
        self.data_shape = preprocess.data_shape
        self.provide_data = [mx.io.DataDesc(data_name, (batch_size, *self.data_shape), np.float32)]
        self.provide_label = [mx.io.DataDesc(label_name, (batch_size, *self._label_shape), np.dtype(dtype).type)]

        self.shuffle = shuffle
        self.seed = seed
        self.num_batches = sampling.num_batches(len(self.images), batch_size, num_parts, last_batch_handle == "discard")
        if not self.num_batches:
            raise MxmlError(f"{len(self.images)} images make no full batch of {batch_size} for {num_parts} workers")
        self._shard = sampling.shard_bounds(len(self.images), part_index, num_parts)
        self._bad_images = bad_images
        self._max_bad_share = max_bad_share
        self._bad: dict[int, BadImage] = {}

        self._loader = _Loader(
            self.images, Transform(preprocess, self.augment), limits or Limits(), ImageCache(cache_bytes)
        )
        self._buffers = _Buffers((batch_size, *self.data_shape), keep=prefetch + 2)
        self._prefetch = prefetch
        self._threads = threads or physical_cores()
        self._pool: ThreadPoolExecutor | None = None
        self._jobs: deque[_Job] = deque()
        self._closed = False
        self.set_epoch(0)

    @property
    def epoch(self) -> int:
        """Return the epoch that ``next`` reads from."""
        return self._epoch

    @property
    def bad(self) -> tuple[BadImage, ...]:
        """Return the unreadable images of all batches returned so far, by position."""
        return tuple(self._bad[position] for position in sorted(self._bad))

    def set_epoch(self, epoch: int, first_batch: int = 0) -> None:
        """Go to batch ``first_batch`` of ``epoch``; what follows is the same however one came there."""
        if epoch < 0 or not 0 <= first_batch <= self.num_batches:
            raise ValueError(f"epoch {epoch}, batch {first_batch}: an epoch has {self.num_batches} batches")
        self._drop_jobs()
        self._epoch = epoch
        self._next_batch = self._next_job = first_batch
        order = sampling.epoch_order(len(self.images), self.seed, epoch, self.shuffle)
        # A list shorter than the number of workers leaves some without images; they pad with the first.
        self._order = order[slice(*self._shard)]
        self._padding = self._order if len(self._order) else order[:1]

    def reset(self) -> None:
        """Go to the beginning of the next epoch."""
        self.set_epoch(self._epoch + 1)

    def next(self) -> Any:
        """Return the next DataBatch; raises StopIteration after the last, and what ``bad_images`` says."""
        if self._closed:
            raise ValueError("this ImageIter is closed")
        if self._next_batch >= self.num_batches:
            raise StopIteration
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._threads, "mxml-decode")
        while self._next_job < min(self.num_batches, self._next_batch + 1 + self._prefetch):
            self._jobs.append(self._start_job(self._next_job))
            self._next_job += 1
        job = self._jobs[0]
        wait(job.tasks)
        self._jobs.popleft()
        self._next_batch += 1
        faults = dict(fault for task in job.tasks for fault in task.result())
        return self._finish(job, faults)

    def close(self) -> None:
        """End the threads; the iterator cannot be used afterwards, batches that it returned can."""
        self._closed = True
        self._drop_jobs()
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None

    def __enter__(self) -> ImageIter:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def __del__(self) -> None:
        # The pool's threads do not hold on to this object; without it they finish what they have and end.
        pool = getattr(self, "_pool", None)
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)

    def _drop_jobs(self) -> None:
        for job in self._jobs:
            for task in job.tasks:
                task.cancel()
        for job in self._jobs:
            wait(job.tasks)  # a task that is running still writes into the buffer
            self._buffers.give_back(job.data)
        self._jobs.clear()

    def _start_job(self, batch: int) -> _Job:
        first, size = batch * self.batch_size, len(self._order)
        positions = self._padding[np.arange(first, first + self.batch_size) % len(self._padding)]
        pad = self.batch_size - min(self.batch_size, max(0, size - first))
        distinct = min(self.batch_size, len(self._padding))
        draws = sampling.uniforms(self.seed, self._epoch, positions[:distinct], Transform.COLUMNS)
        data = self._buffers.take()
        assert self._pool is not None
        tasks = [
            self._pool.submit(_fill, self._loader, positions, draws, data, start, min(start + _ROWS_A_TASK, distinct))
            for start in range(0, distinct, _ROWS_A_TASK)
        ]
        return _Job(positions, pad, distinct, data, tasks)

    def _finish(self, job: _Job, faults: dict[int, ImageError]) -> Any:
        for row, fault in sorted(faults.items()):
            position = int(job.positions[row])
            self._bad.setdefault(position, BadImage(position, fault.path, fault.reason))
        if faults and self._bad_images == "error":
            self._buffers.give_back(job.data)
            raise faults[min(faults)]
        if self._bad_images == "skip" and len(self._bad) > self._max_bad_share * len(self.images):
            self._buffers.give_back(job.data)
            raise TrainingError(self._too_many_bad())
        shown = _fill_gaps(job, faults, copy=self._bad_images == "skip")
        labels = self._labels(job, faults, shown)
        return mx.io.DataBatch(
            [self._buffers.hand_over(job.data)],
            [mx.nd.from_numpy(labels)],
            pad=job.pad,
            index=job.positions,
        )

    def _labels(self, job: _Job, faults: dict[int, ImageError], shown: np.ndarray) -> np.ndarray:
        labels = self.images.labels[job.positions[shown]].astype(self.provide_label[0].dtype)
        if self._masks:
            for row in faults:
                labels[row :: job.distinct] = -1
            if self._bad_images == "skip" and job.pad:
                labels[-job.pad :] = -1
        return labels.reshape(self.batch_size, *self._label_shape)

    def _too_many_bad(self) -> str:
        named = "; ".join(f"{bad.path}: {bad.reason}" for bad in self.bad[:_SHOWN_BAD])
        more = "; ..." if len(self._bad) > _SHOWN_BAD else ""
        return (
            f"{len(self._bad)} of {len(self.images)} images cannot be read, more than the {self._max_bad_share:.3g} "
            f"allowed (max_bad_share): {named}{more}; mend them or take them out of the list"
        )


@dataclass(frozen=True, eq=False)
class _Job:
    """A batch in the making; rows from ``distinct`` on repeat the ones before."""

    positions: np.ndarray
    pad: int
    distinct: int
    data: np.ndarray
    tasks: Sequence[Future[list[tuple[int, ImageError]]]]


class _Loader:
    """Brings one image into one row of a batch; shared by the threads."""

    def __init__(self, images: ImageList, transform: Transform, limits: Limits, cache: ImageCache):
        self._images = images
        self._transform = transform
        self._limits = limits
        self._cache = cache

    def load(self, position: int, draws: np.ndarray, out: np.ndarray) -> None:
        cached = self._cache.get(position)
        if cached is not None:
            plan = self._transform.plan(*cached.size, draws)
            if plan.reduction == cached.reduction:
                self._transform.write(cached.pixels, plan, out)
                return
        path = self._images.path(position)
        data = read_file(path, self._limits)
        header = read_header(data, path)
        plan = self._transform.plan(*header.shown_size, draws)
        pixels = decode(data, channels="bgr", reduction=plan.reduction, limits=self._limits, header=header, path=path)
        self._cache.put(position, CachedImage(header.shown_size, plan.reduction, pixels))
        self._transform.write(pixels, plan, out)


def _fill(
    loader: _Loader, positions: np.ndarray, draws: np.ndarray, data: np.ndarray, start: int, stop: int
) -> list[tuple[int, ImageError]]:
    """Load some rows of a batch; return the rows that could not be, and why."""
    faults = []
    for row in range(start, stop):
        try:
            loader.load(int(positions[row]), draws[row], data[row])
        except ImageError as error:
            # The traceback would keep this frame, and with it the buffer, alive.
            faults.append((row, error.with_traceback(None)))
    return faults


def _fill_gaps(job: _Job, faults: dict[int, ImageError], copy: bool) -> np.ndarray:
    """Fill the rows that could not be read, with the next readable row or zeros, and the rows that repeat others.

    Return for each row the one whose image it shows; rows of zeros stand for themselves.
    """
    readable = [row for row in range(job.distinct) if row not in faults]
    shown = np.arange(len(job.data)) % job.distinct
    for row in faults:
        if copy and readable:
            shown[row :: job.distinct] = next((other for other in readable if other > row), readable[0])
        else:
            job.data[row] = 0
    for row in np.flatnonzero(shown != np.arange(len(shown))):
        job.data[row] = job.data[shown[row]]
    return shown


class _Buffers:
    """Memory for batches, used again once no one can see what was in it.

    A batch is handed to MXNet without copying. MXNet lets go of the memory when the last NDArray that shares it, also
    one that a pending operation holds, is gone; only then does it come back here.
    """

    def __init__(self, shape: tuple[int, ...], keep: int):
        self._shape = shape
        self._free: deque[np.ndarray] = deque(maxlen=keep)

    def take(self) -> np.ndarray:
        with contextlib.suppress(IndexError):
            return self._free.pop()
        return np.empty(self._shape, np.float32)

    def give_back(self, buffer: np.ndarray) -> None:
        self._free.append(buffer)

    def hand_over(self, buffer: np.ndarray) -> Any:
        shared = buffer.view()
        weakref.finalize(shared, self._free.append, buffer).atexit = False
        return mx.nd.from_numpy(shared)


def _check(name: str, value: Any, holds: bool, wanted: str) -> None:
    if not holds:
        raise MxmlError(f"{name} is {value!r}; it should be {wanted}")


def _images(
    images: ImageList | None,
    path_imglist: str | os.PathLike[str] | None,
    path_root: str | os.PathLike[str] | None,
    imglist: list[Any] | None,
    label_width: int | None,
) -> ImageList:
    given = [value for value in (images, path_imglist, imglist) if value is not None]
    if len(given) != 1:
        raise MxmlError("give the images by one of images, path_imglist and imglist")
    if images is not None:
        if path_root is not None:
            raise MxmlError("images already holds its root; leave path_root out")
        return images
    root = os.fspath(path_root) if path_root is not None else ""
    if path_imglist is not None:
        return read_lst(path_imglist, root, label_width, any_values=True)
    assert imglist is not None
    return ImageList.from_rows([row[-1] for row in imglist], list(_label_rows(imglist)), root)


def _label_rows(rows: Sequence[Sequence[Any]]) -> Iterator[np.ndarray]:
    """Give the labels of rows that are (label, ..., path) or (labels, path)."""
    width = None
    for number, row in enumerate(rows):
        labels = np.atleast_1d(np.asarray(row[:-1] if len(row) > 2 else row[0], np.float32))
        width = width or labels.shape
        if labels.ndim != 1 or labels.shape != width:
            raise ListError(f"imglist row {number} ({row[-1]}) has other labels than the first row")
        yield labels


def _preprocess(data_shape: Sequence[int] | None, resize: int, mean: Any, std: Any, inter_method: int) -> Preprocess:
    if data_shape is None or len(data_shape) != 3 or data_shape[0] != 3:
        raise MxmlError(f"data_shape is {data_shape!r}; it should be (3, height, width)")
    if inter_method not in _INTERPOLATION_NUMBERS:
        raise MxmlError(f"inter_method is {inter_method!r}; mxml.ImageIter knows 1 (linear), 2 (cubic) and 3 (area)")
    return Preprocess(
        size=(data_shape[1], data_shape[2]),
        short_side=resize or None,
        mean=_three(mean, RGB_MEAN, 0.0),
        std=_three(std, RGB_STD, 1.0),
        interpolation=_INTERPOLATION_NUMBERS[inter_method],
    )


def _three(given: Any, usual: tuple[float, float, float], none: float) -> Any:
    """Turn CreateAugmenter's mean or std (True, None, or an array of one or three) into three numbers."""
    if given is True:
        return usual
    if given is None:
        return (none,) * 3
    values = given.asnumpy() if isinstance(given, mx.nd.NDArray) else np.asarray(given)
    return tuple(float(value) for value in values.ravel()) * (3 if values.size == 1 else 1)


def _augment(rand_crop: bool, rand_resize: bool, rand_mirror: bool, *colour: float) -> Augment:
    if rand_resize and not rand_crop:
        raise MxmlError("rand_resize needs rand_crop")
    smallest = 0.08 if rand_resize else None  # CreateAugmenter's
    return Augment(bool(rand_crop), smallest, bool(rand_mirror), *colour)
