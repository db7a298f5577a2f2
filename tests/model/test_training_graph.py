"""``split_concats`` changes how a network is computed, not what."""

import numpy as np
import pytest

from mxml.model.graph import to_document
from mxml.model.layers import Network
from mxml.model.training_graph import adaptive_means, pool_before_relu, split_concats, training_graph
from mxml.runtime.imports import load_mxnet

mx = load_mxnet()

SIZE = 15


def conv(data, filters, kernel, name, **more):
    return mx.sym.Convolution(
        data, num_filter=filters, kernel=(kernel, kernel), pad=(kernel // 2,) * 2, name=name, **more
    )


def squeeze_and_expand():
    """Two fire modules with a pooling between them and a global one behind."""
    x = mx.sym.Variable("data")
    for number in range(2):
        x = mx.sym.Activation(conv(x, 4, 1, f"squeeze{number}", no_bias=number == 1), act_type="relu")
        sides = [mx.sym.Activation(conv(x, 6 + k, k, f"expand{number}_{k}"), act_type="relu") for k in (1, 3)]
        x = mx.sym.concat(*sides, dim=1, name=f"join{number}")
        if number == 0:
            x = mx.sym.Pooling(x, kernel=(3, 3), stride=(2, 2), pool_type="max", pooling_convention="full", name="pool")
    x = mx.sym.Flatten(mx.sym.Pooling(x, global_pool=True, kernel=(1, 1), pool_type="avg", name="global"))
    return mx.sym.FullyConnected(x, num_hidden=3, name="fc")


def results(symbol, values, data):
    """Return the output and every gradient for one batch."""
    executor = symbol.simple_bind(mx.cpu(), data=data.shape)
    for name, array in executor.arg_dict.items():
        array[:] = data if name == "data" else values[name]
    output = executor.forward(is_train=True)[0].asnumpy()
    executor.backward(mx.nd.array(np.cos(np.arange(output.size)).reshape(output.shape)))
    return {"output": output, **{name: array.asnumpy() for name, array in executor.grad_dict.items()}}


def operators(symbol):
    return [name for name in symbol.get_internals().list_outputs() if "join" in name]


def assert_same(symbol, changed, rtol):
    """Compare arguments, outputs and, on random values, what is computed."""
    assert sorted(changed.list_arguments()) == sorted(symbol.list_arguments())
    assert changed.list_outputs() == symbol.list_outputs()
    generator = np.random.default_rng(3)
    data = generator.standard_normal((2, 3, SIZE, SIZE)).astype("float32")
    shapes, _, _ = symbol.infer_shape(data=data.shape)
    values = {n: generator.standard_normal(s).astype("float32") for n, s in zip(symbol.list_arguments(), shapes)}
    expected, found = results(symbol, values, data), results(changed, values, data)
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        assert np.abs(value).max() > 0
        np.testing.assert_allclose(found[name], value, rtol=rtol, atol=rtol * np.abs(value).max(), err_msg=name)


def test_outputs_and_gradients_stay_without_concats():
    symbol = squeeze_and_expand()
    split = split_concats(Network(symbol, (3, SIZE, SIZE)))
    assert operators(symbol) and not operators(split)
    assert_same(symbol, split, rtol=1e-4)
    assert_same(symbol, training_graph(Network(symbol, (3, SIZE, SIZE))), rtol=1e-4)


def test_outputs_and_gradients_stay_with_adaptive_means():
    net = squeeze_and_expand()
    internals = net.get_internals()
    means = [
        mx.sym.Flatten(
            mx.sym.Pooling(internals[f"join{number}_output"], global_pool=whole, kernel=(1, 1), pool_type=kind)
        )
        for number, kind, whole in ((0, "avg", True), (1, "avg", "1"), (1, "max", True))
    ]
    symbol = mx.sym.FullyConnected(mx.sym.concat(*means, dim=1), num_hidden=3, name="head")
    changed = adaptive_means(symbol)
    kinds = [node["op"] for node in to_document(changed)["nodes"]]
    # The pooling of a part of the picture and the one for the maximum stay.
    assert kinds.count("_contrib_AdaptiveAvgPooling2D") == 2 and kinds.count("Pooling") == 2
    assert_same(symbol, changed, rtol=1e-4)
    assert_same(symbol, training_graph(Network(symbol, (3, SIZE, SIZE))), rtol=1e-4)


def test_relu_comes_after_the_max_pooling_that_reads_it():
    relu = mx.sym.Activation(conv(mx.sym.Variable("data"), 4, 3, "conv"), act_type="relu", name="relu")
    pooled = mx.sym.Pooling(relu, kernel=(3, 3), stride=(2, 2), pad=(1, 1), pool_type="max", name="pool")
    symbol = mx.sym.FullyConnected(pooled, num_hidden=3, name="fc")
    shape = (2, 3, SIZE, SIZE)
    assert symbol.get_internals()["relu_output"].infer_shape(data=shape)[1] == [(2, 4, SIZE, SIZE)]
    changed = pool_before_relu(symbol)
    assert changed.get_internals()["relu_output"].infer_shape(data=shape)[1] == [(2, 4, SIZE // 2 + 1, SIZE // 2 + 1)]
    assert_same(symbol, changed, rtol=1e-6)


@pytest.mark.parametrize(
    "reader",
    [
        lambda x: mx.sym.Pooling(x, kernel=(2, 2), pool_type="avg"),
        lambda x: mx.sym.concat(mx.sym.Pooling(x, kernel=(3, 3), pad=(1, 1), pool_type="max"), x, dim=1),
    ],
    ids=["an average", "read by another too"],
)
def test_relu_stays_before(reader):
    symbol = reader(mx.sym.Activation(mx.sym.Variable("data"), act_type="relu", name="relu"))
    assert pool_before_relu(symbol).tojson() == symbol.tojson()


@pytest.mark.parametrize(
    "reader",
    [
        lambda x: mx.sym.BatchNorm(x, name="norm"),
        lambda x: conv(x, 2, 1, "grouped", num_group=2),
        lambda x: conv(x, 64, 1, "wide"),
        lambda x: mx.sym.Group([conv(x, 2, 1, "narrow"), x]),
    ],
    ids=["read by BatchNorm", "groups", "sums larger than the parts", "an output itself"],
)
def test_what_is_needed_stays(reader):
    data = mx.sym.Variable("data")
    symbol = reader(mx.sym.concat(conv(data, 4, 1, "a"), conv(data, 4, 3, "b"), dim=1, name="join"))
    assert operators(split_concats(Network(symbol, (3, SIZE, SIZE)))) == operators(symbol) != []


def test_a_long_row_of_poolings_behind_a_concat_is_walked():
    data = mx.sym.Variable("data")
    x = mx.sym.concat(conv(data, 4, 1, "a"), conv(data, 4, 3, "b"), dim=1, name="join")
    for number in range(1200):
        x = mx.sym.Pooling(x, kernel=(1, 1), pool_type="max", name=f"pool{number}")
    assert not operators(split_concats(Network(conv(x, 2, 1, "c"), (3, SIZE, SIZE))))
