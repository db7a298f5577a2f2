"""The network that predicts: its logits are MXNet's own, its probabilities the network's, however few images come."""

from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.special import expit

from mxml.errors import ModelError, NotFiniteError
from mxml.evaluation.scores import probabilities, require_finite
from mxml.inference.mxnet_backend import MxnetBackend
from mxml.model import checkpoint, symbols
from mxml.model.graph import Graph
from mxml.runtime.imports import load_mxnet

mx = load_mxnet()
SHAPE = (3, 32, 32)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A multi-label network with random parameters: symbol, arguments, auxiliary states."""
    folder = tmp_path_factory.mktemp("backend")
    tiny.make_network(folder / "net")
    made = symbols.fine_tune_model(folder / "net", 0, 4, SHAPE)
    generator = np.random.default_rng(3)
    head = {name: mx.nd.array(generator.normal(0, 3, made.arg_params[name].shape)) for name in made.head_names}
    return made.symbol, {**made.arg_params, **head}, made.aux_params


def images(count, seed=0):
    return np.random.default_rng(seed).normal(0, 40, (count, *SHAPE)).astype(np.float32)


def backend_of(model, devices, batch_size):
    symbol, arg_params, aux_params = model
    contexts = [mx.cpu(number) for number in range(devices)]
    return MxnetBackend(symbol, arg_params, aux_params, contexts, SHAPE, batch_size)


def own_outputs(model, data):
    """What MXNet's executor says of the whole symbol, its loss and label included: (N, C) probabilities."""
    symbol, arg_params, aux_params = model
    label = {name: mx.nd.zeros((len(data), 4)) for name in symbol.list_arguments() if name.endswith("label")}
    executor = symbol.bind(mx.cpu(), {**arg_params, **label, "data": mx.nd.array(data)}, aux_states=dict(aux_params))
    return executor.forward(is_train=False)[0].asnumpy()


@pytest.mark.parametrize("devices", [1, 2])
@pytest.mark.parametrize("count", [1, 3, 8])
def test_few_images_get_the_logits_that_a_full_batch_gives_them(model, devices, count):
    backend = backend_of(model, devices, 8)
    data = images(8)
    kept = data.copy()
    full = backend.logits(data)
    few = backend.logits(data[:count])
    assert (full.shape, few.shape, few.dtype, backend.num_classes) == ((8, 4), (count, 4), np.float32, 4)
    np.testing.assert_allclose(few, full[:count], rtol=1e-6)
    np.testing.assert_array_equal(data, kept)
    data[:] = 0  # the caller's array is its own again
    np.testing.assert_allclose(probabilities(few), own_outputs(model, kept)[:count], atol=1e-6)


@pytest.mark.parametrize("devices", [1, 2])
def test_features_come_with_the_logits_and_the_head_makes_these_of_them(model, devices):
    symbol, arg_params, _ = model
    backend = backend_of(model, devices, 4)
    logits, features = backend.outputs(images(3))
    assert np.array_equal(logits, backend.logits(images(3)))
    weight, bias = (arg_params[name].asnumpy() for name in symbols.head_parameters(symbol))
    assert (features.shape, features.dtype) == ((3, 8), np.float32)
    np.testing.assert_allclose(features @ weight.T + bias, logits, rtol=1e-4, atol=1e-4)


def test_more_devices_than_images_are_no_error(model):
    backend = backend_of(model, 3, 1)
    single = backend_of(model, 1, 1)
    np.testing.assert_allclose(backend.logits(images(1)), single.logits(images(1)), rtol=1e-6)


