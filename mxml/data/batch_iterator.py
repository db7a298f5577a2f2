"""What ``Batches`` and ``ImageIter`` share: epochs of batches for MXNet's Module, loaded by threads ahead of use."""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any, TypeVar

import numpy as np

from mxml.data.loading import Job, LoadingPool
from mxml.data.row_loader import RowLoader
from mxml.data.sampling import BatchRows, Sampler
from mxml.errors import ImageError, MxmlError, SettingError, TrainingError
from mxml.images.network_input import Transform
from mxml.runtime.imports import load_mxnet
from mxml.runtime.types import DataBatch, DataDesc
from mxml.text import counted

mx = load_mxnet()

LAST_BATCHES = ("pad", "discard", "roll_over")

_SHOWN_BAD = 3

Self = TypeVar("Self", bound="BatchIterator")


@dataclass(frozen=True)
class BadImage:
    """An image that could not be read.

    Attributes
    ----------
    position : int
        Its position in the list, from 0.
    path : str
        Its path, or another name for messages.
    reason : str
        Why it could not be read.
    """

    position: int
    path: str
    reason: str


def too_many_bad(bad: Sequence[BadImage], count: int, max_bad_share: float) -> str:
    """Say that of ``count`` images more are ``bad`` than training allows, and name the first."""
    named = "; ".join(f"{image.path}: {image.reason}" for image in bad[:_SHOWN_BAD])
    more = "; ..." if len(bad) > _SHOWN_BAD else ""
    return (
        f"{len(bad):,} of {counted(count, 'image')} cannot be read, more than the {max_bad_share:g} that "
        f"`max_bad_share` allows: {named}{more}; repair them or leave them out"
    )


@dataclass(frozen=True)
class Loading:
    """How images are loaded; the settings that every iterator has."""

    threads: int | None = None
    prefetch: int = 2
    bad_images: str = "skip"
    max_bad_share: float = 0.05

    def __post_init__(self) -> None:
        require("threads", self.threads, self.threads is None or self.threads >= 1, "at least 1")
        require("prefetch", self.prefetch, self.prefetch >= 0, "at least 0")
        require("bad_images", self.bad_images, self.bad_images in ("skip", "error", "report"), "skip, error or report")
        require("max_bad_share", self.max_bad_share, 0 <= self.max_bad_share <= 1, "from 0 to 1")


