"""What each worker of a run exchanges with the others; a program that ``mxml launch`` starts."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

import numpy as np

from mxml.errors import TrainingError
from mxml.training.workers import connected


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (Path(self.path),)


with connected() as workers:
    rank, count = workers.rank, workers.count
    assert count == 3 and workers.is_first == (rank == 0)
    shares = workers.gather([workers.share(10).start, workers.share(10).stop])
    assert [stop - start for start, stop in shares] == [3, 3, 4] and shares[0][0] == 0 and shares[-1][1] == 10
    assert workers.gather(["é" * (5 * rank), {"rank": rank}]) == [["é" * (5 * r), {"rank": r}] for r in range(3)]
    assert workers.of_first({"loss": 0.1 + rank}) == {"loss": 0.1}
    # More than one piece of the largest size.
    for size in (0, 1, 1024, 1025, (1 << 20) + 7):
        found = workers.sum(np.arange(size) % 1000 * (rank + 1))
        assert found.dtype == np.float32 and np.array_equal(found, np.arange(size) % 1000 * 6), size
    rows = np.random.default_rng(0).normal(size=(11, 4)).astype(np.float32)
    assert np.array_equal(workers.gather_rows(rows[workers.share(11)], 11), rows)
    arrays = {"a": np.full((2, 3), rank + 0.5, np.float32), "b": np.full(3000, rank, np.float32)}
    sent = workers.broadcast(arrays)
    assert (sent["a"] == 0.5).all() and sent["a"].shape == (2, 3) and (sent["b"] == 0).all()
    every = workers.gather_arrays(list(arrays.values()))
    assert [(a == r + 0.5).all() and (b == r).all() for r, (a, b) in enumerate(every)] == [True] * 3
    assert workers.vote(True) is True
    assert workers.vote(rank != 1) is False
    workers.require_same({"lists": [1, 2], "network": "x"})
    try:
        workers.require_same({"lists": [1, 2], "network": "y" if rank == 2 else "x"})
        raise AssertionError("a worker with another network was let through")
    except TrainingError as error:
        assert "worker 2 has another network than worker 0" in str(error)
    if rank == 0:
        # MXNet's own command for "unpickle this optimizer".
        workers.kvstore._send_command_to_servers(0, pickle.dumps(Evil(sys.argv[1]), 0).decode())
    workers.barrier()
    assert workers.sum(np.ones(1))[0] == 3
if rank == 0:
    print("exchanged")
