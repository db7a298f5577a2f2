"""The workers of a run: who shares its work, and how they agree.

A run on one machine has one worker, ``ALONE``, for whom every method here is trivial. ``connected`` gives those of a
run that ``mxml launch`` started, or a cluster with ps-lite's variables. They exchange arrays through MXNet's KVStore
``dist_sync``, which adds up what all of them push: what one of them alone has to say, it pushes between the others'
zeros.

A method that exchanges something must be called by every worker, in the same order; the others wait for it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from mxml.data.sampling import shard_bounds
from mxml.errors import Interrupted, TrainingError
from mxml.runtime.imports import load_mxnet
from mxml.training.kv_store import SEVERAL
from mxml.training.launching import environment
from mxml.training.launching.environment import Place
from mxml.training.signals import StopRequest

mx = load_mxnet()

# A store keeps the shape of a key's first array: numbers travel in pieces of one of these sizes.
_PIECES = {"mxml:small": 1 << 10, "mxml:medium": 1 << 15, "mxml:large": 1 << 20}
_VOTES = ("not finite", *(number.name for number in StopRequest.SIGNALS))


class _Store(mx.kvstore.KVStore):  # type: ignore[name-defined]
    """MXNet's store, in which a key may be initialised again: a network that is bound again has the same keys."""

    def __init__(self) -> None:
        store = mx.kv.create(SEVERAL)
        super().__init__(store.handle)
        # Each object frees its own.
        store.handle = mx.base.KVStoreHandle()
        self._known: set[str] = set()

    def init(self, key: Any, value: Any) -> None:
        """Initialise one key, or several, where it was not done before."""
        names = {key} if isinstance(key, str) else set(key)
        if not names <= self._known:
            self._known |= names
            super().init(key, value)


class AgreedStop(StopRequest):
    """The signal that the workers have agreed to stop at, in place of the one that this process has ``noted``."""

    def __init__(self, noted: StopRequest | None):
        super().__init__()
        self.noted = noted


