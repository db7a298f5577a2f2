import math

import numpy as np
import pytest

from mxml.errors import CheckpointError
from mxml.runtime.imports import load_mxnet
from mxml.training import optimizers
from mxml.training.optimizers import Schedule

mx = load_mxnet()


def test_step_schedule_falls_after_the_named_epochs():
    schedule = Schedule("step", 0.1, epochs=12, steps_per_epoch=4, steps=(5, 10), factor=0.1)
    assert [round(schedule.lr(step), 9) for step in (0, 19, 20, 39, 40, 47)] == [0.1, 0.1, 0.01, 0.01, 0.001, 0.001]


def test_cosine_schedule_with_warm_up():
    schedule = Schedule("cosine", 1.0, epochs=10, steps_per_epoch=10, warmup_epochs=1)
    assert [schedule.lr(step) for step in (0, 4, 9)] == pytest.approx([1 / 11, 5 / 11, 10 / 11])
    assert schedule.lr(10) == pytest.approx(1.0)
    assert schedule.lr(55) == pytest.approx(0.5)
    assert schedule.lr(100) == pytest.approx(0.0, abs=1e-12)


def reference(name, weight, grads, *, lr, wd, clip, batch):
    """Follow PyTorch's documented update rules in float64; sgd and adam add the decay to the gradient."""
    w = weight.astype(np.float64)
    m, v = np.zeros_like(w), np.zeros_like(w)
    for t, grad in enumerate(grads, start=1):
        g = np.clip(grad.astype(np.float64) / batch, -clip, clip)
        if name == "sgd":
            m = 0.9 * m - lr * (g + wd * w)
            w = w + m
        elif name == "adamw":
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
            step = m / (1 - 0.9**t) / (np.sqrt(v) + 1e-8) * math.sqrt(1 - 0.999**t)
            w = w - lr * step - lr * wd * w
    return w


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_updates_match_a_float64_reference_and_spare_biases_from_decay(name):
    generator = np.random.default_rng(0)
    names = ["layer_weight", "layer_bias", "norm_gamma"]
    optimizer = optimizers.create_optimizer(
        name,
        lr=0.1,
        momentum=0.9,
        wd=0.05,
        clip_gradient=0.5,
        batch_size=4,
        num_update=0,
        index_to_name=dict(enumerate(names)),
        lr_mult={"layer_bias": 3.0},
    )
    updater = mx.optimizer.get_updater(optimizer)
    starts = [generator.normal(size=(3, 2)).astype(np.float32) for _ in names]
    grads = [[generator.normal(size=(3, 2)).astype(np.float32) * 3 for _ in range(5)] for _ in names]
    weights = [mx.nd.array(start) for start in starts]
    for step in range(5):
        for index, weight in enumerate(weights):
            updater(index, mx.nd.array(grads[index][step]), weight)
    for index, (lr, wd) in enumerate([(0.1, 0.05), (0.3, 0.0), (0.1, 0.0)]):
        wanted = reference(name, starts[index], grads[index], lr=lr, wd=wd, clip=0.5, batch=4)
        np.testing.assert_allclose(weights[index].asnumpy(), wanted, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("name", ["sgd", "nag", "adam", "adamw"])
def test_a_saved_and_restored_optimizer_goes_on_bit_for_bit(name):
    generator = np.random.default_rng(1)
    grads = [mx.nd.array(generator.normal(size=(4,))) for _ in range(6)]

    def make(num_update):
        return optimizers.create_optimizer(
            name,
            lr=0.1,
            momentum=0.9,
            wd=0.01,
            clip_gradient=None,
            batch_size=1,
            num_update=num_update,
            index_to_name={0: "a_weight", 1: "a_weight"},
            lr_mult={},
        )

    whole = mx.nd.ones((4,))
    updater = mx.optimizer.get_updater(make(0))
    for step, grad in enumerate(grads):
        updater(0, grad, whole)
        if step == 2:
            half, saved = (
                whole.copy(),
                {k: v.copy() for k, v in optimizers.pack_states(updater.states, ["a_weight"], 2).items()},
            )
    optimizer = make(3)
    resumed = mx.optimizer.get_updater(optimizer)
    resumed.states = optimizers.unpack_states(saved, optimizer, {"a_weight": [half, half]}, ["a_weight"], "x.states")
    resumed.states_synced = dict.fromkeys(resumed.states, True)
    assert sorted(resumed.states) == [0, 1]
    for grad in grads[3:]:
        resumed(0, grad, half)
    assert half.asnumpy().tobytes() == whole.asnumpy().tobytes()


def test_states_of_another_optimizer_are_refused():
    sgd = mx.optimizer.create("sgd", momentum=0.9)
    weights = {"a_weight": [mx.nd.ones((4,))]}
    with pytest.raises(CheckpointError, match=r"x\.states: has no fitting state for a_weight"):
        optimizers.unpack_states({"a_weight:0": mx.nd.ones((5,))}, sgd, weights, ["a_weight"], "x.states")
    with pytest.raises(CheckpointError, match="no use for, such as a_weight:1"):
        states = {"a_weight:0": mx.nd.ones((4,)), "a_weight:1": mx.nd.ones((4,))}
        optimizers.unpack_states(states, sgd, weights, ["a_weight"], "x.states")
