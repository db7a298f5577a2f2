"""The bound network by itself: its steps, what it gives and takes, and what it says when something breaks."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator

import bound
import needs
import numpy as np
import pytest
from bound import CLASSES, OPTIMIZERS
from float64_optimizers import Float64Optimizer

from mxml.errors import CheckpointError, ModelError, MxmlError
from mxml.model import symbols
from mxml.model.layers import Network
from mxml.runtime.imports import load_mxnet
from mxml.runtime.types import NDArray, Symbol
from mxml.training.bound_module import mean_of
from mxml.training.optimizers import OptimizerSettings

mx = load_mxnet()

BATCH, SHAPE = 8, (3, 16, 16)
WD, HEAD_LR_MULT = 0.1, 5.0


def network(dropout: float = 0.0) -> tuple[Symbol, dict[str, NDArray], dict[str, NDArray]]:
    return bound.with_head(bound.pretrained(dropout), SHAPE, np.random.default_rng(3))


def bind(symbol, args, aux, optimizer="sgd", devices=1, momentum=0.9, clip=0.5, **changes):
    lr_mult = dict.fromkeys(symbols.head_parameters(symbol), HEAD_LR_MULT)
    settings = OptimizerSettings(optimizer, momentum, WD, clip, lr_mult)
    return bound.bind(symbol, args, aux, settings, (BATCH, *SHAPE), devices, **changes)


def batches(count: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    generator = np.random.default_rng(5)
    for _ in range(count):
        data = generator.normal(0, 1, (BATCH, *SHAPE)).astype(np.float32)
        labels = generator.integers(0, 2, (BATCH, CLASSES)).astype(np.float32)
        yield data, labels


def train(module, pairs, lr=0.02):
    for data, labels in pairs:
        module.step(mx.io.DataBatch([mx.nd.array(data)], [mx.nd.array(labels)]), lr)


def validate(module):
    module.sync()
    for data, _ in batches(2):
        module.logits(data)


def content(*mappings):
    return {name: array.asnumpy().tobytes() for mapping in mappings for name, array in mapping.items()}


class NumpyLoop:
    """The same training, one epoch's end included, with gradients of fresh executors and updates in float64."""

    def __init__(self, symbol, args, aux, optimizer, devices):
        self.logits = symbols.logits_output(symbol)
        self.parameters = {
            name: Float64Optimizer(optimizer, array.asnumpy(), wd=WD if name.endswith("_weight") else 0.0, clip=0.5)
            for name, array in args.items()
        }
        self.rates = dict.fromkeys(symbols.head_parameters(symbol), HEAD_LR_MULT)
        self.aux = [{name: array.asnumpy() for name, array in aux.items()} for _ in range(devices)]

    def step(self, data, labels, lr):
        total = dict.fromkeys(self.parameters, 0.0)
        size = len(data) // len(self.aux)
        for device, aux in enumerate(self.aux):
            rows = slice(device * size, (device + 1) * size)
            executor = self.logits.simple_bind(mx.cpu(), data=data[rows].shape)
            executor.copy_params_from(
                {name: mx.nd.array(one.weight) for name, one in self.parameters.items()},
                {name: mx.nd.array(value) for name, value in aux.items()},
            )
            executor.arg_dict["data"][:] = data[rows]
            logits = executor.forward(is_train=True)[0].asnumpy()
            executor.backward(mx.nd.array(1 / (1 + np.exp(-logits)) - labels[rows]))
            for name in total:
                total[name] = total[name] + executor.grad_dict[name].asnumpy().astype(np.float64)
            aux.update({name: array.asnumpy() for name, array in executor.aux_dict.items()})
        for name, one in self.parameters.items():
            one.update(total[name] / len(data), lr * self.rates.get(name, 1))

    def sync(self):
        for name in self.aux[0]:
            mean = sum(aux[name] for aux in self.aux) / len(self.aux)
            for aux in self.aux:
                aux[name] = mean