def test_probabilities_are_the_networks_own_also_for_old_checkpoints(shared):
    prefix = str(shared / "models" / "legacy-multilabel")
    old = checkpoint.load(prefix)
    (op,) = [node for node in Graph.of(old.symbol).nodes if node.op == "Custom"]
    assert len(op.inputs) == 2, "the original script's loss, without logits"
    shape = (3, 224, 224)
    data = np.random.default_rng(5).integers(0, 256, (2, *shape)).astype(np.float32) - 120
    backend = MxnetBackend(old.symbol, old.arg_params, old.aux_params, [mx.cpu()], shape, 2)
    network = symbols.plain_symbol(old.symbol)
    arguments = {name: value for name, value in old.arg_params.items() if name in network.list_arguments()}
    executor = network.bind(mx.cpu(), {**arguments, "data": mx.nd.array(data)}, aux_states=dict(old.aux_params))
    found = executor.forward(is_train=False)[0].asnumpy()
    np.testing.assert_allclose(probabilities(backend.logits(data)), found, atol=1e-6)
    assert "CrossEntropyLoss" not in backend._bound._module.symbol.tojson()


@settings(deadline=None)  # SciPy is loaded in the first example
@given(hnp.arrays(np.float32, 9, elements=st.floats(width=32, allow_nan=False)))
def test_the_sigmoid_of_any_logit_is_scipys(logits):
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        found = probabilities(logits)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expit(logits.astype(np.float64)), rtol=1e-6, atol=1e-37)


def test_parameters_that_do_not_fit_are_refused(model):
    symbol, arg_params, aux_params = model
    with pytest.raises(ModelError, match="missing: conv0_weight"):
        MxnetBackend(symbol, {k: v for k, v in arg_params.items() if k != "conv0_weight"}, aux_params, [], SHAPE, 1)
    with pytest.raises(ModelError, match=r"does not take images of shape \(3, 1, 1\)"):
        MxnetBackend(symbol, arg_params, aux_params, [mx.cpu()], (3, 1, 1), 1)


def test_scores_that_are_not_finite_are_the_models_fault(model):
    symbol, arg_params, aux_params = model
    damaged = {**arg_params, "fc_bias": arg_params["fc_bias"] * np.nan}
    backend = MxnetBackend(symbol, damaged, aux_params, [mx.cpu()], SHAPE, 2)
    with pytest.raises(NotFiniteError, match="is not finite"):
        require_finite(backend.logits(images(1)))


_TOO_LARGE = """
import resource, sys
from pathlib import Path
import numpy as np, tiny
from mxml.errors import DeviceError
from mxml.inference.mxnet_backend import MxnetBackend
from mxml.model.graph import Graph
from mxml.model import symbols
from mxml.runtime.imports import load_mxnet
mx = load_mxnet()
tiny.make_network(Path(sys.argv[1]) / "net")
model = symbols.fine_tune_model(sys.argv[1] + "/net", 0, 3, (3, 32, 32))
mx.nd.waitall()
used = int(Path("/proc/self/statm").read_text().split()[0]) * 4096
resource.setrlimit(resource.RLIMIT_AS, (used + (300 << 20),) * 2)
try:
    backend = MxnetBackend(model.symbol, model.arg_params, model.aux_params, [mx.cpu()], (3, 32, 32), 20000)
    backend.logits(np.zeros((1, 3, 32, 32), np.float32))
except DeviceError as error:
    print(error)
"""


def test_too_little_memory_names_the_batch_size(tmp_path, checkout):
    run = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(checkout / 'tests')!r})\n{_TOO_LARGE}", tmp_path],
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert run.returncode == 0, run.stderr
    assert re.fullmatch(r".*\b20,?000 images.*; reduce `batch_size`\n", run.stdout), run.stderr


def test_logits_of_bfloat16_are_numbers_of_float32():
    """As mixed precision leaves them."""
    net = mx.sym.amp_cast(mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=3, name="fc"), dtype="float16")
    text = mx.sym.sigmoid(net).tojson(remove_amp_cast=False).replace('"float16"', '"bfloat16"')
    parameters = {"fc_weight": mx.nd.ones((3, 48)), "fc_bias": mx.nd.zeros(3)}
    backend = MxnetBackend(mx.sym.load_json(text), parameters, {}, [mx.cpu()], (3, 4, 4), 2)
    logits = backend.logits(np.ones((2, 3, 4, 4), np.float32))
    assert logits.dtype == np.float32
    np.testing.assert_array_equal(logits, np.full((2, 3), 48))
