"""The threads that fill batches ahead of their use, and the memory that they fill."""

from __future__ import annotations

import contextlib
import weakref
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Callable, Generic, TypeVar

import numpy as np

from mxml.errors import ImageError
from mxml.runtime.threads import physical_cores

Loaded = TypeVar("Loaded")

# Rows that a thread takes at once: few enough that all threads finish a batch together, enough to hide the hand-over.
_ROWS_PER_TASK = 8


class Job(Generic[Loaded]):
    """A batch in the making: ``data`` is what its rows are written into."""

    def __init__(self, data: np.ndarray, tasks: Sequence[Future[list[Loaded | ImageError]]]):
        self.data = data
        self._tasks = tasks

    def results(self) -> list[Loaded | ImageError]:
        """Wait for all rows; return for each what loading it returned, or its ImageError. Raises other errors."""
        self.wait()
        return [result for task in self._tasks for result in task.result()]

    def cancel(self) -> None:
        """Keep the rows that no thread has begun from being loaded."""
        for task in self._tasks:
            task.cancel()

    def wait(self) -> None:
        """Wait until no thread writes into ``data``."""
        wait(self._tasks)


class LoadingPool:
    """Threads, and batches of ``shape`` for them to fill; at most ``keep`` of those are kept to be used again."""

    def __init__(self, shape: Sequence[int], threads: int | None, keep: int):
        self._shape = tuple(shape)
        self._threads = threads or physical_cores()
        self._free: deque[np.ndarray] = deque(maxlen=keep)
        self._executor: ThreadPoolExecutor | None = None

    def start(self, load: Callable[[int, np.ndarray], Loaded], rows: Sequence[int]) -> Job[Loaded]:
        """Let the threads call ``load(row, out)`` for these rows of a batch; the results come in their order."""
        if self._executor is None:
            self._executor = ThreadPoolExecutor(self._threads, "mxml-decode")
        data = self._take()
        tasks = [
            self._executor.submit(_load_rows, load, data, rows[first : first + _ROWS_PER_TASK])
            for first in range(0, len(rows), _ROWS_PER_TASK)
        ]
        return Job(data, tasks)

    def drop(self, jobs: Sequence[Job[Loaded]]) -> None:
        """Give up batches in the making."""
        for job in jobs:
            job.cancel()
        for job in jobs:
            job.wait()
            self.give_back(job.data)

    def give_back(self, data: np.ndarray) -> None:
        """Take the memory of a batch that no one looks at any more."""
        self._free.append(data)

    def lend(self, data: np.ndarray, rows: int) -> np.ndarray:
        """Return a batch's first rows as an array whose memory comes back by itself once that array is gone.

        MXNet shares it without copying, and lets go of it when the last NDArray that shows it, also one that a pending
        operation holds, is gone. Slices of the array do not keep it.
        """
        shared = data[:rows]
        weakref.finalize(shared, self._free.append, data).atexit = False
        return shared

    def close(self) -> None:
        """Wait for the threads and end them."""
        if self._executor is not None:
            self._executor.shutdown(cancel_futures=True)
            self._executor = None

    def __del__(self) -> None:
        # The threads do not hold on to this object; without it they finish what they have and end.
        executor = getattr(self, "_executor", None)
        if executor is not None:
            executor.shutdown(wait=False, cancel_futures=True)

    def _take(self) -> np.ndarray:
        with contextlib.suppress(IndexError):
            return self._free.pop()
        return np.empty(self._shape, np.float32)


def _load_rows(
    load: Callable[[int, np.ndarray], Loaded], data: np.ndarray, rows: Sequence[int]
) -> list[Loaded | ImageError]:
    results: list[Loaded | ImageError] = []
    for row in rows:
        try:
            results.append(load(row, data[row]))
        except ImageError as error:
            # Its traceback and its cause would keep frames alive, and with them the batch and the file's content.
            error.__context__ = None
            results.append(error.with_traceback(None))
    return results
