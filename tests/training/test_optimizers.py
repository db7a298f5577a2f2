import itertools

import numpy as np
import pytest
from float64_optimizers import Float64Optimizer

from mxml.errors import CheckpointError
from mxml.runtime.imports import load_mxnet
from mxml.training import optimizers
from mxml.training.optimizers import OptimizerSettings, Schedule

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


NAMES = ("sgd", "nag", "adam", "adamw", "scaled-adamw")
# Steps of scaled-adamw go by them: below, between and above its bounds.
SIZES = (0.002, 0.03, 1.0)


def parts(state):
    return state if isinstance(state, tuple) else (state,)


def assert_close(found, wanted, name):
    # What float32 rounds off; the nag that MXNet brings is off by 5e-4 here.
    np.testing.assert_allclose(found.asnumpy(), wanted, rtol=2e-5, atol=5e-6, err_msg=name)


@pytest.mark.parametrize("clip", [None, 0.5])
@pytest.mark.parametrize("name", NAMES)
def test_updates_match_float64_and_spare_biases_from_decay(name, clip):
    generator = np.random.default_rng(0)
    names = ["layer_weight", "layer_bias", "norm_gamma", *(f"more{i}_weight" for i in range(3))]
    settings = OptimizerSettings(name, momentum=0.9, wd=0.05, clip_gradient=clip, lr_mult={"layer_bias": 3.0})
    optimizer = optimizers.create_optimizer(settings, batch_size=4, num_update=0, index_to_name=dict(enumerate(names)))
    updater = mx.optimizer.get_updater(optimizer)
    starts = [(generator.normal(size=(3, 2)) * size).astype(np.float32) for size in SIZES * 2]
    weights = [mx.nd.array(start) for start in starts]
    wanted = [
        Float64Optimizer(name, start, wd=0.05 if parameter.endswith("_weight") else 0.0, clip=clip)
        for parameter, start in zip(names, starts)
    ]
    for step in range(5):
        lr = 0.1 / (step + 1)
        optimizer.set_learning_rate(lr)
        grads = [generator.normal(size=(3, 2)).astype(np.float32) * 3 for _ in names]
        updater(list(range(len(names))), [mx.nd.array(grad) for grad in grads], weights)
        for parameter, one, grad in zip(names, wanted, grads):
            one.update(grad / 4, lr * (3 if parameter == "layer_bias" else 1))
    for index, (parameter, one) in enumerate(zip(names, wanted)):
        assert_close(weights[index], one.weight, parameter)
        for state, value in zip(parts(updater.states[index]), one.states):
            assert_close(state, value, parameter)


LAYERS = {
    "3x3": {"num_filter": 32, "kernel": (3, 3)},
    "1x1": {"num_filter": 64, "kernel": (1, 1)},
    "strided": {"num_filter": 64, "kernel": (3, 3), "stride": (2, 2), "pad": (1, 1)},
    "depthwise": {"num_filter": 16, "kernel": (3, 3), "num_group": 16},
}


@pytest.mark.parametrize("forward", [(), (True,), (False,), (True, False), (False, True)])
@pytest.mark.parametrize("name", NAMES)
def test_a_forward_pass_before_an_update_does_not_change_it(name, forward):
    """A forward pass without training leaves convolutions' weights in oneDNN's own memory layouts."""
    net = mx.sym.Variable("data")
    outputs = [mx.sym.Convolution(net, name=layer, **attrs).sum() for layer, attrs in LAYERS.items()]
    outputs.append(mx.sym.FullyConnected(net, num_hidden=32, name="dense").sum())
    executor = mx.sym.Group(outputs).simple_bind(mx.cpu(), data=(4, 16, 8, 8))
    generator = np.random.default_rng(1)
    names = [parameter for parameter in executor.arg_dict if parameter != "data"]
    settings = OptimizerSettings(name, wd=0.01, clip_gradient=1.0)
    optimizer = optimizers.create_optimizer(settings, batch_size=1, num_update=0, index_to_name=dict(enumerate(names)))
    optimizer.set_learning_rate(0.1)
    updater = mx.optimizer.get_updater(optimizer)
    weights = [executor.arg_dict[parameter] for parameter in names]
    wanted = []
    for parameter, weight, size in zip(names, weights, itertools.cycle(SIZES)):
        weight[:] = (generator.normal(size=weight.shape) * size).astype(np.float32)
        wd = 0.01 if parameter.endswith("_weight") else 0.0
        wanted.append(Float64Optimizer(name, weight.asnumpy(), wd=wd, clip=1.0))
    for _ in range(3):
        for training in forward:
            for output in executor.forward(is_train=training):
                output.wait_to_read()
            if training:
                executor.backward([mx.nd.ones((1,)) for _ in outputs])
        grads = [generator.normal(size=weight.shape).astype(np.float32) for weight in weights]
        updater(list(range(len(names))), [mx.nd.array(grad) for grad in grads], weights)
        for one, grad in zip(wanted, grads):
            one.update(grad, 0.1)
    for index, (parameter, one) in enumerate(zip(names, wanted)):
        assert_close(weights[index], one.weight, parameter)
        for state, value in zip(parts(updater.states[index]), one.states):
            assert_close(state, value, parameter)


@pytest.mark.parametrize("name", NAMES)
def test_a_saved_and_restored_optimizer_goes_on_bit_for_bit(name):
    generator = np.random.default_rng(1)
    grads = [mx.nd.array(generator.normal(size=(4,))) for _ in range(6)]

    def make(num_update):
        index_to_name = {0: "a_weight", 1: "a_weight"}
        settings = OptimizerSettings(name, wd=0.01)
        return optimizers.create_optimizer(settings, batch_size=1, num_update=num_update, index_to_name=index_to_name)

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