class BatchIterator(mx.io.DataIter):  # type: ignore[name-defined]
    """Iterate over batches of images, epoch after epoch; what the labels are, subclasses say."""

    def __init__(
        self,
        count: int,
        loader: RowLoader,
        sampler: Sampler,
        provide_data: DataDesc,
        provide_label: Sequence[DataDesc],
        loading: Loading,
        spare_rows: int = 0,
    ):
        batch_size, *shape = provide_data.shape
        super().__init__(batch_size)
        self.provide_data = [provide_data]
        self.provide_label = list(provide_label)
        self._count = count
        self._loader = loader
        self._sampler = sampler
        self._loading = loading
        self._bad: dict[int, BadImage] = {}
        # Behind a batch's own rows there is room for those that are only mixed into them.
        self._pool = LoadingPool((batch_size + spare_rows, *shape), loading.threads, keep=loading.prefetch + 2)
        self._jobs: deque[tuple[BatchRows, Job[Any]]] = deque()
        self._closed = False
        if not sampler.num_batches(0):
            raise MxmlError(f"{count} images make no full batch of {batch_size} for every worker")
        self.set_epoch(0)

    @property
    def epoch(self) -> int:
        """Return the epoch that ``next`` reads from."""
        return self._epoch

    @property
    def num_batches(self) -> int:
        """Return how many batches this epoch has."""
        return self._sampler.num_batches(self._epoch)

    @property
    def bad(self) -> tuple[BadImage, ...]:
        """Return the unreadable images of all batches returned so far, by position."""
        return tuple(self._bad[position] for position in sorted(self._bad))

    def set_epoch(self, epoch: int, first_batch: int = 0) -> None:
        """Go to a batch of an epoch. The batches that follow are the same as without the jump.

        Parameters
        ----------
        epoch : int
            The epoch, from 0.
        first_batch : int
            The batch that ``next`` returns, from 0; ``num_batches`` for the epoch's end.

        Raises
        ------
        ValueError
            For an epoch below 0, or a batch that the epoch does not have.
        """
        if epoch < 0 or not 0 <= first_batch <= self._sampler.num_batches(epoch):
            count = self._sampler.num_batches(max(0, epoch))
            raise ValueError(f"epoch {epoch}, batch {first_batch}: the epoch has {count} batches")
        self._drop_jobs()
        self._epoch = epoch
        self._next_batch = self._next_job = first_batch

    def reset(self) -> None:
        """Go to the beginning of the next epoch."""
        self.set_epoch(self._epoch + 1)

    def next(self) -> DataBatch:
        """Return the next batch.

        Returns
        -------
        mx.io.DataBatch
            With ``data``, ``label``, ``pad`` and ``index``, as the class describes.

        Raises
        ------
        StopIteration
            After the epoch's last batch; ``reset`` begins the next epoch.
        ImageError
            With ``bad_images='error'``, for the batch's first image that cannot be read.
        TrainingError
            With ``bad_images='skip'``, as soon as more than ``max_bad_share`` of the images cannot be read.
        """
        if self._closed:
            raise ValueError(f"this {type(self).__name__} is closed")
        num_batches = self.num_batches
        if self._next_batch >= num_batches:
            raise StopIteration
        while self._next_job < min(num_batches, self._next_batch + 1 + self._loading.prefetch):
            self._jobs.append(self._start_job(self._next_job))
            self._next_job += 1
        rows, job = self._jobs[0]
        job.wait()  # an interrupt here leaves the job where it was
        self._jobs.popleft()
        self._next_batch += 1
        try:
            loaded = job.results()
            faults = {row: fault for row, fault in zip(self._loaded(rows), loaded) if isinstance(fault, ImageError)}
            self._note(rows, faults)
            self._loader.finish(loaded, job.data)
        except BaseException:
            self._pool.give_back(job.data)
            raise
        size = self.batch_size
        own = {row: fault for row, fault in faults.items() if row < size}
        shown = _fill_gaps(job.data[:size], rows.distinct, own, copy=self._loading.bad_images == "skip")
        labels = self._labels(rows, own, shown)
        self._mix(rows, job.data, labels, faults)
        return mx.io.DataBatch(
            [mx.nd.from_numpy(self._pool.lend(job.data, size))],
            [mx.nd.from_numpy(one) for one in labels],
            pad=self._pad(rows),
            index=rows.positions[:size],
        )

    def close(self) -> None:
        """End the threads. The iterator cannot be used afterwards; batches that it returned can."""
        self._closed = True
        self._drop_jobs()
        self._pool.close()

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @abstractmethod
    def _labels(self, rows: BatchRows, faults: dict[int, ImageError], shown: np.ndarray) -> list[np.ndarray]:
        """Return the batch's labels; ``shown`` says for each row of which row's image it shows."""

    def _rows(self, batch: int) -> BatchRows:
        """Return what a batch of this epoch holds."""
        return self._sampler.batch(self._epoch, batch)

    def _mix(self, rows: BatchRows, data: np.ndarray, labels: list[np.ndarray], faults: dict[int, ImageError]) -> None:
        """Change a batch in place, now that all of its rows are there."""

    def _pad(self, rows: BatchRows) -> int:
        return rows.pad

    def _start_job(self, batch: int) -> tuple[BatchRows, Job[Any]]:
        rows = self._rows(batch)
        draws = self._sampler.draws(rows, Transform.COLUMNS)
        load = partial(_load_row, self._loader, rows.positions.tolist(), draws)
        return rows, self._pool.start(load, self._loaded(rows))

    def _loaded(self, rows: BatchRows) -> list[int]:
        """Return the rows that are loaded: each image of the batch once, then those that are only mixed into others."""
        return [*range(rows.distinct), *range(self.batch_size, len(rows.positions))]

    def _drop_jobs(self) -> None:
        self._pool.drop([job for _, job in self._jobs])
        self._jobs.clear()

    def _note(self, rows: BatchRows, faults: dict[int, ImageError]) -> None:
        """Remember the batch's bad images; raise what ``bad_images`` says."""
        for row, fault in faults.items():
            position = int(rows.positions[row])
            self._bad.setdefault(position, BadImage(position, fault.path, fault.reason))
        if faults and self._loading.bad_images == "error":
            raise faults[min(faults)]
        if self._loading.bad_images == "skip" and len(self._bad) > self._loading.max_bad_share * self._count:
            raise TrainingError(too_many_bad(self.bad, self._count, self._loading.max_bad_share))


def require(setting: str, value: Any, holds: bool, wanted: str) -> None:
    """Raise SettingError unless ``holds``."""
    if not holds:
        raise SettingError(setting, value, wanted)


def _load_row(loader: RowLoader, positions: list[int], draws: np.ndarray, row: int, out: np.ndarray) -> Any:
    return loader.load(positions[row], draws[row], out)


def _fill_gaps(data: np.ndarray, distinct: int, faults: dict[int, ImageError], copy: bool) -> np.ndarray:
    """Fill the rows that could not be read, with the next readable row or zeros, and the rows that repeat others.

    Return for each row the one whose image it shows; rows of zeros stand for themselves.
    """
    readable = [row for row in range(distinct) if row not in faults]
    shown = np.arange(len(data)) % distinct
    for row in faults:
        if copy and readable:
            shown[row::distinct] = next((other for other in readable if other > row), readable[0])
        else:
            data[row] = 0
    for row in np.flatnonzero(shown != np.arange(len(shown))):
        data[row] = data[shown[row]]
    return shown
