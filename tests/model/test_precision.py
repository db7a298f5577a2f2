"""Networks with casts: close to float32, with float32 outputs, parameters and gradients, whatever the layers."""

import json

import needs
import numpy as np
import pytest

from mxml.model.graph import Graph
from mxml.model.networks.catalogue import named_network
from mxml.model.networks.layers import build
from mxml.model.precision import in_float32, lower_precision, mostly_lowered
from mxml.runtime.imports import load_mxnet

mx = load_mxnet()

SHAPE = (4, 3, 20, 20)


def branching():
    """A network with each kind of node that the casts have to get right."""
    data = mx.sym.Variable("data")
    stem = mx.sym.Convolution(data, num_filter=32, kernel=(3, 3), pad=(1, 1), name="stem")
    stem = mx.sym.Activation(mx.sym.BatchNorm(stem, fix_gamma=False, name="bn"), act_type="relu", name="relu")
    left = mx.sym.Convolution(stem, num_filter=32, kernel=(3, 3), pad=(1, 1), no_bias=True, name="left")
    right = mx.sym.LeakyReLU(mx.sym.Convolution(stem, num_filter=32, kernel=(1, 1), name="right"), name="leaky")
    joined = mx.sym.Concat(mx.sym.elemwise_add(left, stem, name="sum"), right, stem, name="joined")
    joined = mx.sym.Pooling(joined, kernel=(2, 2), stride=(2, 2), pool_type="max", name="pool")
    joined = mx.sym.Dropout(joined, p=0.0, name="drop")
    features = mx.sym.Flatten(mx.sym.Pooling(joined, global_pool=True, kernel=(1, 1), pool_type="avg", name="global"))
    return mx.sym.FullyConnected(features, num_hidden=5, name="fc")


def bound(symbol, grad_req="write"):
    executor = symbol.simple_bind(mx.cpu(), data=SHAPE, grad_req=grad_req)
    generator = np.random.default_rng(4)
    for _, array in sorted(executor.arg_dict.items()):
        array[:] = generator.normal(0, 0.3, array.shape)
    for name, array in executor.aux_dict.items():
        array[:] = 1.0 if "var" in name else 0.1
    return executor


def results(symbol):
    executor = bound(symbol)
    out = executor.forward(is_train=True)[0]
    executor.backward(mx.nd.array(np.random.default_rng(6).normal(0, 1, out.shape)))
    arrays = {"out": out, **executor.grad_dict, **executor.aux_dict}
    assert {array.dtype for array in arrays.values()} == {np.float32}
    assert {array.dtype for array in executor.arg_dict.values()} == {np.float32}
    return {name: array.asnumpy() for name, array in arrays.items()}


@needs.bfloat16
def test_outputs_gradients_and_statistics_are_those_of_float32_but_for_rounding():
    whole, low = results(branching()), results(lower_precision(branching(), "bfloat16"))
    assert whole.keys() == low.keys()
    differences = {
        name: np.linalg.norm(low[name] - values) / np.linalg.norm(values)
        for name, values in whole.items()
        if np.linalg.norm(values) > 1e-3
    }
    assert max(differences.values()) < 0.15, differences
    assert differences["out"] > 0


@pytest.mark.parametrize(("dtype", "found"), [("bfloat16", np.dtype([("bfloat16", "u2")])), ("float16", np.float16)])
def test_the_network_computes_in_the_lower_precision_and_not_only_at_its_layers(dtype, found):
    symbol = lower_precision(branching(), dtype)
    casts = [node.name for node in Graph.of(symbol).nodes if node.op == "amp_cast"]
    assert {name for name in casts if name.endswith("float32")} == {
        "right_output0_float32",  # for LeakyReLU
        "relu_output0_float32",  # for the Concat, one of whose parts is float32
        "sum_output0_float32",
        "fc_output0_float32",
    }
    inferred = dict(zip(symbol.get_internals().list_outputs(), symbol.get_internals().infer_type(data=np.float32)[1]))
    assert inferred["stem_output"] == inferred["bn_output"] == inferred["relu_output"] == found
    assert inferred["bn_gamma"] == inferred["bn_moving_var"] == inferred["stem_weight"] == np.float32