@pytest.mark.parametrize("devices", [1, 2])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_steps_around_a_validation_are_those_of_a_loop_in_numpy(optimizer, devices):
    symbol, args, aux = network()
    module = bind(symbol, args, aux, optimizer, devices)
    loop = NumpyLoop(symbol, args, aux, optimizer, devices)
    lr = 0.02 if optimizer in ("sgd", "nag") else 0.002
    for number, pair in enumerate(batches(6)):
        train(module, [pair], lr)
        loop.step(*pair, lr)
        if number % 2:
            validate(module)
            loop.sync()
    found, found_aux = module.parameters()
    states = module.states()
    for name, one in loop.parameters.items():
        np.testing.assert_allclose(found[name].asnumpy(), one.weight, rtol=1e-4, atol=2e-5, err_msg=name)
        for part, wanted in enumerate(one.states):
            np.testing.assert_allclose(
                states[f"{name}:{part}"].asnumpy(), wanted, rtol=1e-3, atol=2e-5, err_msg=f"{name}:{part}"
            )
    for name, wanted in loop.aux[0].items():
        np.testing.assert_allclose(found_aux[name].asnumpy(), wanted, rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("devices", [1, 2, 3])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_module_restored_after_a_validation_goes_on_bit_for_bit(optimizer, devices):
    check_that_it_goes_on_bit_for_bit(optimizer, devices, "float32")


@needs.bfloat16
@pytest.mark.parametrize("devices", [1, 2])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_module_in_bfloat16_is_restored_bit_for_bit_too(optimizer, devices):
    check_that_it_goes_on_bit_for_bit(optimizer, devices, "bfloat16")


def check_that_it_goes_on_bit_for_bit(optimizer, devices, dtype):
    symbol, args, aux = network(dropout=0.3)
    pairs = list(batches(7))
    whole = bind(symbol, args, aux, optimizer, devices, seed=4, dtype=dtype)
    train(whole, pairs[:3])
    validate(whole)
    saved, states = whole.parameters(), whole.states()
    train(whole, pairs[3:5])
    paused, paused_states = whole.parameters(), {**whole.states(), **whole.statistics()}
    train(whole, pairs[5:])

    for done, parameters, kept in ((3, saved, states), (5, paused, paused_states)):
        resumed = bind(symbol, parameters[0], parameters[1], optimizer, devices, seed=4, num_update=done, dtype=dtype)
        resumed.restore(kept, "run-0001.states")
        train(resumed, pairs[done:])
        assert resumed.num_update == whole.num_update == 7
        assert content(*resumed.parameters()) == content(*whole.parameters()), done
        assert content(resumed.states()) == content(whole.states()), done


def test_sgd_without_momentum_keeps_no_states():
    symbol, args, aux = network()
    module = bind(symbol, args, aux, momentum=0.0)
    pairs = list(batches(4))
    train(module, pairs[:2])
    validate(module)
    assert module.states() == {}
    args, aux = module.parameters()
    resumed = bind(symbol, args, aux, momentum=0.0, num_update=2)
    resumed.restore({}, "run-0001.states")
    train(module, pairs[2:])
    train(resumed, pairs[2:])
    assert content(*resumed.parameters()) == content(*module.parameters())


def test_states_of_another_optimizer_are_refused():
    symbol, args, aux = network()
    module = bind(symbol, args, aux, "adam")
    train(module, batches(1))
    with pytest.raises(CheckpointError, match=r"run-0001\.states: holds states that this run has no use for"):
        bind(symbol, args, aux, "sgd").restore(module.states(), "run-0001.states")


@pytest.mark.parametrize("devices", [1, 2])
def test_logits_are_those_of_the_network_at_any_number_of_rows(devices):
    symbol, args, aux = network(dropout=0.3)
    module = bind(symbol, args, aux, devices=devices)
    train(module, batches(2))
    module.sync()
    assert (module.num_classes, module.batch_size) == (CLASSES, BATCH)
    ((data, _),) = batches(1)
    args, aux = module.parameters()
    executor = symbols.logits_output(symbol).simple_bind(mx.cpu(), data=data.shape, grad_req="null")
    executor.copy_params_from(args, aux)
    wanted = executor.forward(is_train=False, data=mx.nd.array(data))[0].asnumpy()
    for rows in (BATCH, BATCH - 1, 1, 0):
        logits = module.logits(data[:rows])
        assert (logits.shape, logits.dtype) == ((rows, CLASSES), np.float32)
        np.testing.assert_allclose(logits, wanted[:rows], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("devices", [1, 2])
def test_parameters_set_and_set_back_change_nothing(devices):
    symbol, args, aux = network()
    pairs = list(batches(6))
    plain, swapped = (bind(symbol, args, aux, "nag", devices) for _ in range(2))
    for module in (plain, swapped):
        train(module, pairs[:3])
        validate(module)
    own = swapped.parameters()
    before = swapped.logits(pairs[0][0])
    swapped.set_parameters(args, aux)
    assert content(*swapped.parameters()) == content(args, aux)
    assert np.abs(swapped.logits(pairs[0][0]) - before).max() > 1e-3
    swapped.set_parameters(*own)
    assert np.array_equal(swapped.logits(pairs[0][0]), before)
    for module in (plain, swapped):
        train(module, pairs[3:])
    assert content(*swapped.parameters()) == content(*plain.parameters())
    assert content(swapped.states()) == content(plain.states())


def test_what_is_given_out_does_not_change_with_later_steps():
    module = bind(*network(), "adam")
    train(module, batches(1))
    given = (*module.parameters(), module.states(), module.statistics())
    before = content(*given)
    train(module, batches(2))
    module.sync()
    assert content(*given) == before


@pytest.mark.parametrize("devices", [1, 2])
def test_a_batch_whose_logits_are_not_finite_leaves_the_parameters_alone(devices):
    module = bind(*network(), devices=devices)
    train(module, batches(2))
    args, aux = module.parameters()
    # Their products with what the last convolution gives are too large for float32.
    args["fc_weight"] = mx.nd.full(args["fc_weight"].shape, 3e38)
    module.set_parameters(args, aux)
    ((data, labels),) = batches(1)
    data *= 1e3
    logits = module.step(mx.io.DataBatch([mx.nd.array(data)], [mx.nd.array(labels)]), 0.01)
    assert not np.isfinite(logits).all()
    assert module.num_update == 2
    assert content(module.parameters()[0]) == content(args)
    assert set(module.not_finite()) <= set(aux)


@pytest.mark.parametrize("devices", [1, 2])
def test_parameters_that_are_not_finite_are_named(devices):
    symbol, args, aux = network()
    module = bind(symbol, args, aux, devices=devices)
    train(module, batches(1))
    assert module.not_finite() == ()
    args, aux = module.parameters()
    args["conv1_bias"][3] = np.nan
    aux["bn0_moving_var"][0] = np.inf
    module.set_parameters(args, aux)
    assert module.not_finite() == ("conv1_bias", "bn0_moving_var")


def test_an_update_that_breaks_parameters_is_seen_before_the_next_batch():
    module = bind(*network(), clip=None)
    ((data, labels),) = batches(1)
    data[0, 0, 0, 0] = np.inf
    train(module, [(data, labels)])
    assert "conv0_weight" in module.not_finite()


@pytest.mark.parametrize("devices", [1, 2])
def test_statistics_that_stay_are_neither_averaged_nor_saved_at_each_step_and_it_goes_on_bit_for_bit(devices):
    symbol, args, aux = network(dropout=0.3)
    pairs = list(batches(4))
    whole = bind(symbol, args, aux, "adamw", devices, seed=4, keeps_statistics=True)
    assert whole.trained().keys() == {f"arg:{name}" for name in args}
    train(whole, pairs[:2])
    assert whole.statistics() == {}
    middle, states = whole.parameters(), whole.states()
    assert content(middle[1]) == content(aux)
    train(whole, pairs[2:])
    args, aux = middle
    resumed = bind(symbol, args, aux, "adamw", devices, seed=4, num_update=2, keeps_statistics=True)
    # A run of before may have saved them.
    resumed.restore({**states, **bind(symbol, args, aux, devices=devices).statistics()}, "run-0001.states")
    train(resumed, pairs[2:])
    assert content(*resumed.parameters()) == content(*whole.parameters())


def test_frozen_parameters_and_their_statistics_stay():
    symbol, args, aux = network()
    module = bind(symbol, args, aux, freeze=("conv0_*", "bn0_*"))
    train(module, batches(3))
    found, found_aux = module.parameters()
    changed = {name for name in args if not np.array_equal(found[name].asnumpy(), args[name].asnumpy())}
    assert changed == {name for name in args if not name.startswith(("conv0_", "bn0_"))}
    assert content(found_aux) == content(aux)
    assert {name.partition(":")[0] for name in module.states()} == changed
    for pattern in ("convx*", "*"):
        with pytest.raises(MxmlError, match="`freeze` "):
            bind(symbol, args, aux, freeze=(pattern,))


STARVED = """
import os, resource, sys
import numpy as np
import test_bound_module as tests
from mxml.errors import DeviceError

# Starts all of MXNet's threads while there is memory for them.
module = tests.bind(*tests.network(), devices=int(sys.argv[2]))
tests.train(module, tests.batches(1))
tests.validate(module)

tests.BATCH, tests.SHAPE = 512, (3, 64, 64)
((data, labels),) = tests.batches(1)
batch = tests.mx.io.DataBatch([tests.mx.nd.array(data)], [tests.mx.nd.array(labels)])
devices = int(sys.argv[2])
large = None if sys.argv[1] == "bind" else tests.bind(*tests.network(), devices=devices)
pages = int(open("/proc/self/statm").read().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (16 << 20),) * 2)
try:
    if large is None:
        tests.bind(*tests.network(), devices=devices)
    elif sys.argv[1] == "step":
        large.step(batch, 0.01)
        large.sync()
    else:
        large.logits(data)
except DeviceError as error:
    print(error, flush=True)
# MXNet does not always end well after that.
os._exit(0)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits and measures memory as Linux does")
@pytest.mark.parametrize("devices", ["1", "2"])
@pytest.mark.parametrize("stage", ["bind", "step", "logits"])
def test_a_lack_of_memory_names_the_batch_size(stage, devices):
    here = os.path.dirname(__file__)
    path = os.pathsep.join(filter(None, [here, os.path.dirname(here), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-c", STARVED, stage, devices],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert re.fullmatch(r".*\b512 images.*; reduce `batch_size`\n", done.stdout), done.stderr


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (lambda data: mx.sym.Reshape(data, shape=(2, -1)), r"batches of 8 images .* the shape \(2, 3\), not \(8, 3\)"),
        (lambda data: mx.sym.Cast(data, dtype="float16"), "MXNet cannot run the network: .*softmax"),
    ],
    ids=["made for two images", "types that do not fit"],
)
def test_a_network_that_mxnet_cannot_train_is_one_line(layer, reason):
    net = mx.sym.FullyConnected(layer(mx.sym.Variable("data")), num_hidden=3, name="fc")
    symbol = symbols.training_symbol(mx.sym.sigmoid(net))
    shapes = Network(symbol, SHAPE).parameter_shapes(symbol.list_arguments())
    with pytest.raises(ModelError, match=reason) as caught:
        bind(symbol, {name: mx.nd.ones(shape) for name, shape in shapes.items()}, {})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_the_mean_of_equal_arrays_is_these_to_the_last_bit(count):
    values = mx.nd.array(np.random.default_rng(0).normal(0.5, 0.3, 1000).astype(np.float32))
    assert np.array_equal(mean_of([values] * count, mx.cpu()).asnumpy(), values.asnumpy())
    different = [values * number for number in range(count)]
    expected = np.mean([array.asnumpy().astype(np.float64) for array in different], axis=0)
    np.testing.assert_allclose(mean_of(different, mx.cpu()).asnumpy(), expected, rtol=1e-6)