class Workers:
    """One worker, ``rank`` of ``count``, and its way to the others. ``is_first`` says whether it writes the files."""

    def __init__(self, place: Place, kvstore: Any = None):
        self.rank = place.rank
        self.count = place.count
        self.is_first = place.is_first
        self.kvstore = kvstore
        self._stop = AgreedStop(None)
        if kvstore is not None:
            sizes = {"mxml:votes": len(_VOTES), **_PIECES}
            kvstore.init(list(sizes), [mx.nd.zeros(size) for size in sizes.values()])

    def agreed(self, stop: StopRequest | None) -> StopRequest | None:
        """Return the stop request that all workers have in common; ``vote`` brings it up to date."""
        if self.kvstore is None:
            return stop
        self._stop = AgreedStop(stop)
        return self._stop

    def vote(self, finite: bool) -> bool:
        """Say whether ``finite`` holds for every worker, and agree on whether to stop here."""
        if self.kvstore is None:
            return finite
        noted = self._stop.noted.number if self._stop.noted is not None else None
        votes = [not finite, *(noted == number for number in StopRequest.SIGNALS)]
        bad, *stops = self._exchange("mxml:votes", np.array(votes, np.float32))
        for number, votes_for in zip(StopRequest.SIGNALS, stops):
            if votes_for:
                self._stop.number = number
        return not bad

    def any(self, *flags: bool) -> list[bool]:
        """Say for each flag whether it holds for any worker."""
        return [bool(count) for count in self.sum(np.array(flags, np.float32))]

    def mean(self, value: float) -> float:
        """Return the mean of all workers' values."""
        return value if self.kvstore is None else float(self.sum(np.array([value], np.float32))[0]) / self.count

    def share(self, count: int) -> slice:
        """Return which of ``count`` things this worker does; all workers together do each once."""
        return slice(*shard_bounds(count, self.rank, self.count))

    def barrier(self) -> None:
        """Wait until every worker is here."""
        self.sum(np.zeros(1, np.float32))

    def sum(self, values: np.ndarray) -> np.ndarray:
        """Return the sum of all workers' ``values``, float32 in any shape that they have in common."""
        values = np.asarray(values, np.float32)
        if self.kvstore is None:
            return values
        flat = values.ravel()
        total = np.empty_like(flat)
        key, size = next((piece for piece in _PIECES.items() if len(flat) <= piece[1]), ("mxml:large", 1 << 20))
        for start in range(0, len(flat), size):
            piece = np.zeros(size, np.float32)
            part = flat[start : start + size]
            piece[: len(part)] = part
            total[start : start + size] = self._exchange(key, piece)[: len(part)]
        return total.reshape(values.shape)

    def gather_rows(self, rows: np.ndarray, count: int) -> np.ndarray:
        """Return all ``count`` rows, float32, of which ``rows`` (K, ...) are this worker's: those of ``share``."""
        if self.kvstore is None:
            return rows
        everything = np.zeros((count, *rows.shape[1:]), np.float32)
        everything[self.share(count)] = rows
        return self.sum(everything)

    def broadcast(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return the first worker's arrays, float32; the others' tell names and shapes."""
        return {
            name: self.sum(array if self.is_first else np.zeros(array.shape, np.float32))
            for name, array in arrays.items()
        }

    def gather_arrays(self, arrays: Sequence[np.ndarray]) -> list[list[np.ndarray]]:
        """Return every worker's ``arrays``, float32, by rank; all have as many of the same shapes."""
        own = np.concatenate([np.zeros(0, np.float32), *(array.ravel() for array in arrays)])
        ends = np.cumsum([array.size for array in arrays])
        return [
            [part.reshape(array.shape) for part, array in zip(np.split(row, ends), arrays)]
            for row in self.gather_rows(own[None], self.count)
        ]

    def gather(self, value: Any) -> list[Any]:
        """Return every worker's ``value``, which JSON can hold, by rank."""
        if self.kvstore is None:
            return [value]
        own = np.frombuffer(json.dumps(value).encode(), np.uint8)
        lengths = [from_digits(row) for row in self.gather_rows(to_digits(len(own))[None], self.count)]
        letters = np.zeros((self.count, max(lengths)), np.float32)
        letters[self.rank, : len(own)] = own
        letters = self.sum(letters).astype(np.uint8)
        return [json.loads(row[:length].tobytes()) for row, length in zip(letters, lengths)]

    def of_first(self, value: Any) -> Any:
        """Return the first worker's ``value``, which JSON can hold."""
        if self.kvstore is None:
            return value
        own = np.frombuffer(json.dumps(value).encode() if self.is_first else b"", np.uint8)
        length = from_digits(self.sum(to_digits(len(own))))
        letters = self.sum(own if self.is_first else np.zeros(length, np.float32))
        return json.loads(letters.astype(np.uint8).tobytes())

    def by_first(self, work: Callable[[], Any]) -> Any:
        """Return what ``work`` returns in the first worker, which JSON can hold; only that one does it.

        Where a signal ends it, Interrupted is raised in all: they wait for the first one, and would do so for ever.
        """
        if self.kvstore is None:
            return work()
        done: Any = None
        stopped: tuple[str, int, bool] | None = None
        if self.is_first:
            try:
                done = work()
            except Interrupted as error:
                stopped = str(error), error.signal_number, error.can_resume
        done, stopped = self.of_first([done, stopped])
        if stopped:
            raise Interrupted(*stopped)
        return done

    def require_same(self, parts: Mapping[str, Any]) -> None:
        """Raise TrainingError that names the first of ``parts`` in which a worker differs from the first one."""
        first, *others = self.gather({name: _digest(value) for name, value in parts.items()})
        for rank, digests in enumerate(others, start=1):
            for name, digest in digests.items():
                if digest != first[name]:
                    raise TrainingError(
                        f"worker {rank} has another {name} than worker 0: every worker needs the same files under the "
                        "same paths, and the run's files on storage that they share"
                    )

    def close(self, together: bool) -> None:
        """Leave the others; ``together`` waits for them first, so that the servers end too."""
        if self.kvstore is None:
            return
        library, check = mx.base._LIB, mx.base.check_call
        if not together:
            # What is left undone here, the others wait for in vain: so nothing is waited for, and the process ends.
            check(library.MXKVStoreSetBarrierBeforeExit(self.kvstore.handle, 0))
            return
        # Now, and not when Python takes the objects apart: some of them outlive the run.
        check(library.MXKVStoreFree(self.kvstore.handle))
        self.kvstore.handle = mx.base.KVStoreHandle()

    def _exchange(self, key: str, values: np.ndarray) -> np.ndarray:
        array = mx.nd.array(values)
        # Before the gradients that wait: other workers cannot go on without it.
        self.kvstore.push(key, array, priority=1)
        self.kvstore.pull(key, out=array, priority=1)
        summed: np.ndarray = array.asnumpy()
        return summed


ALONE = Workers(environment.ALONE)
"""The only worker of a run in one process."""


@contextlib.contextmanager
def connected() -> Iterator[Workers]:
    """Yield the workers of this run once all of them have met; ``ALONE`` outside of a run of several.

    Raises SetupError for variables that are wrong.
    """
    if not environment.is_worker():
        yield ALONE
        return
    place = environment.place()
    environment.use_private_addresses()
    workers = Workers(place, _Store())
    try:
        if workers.sum(np.eye(place.count, dtype=np.float32)[place.rank]).min() != 1:
            raise TrainingError(
                "two workers have the same DMLC_WORKER_ID; they are 0, 1, ... up to DMLC_NUM_WORKER - 1"
            )
        yield workers
    except BaseException as error:
        workers.close(together=isinstance(error, Interrupted))
        raise
    workers.close(together=True)


def to_digits(number: int) -> np.ndarray:
    """Return a number below 2**64 as (8,) float32, one byte each: as one float32 it is not exact above 2**24."""
    return np.frombuffer(number.to_bytes(8, "little"), np.uint8).astype(np.float32)


def from_digits(digits: np.ndarray) -> int:
    """Return ``to_digits``'s number."""
    return int.from_bytes(digits.astype(np.uint8).tobytes(), "little")


def _digest(value: Any) -> str:
    content = value if isinstance(value, bytes) else json.dumps(value, sort_keys=True, default=str).encode()
    return hashlib.sha256(content).hexdigest()
