"""What each worker of a run exchanges with the others; a program that ``mxml launch`` starts."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

import numpy as np

from mxml.errors import TrainingError
from mxml.model import symbols
from mxml.model.losses import BINARY_CROSS_ENTROPY
from mxml.runtime.imports import load_mxnet
from mxml.training.bound_module import BoundModule
from mxml.training.optimizers import OptimizerSettings
from mxml.training.workers import connected

mx = load_mxnet()


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (Path(self.path),)


def step_with_a_bad_batch(workers):
    """Where one worker's logits are not finite, none of them takes the step, and all know."""
    inputs = np.full((2, 4), np.nan if workers.rank == 1 else 1.0, np.float32)
    labels = np.ones((2, 1), np.float32)
    head = mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=1, name="fc")
    symbol = symbols.training_symbol(mx.sym.sigmoid(head, name="sigmoid"), BINARY_CROSS_ENTROPY)
    parameters = {"fc_weight": mx.nd.ones((1, 4)) * (workers.rank + 1), "fc_bias": mx.nd.zeros(1)}
    module = BoundModule(
        symbol,
        parameters,
        {},
        devices=[mx.cpu()],
        provide_data=[mx.io.DataDesc("data", inputs.shape)],
        provide_label=[mx.io.DataDesc("softmax_label", labels.shape)],
        optimizer=OptimizerSettings("sgd", 0.0),
        workers=workers,
    )
    before = module.parameters()[0]["fc_weight"].asnumpy()
    assert (before == 1).all(), "all begin with the first worker's parameters"
    logits = module.step(mx.io.DataBatch([mx.nd.array(inputs)], [mx.nd.array(labels)]), 0.1)
    assert np.isnan(logits).all() and module.num_update == 0
    assert (module.parameters()[0]["fc_weight"].asnumpy() == 1).all() and not module.not_finite()
    assert np.isnan(module.logits(inputs)).all()
    # Without it the mean gradient of the six rows is one row's: they are the same.
    logits = module.step(mx.io.DataBatch([mx.nd.ones((2, 4))], [mx.nd.array(labels)]), 0.1)
    assert (logits == 4).all() and module.num_update == 1
    expected = 1 + 0.1 * (1 - 1 / (1 + np.exp(-4.0)))
    np.testing.assert_allclose(module.parameters()[0]["fc_weight"].asnumpy(), expected, rtol=1e-6)


with connected() as workers:
    rank, count = workers.rank, workers.count
    assert count == 3 and workers.is_first == (rank == 0)
    shares = workers.gather([workers.share(10).start, workers.share(10).stop])
    assert [stop - start for start, stop in shares] == [3, 3, 4] and shares[0][0] == 0 and shares[-1][1] == 10
    assert workers.gather(["é" * (5 * rank), {"rank": rank}]) == [["é" * (5 * r), {"rank": r}] for r in range(3)]
    assert workers.of_first({"loss": 0.1 + rank}) == {"loss": 0.1}
    # Its length, with the quotation marks, is 2**24 + 1, which float32 has not.
    long = "x" * ((1 << 24) - 1)
    assert workers.of_first(long if workers.is_first else None) == long
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
    assert workers.any(rank == 2, False, True) == [True, False, True]
    assert workers.mean(rank + 0.5) == 1.5
    assert workers.vote(True) is True
    assert workers.vote(rank != 1) is False
    workers.require_same({"lists": [1, 2], "network": "x"})
    try:
        workers.require_same({"lists": [1, 2], "network": "y" if rank == 2 else "x"})
        raise AssertionError("a worker with another network was let through")
    except TrainingError as error:
        assert "worker 2 has another network than worker 0" in str(error)
    for _ in range(2):  # a network may be bound again
        step_with_a_bad_batch(workers)
    if rank == 0:
        # MXNet's own command for "unpickle this optimizer".
        workers.kvstore._send_command_to_servers(0, pickle.dumps(Evil(sys.argv[1]), 0).decode())
    workers.barrier()
    assert workers.sum(np.ones(1))[0] == 3
if rank == 0:
    print("exchanged")