def test_what_is_kept_computes_as_before():
    names = {node.name for node in Graph.of(branching()).nodes}
    kept = results(lower_precision(branching(), "bfloat16", kept=names))
    assert all((kept[name] == values).all() for name, values in results(branching()).items())


def test_the_symbol_that_is_given_stays_as_it_is():
    symbol = branching()
    before = json.loads(symbol.tojson())
    lower_precision(symbol, "bfloat16")
    assert json.loads(symbol.tojson()) == before


def lowered_by_hand(half):
    """A network in float16 by all that a symbol can say of types, or with ``half`` False the same without any of it."""

    def cast(net, dtype):
        return mx.sym.Cast(net, dtype=dtype) if half else net

    dtype = "float16" if half else "float32"
    data = cast(mx.sym.Variable("data"), "float16")
    left = mx.sym.Variable("left_weight", dtype=dtype)
    left = mx.sym.Convolution(data, left, num_filter=4, kernel=(3, 3), no_bias=True, name="left")
    right = mx.sym.Convolution(cast(data, "float64"), num_filter=4, kernel=(3, 3), name="right")
    if half:
        left, right = mx.sym.amp_multicast(left, right, num_outputs=2)
    net = mx.sym.elemwise_sub(left, mx.sym.softmax(right, axis=1, dtype=dtype, name="gate"), name="sum")
    net = mx.sym.FullyConnected(mx.sym.amp_cast(net, dtype="float16") if half else net, num_hidden=3, name="fc")
    return cast(net, "float32")


def test_a_network_in_float16_becomes_the_one_that_it_was_made_of():
    symbol, plain = lowered_by_hand(half=True), lowered_by_hand(half=False)
    whole = in_float32(symbol)
    assert len(Graph.of(whole).nodes) == len(Graph.of(plain).nodes) == len(Graph.of(symbol).nodes) - 5
    expected = results(plain)
    assert all((array == expected[name]).all() for name, array in results(whole).items())
    assert in_float32(plain) is plain


def test_casts_to_integers_and_back_stay():
    data = mx.sym.Variable("data")
    rounded = mx.sym.Cast(mx.sym.Cast(mx.sym.Cast(data * 8, "float16"), "int32"), "float32") / 8
    whole = in_float32(rounded)
    dtypes = [node.attrs["dtype"] for node in Graph.of(whole).nodes if node.op == "Cast"]
    assert dtypes == ["int32", "float32"]
    given = mx.nd.array([[0.3, 1.99]])
    found = whole.bind(mx.cpu(), {"data": given}).forward()[0].asnumpy()
    np.testing.assert_array_equal(found, np.trunc(given.asnumpy() * 8) / 8)


@pytest.mark.parametrize(
    "name, expected", [("resnet18", True), ("squeezenet1.1", True), ("densenet121", True), ("mobilenetv2", False)]
)
def test_a_network_with_clips_between_its_convolutions_does_not_stay_in_a_lower_precision(name, expected):
    assert mostly_lowered(build(named_network(name))) is expected


@needs.bfloat16
@pytest.mark.parametrize(
    "kind",
    [
        *({"act_type": kind} for kind in ("relu", "sigmoid", "tanh", "softrelu", "softsign")),
        *({"pool_type": kind} for kind in ("max", "avg", "sum", "lp")),
    ],
    ids=lambda kind: next(iter(kind.values())),
)
def test_every_kind_of_activation_and_pooling_still_computes(kind):
    data = mx.sym.Convolution(mx.sym.Variable("data"), num_filter=32, kernel=(3, 3), name="first")
    if "act_type" in kind:
        data = mx.sym.Activation(data, **kind)
    else:
        data = mx.sym.Pooling(data, kernel=(2, 2), **kind, **({"p_value": 2} if kind["pool_type"] == "lp" else {}))
    symbol = mx.sym.Convolution(data, num_filter=32, kernel=(3, 3), name="last")

    whole, low = (bound(each, "null").forward()[0].asnumpy() for each in (symbol, lower_precision(symbol, "bfloat16")))

    assert np.linalg.norm(low - whole) / np.linalg.norm(whole) < 0.03
