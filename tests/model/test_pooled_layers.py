"""Which layers a head sits on, and what it computes from them."""

import numpy as np
import pytest
import tiny

from mxml.errors import ModelError
from mxml.model import params_file
from mxml.model.layers import Network
from mxml.model.pooled_layers import find_layers
from mxml.model.symbol_file import load_symbol
from mxml.model.symbols import attach_head, features_output, fine_tune_model, head_statistics, plain_symbol
from mxml.runtime.imports import load_mxnet

mx = load_mxnet()


def found(symbol, shape=(3, 224, 224), **settings):
    return [(layer.name, layer.shape) for layer in find_layers(Network(symbol, shape), **settings).layers]


def test_the_layers_of_the_sample(checkout):
    symbol = load_symbol(checkout / "models" / "sample-symbol.json")
    layers = [
        ("flatten0", (128,)),
        ("stage2_relu", (64, 12, 12)),
        ("stage1_relu", (32, 24, 24)),
        ("stem_relu", (32, 48, 48)),
    ]

    assert found(symbol, (3, 96, 96), count=16) == layers
    for count in range(1, 4):
        assert found(symbol, (3, 96, 96), count=count) == layers[:count]
    # A layer that is named is the only one.
    assert found(symbol, (3, 96, 96), layer="stage1_relu", count=4) == [("stage1_relu", (32, 24, 24))]
    with pytest.raises(ModelError, match="nowhere"):
        found(symbol, (3, 96, 96), layer="nowhere", count=4)


def test_the_layers_of_squeezenet(shared):
    symbol = load_symbol(shared / "models" / "squeezenet_v1.0-symbol.json")

    assert found(symbol, count=4) == [
        ("fire9_concat", (512, 13, 13)),
        ("fire8_concat", (512, 27, 27)),
        ("fire7_concat", (384, 27, 27)),
        ("fire5_concat", (256, 27, 27)),
    ]


@pytest.mark.parametrize("poolings", [("avg",), ("max", "avg")])
@pytest.mark.parametrize("count", [1, 4])
@pytest.mark.parametrize("name", ["sample", "squeezenet"])
def test_a_new_head_is_put_where_the_old_one_was_and_not_on_it(name, count, poolings, checkout, shared):
    sample = checkout / "models" / "sample-symbol.json"
    symbol = load_symbol(sample if name == "sample" else shared / "models" / "squeezenet_v1.0-symbol.json")
    original = Network(symbol, (3, 96, 96))
    layers = find_layers(original, count=count, poolings=poolings)

    # The old head has other layers than the new one, or the same.
    for old in (1, 3, 4):
        for kept in (("avg",), ("avg", "max")):
            head = attach_head(original, 3, find_layers(original, count=old, poolings=kept), standardise=True)
            network = Network(plain_symbol(head), (3, 96, 96))
            again = find_layers(network, count=count, poolings=poolings)

            assert again.layers == layers.layers
            renewed = attach_head(network, 5, again, standardise=True)
            assert renewed.list_arguments() == attach_head(original, 5, layers, standardise=True).list_arguments()
            assert feature_count(network, again) == feature_count(original, layers)


def feature_count(network, layers):
    features = Network(features_output(attach_head(network, 5, layers)), network.data_shape)
    return features.shapes[features.graph.heads[0]][1]


def test_a_new_head_does_not_take_the_statistics_of_the_old_one(tmp_path):
    tiny.make_network(tmp_path / "net")
    old = fine_tune_model(tmp_path / "net", 0, 3, (3, 32, 32), num_layers=4, poolings=("avg", "max"), standardise=True)
    mean = head_statistics(old.symbol)[2]
    old.aux_params[mean][:] = 7
    plain_symbol(old.symbol).save(str(tmp_path / "old-symbol.json"))
    params_file.write_params(f"{tmp_path / 'old'}-0001.params", params_file.join_params(old.arg_params, old.aux_params))

    # Of the same length, and of another one.
    for poolings in (("avg", "max"), ("avg",)):
        new = fine_tune_model(tmp_path / "old", 1, 3, (3, 32, 32), num_layers=4, poolings=poolings, standardise=True)
        assert new.layers.layers == old.layers.layers
        assert head_statistics(new.symbol)[2] == mean
        assert not new.aux_params[mean].asnumpy().any()


# After the feature layer, each is the last of a stage or of a width.
ZOO = {
    "resnet18_v1": [
        ("pool1_fwd", (512, 1, 1)),
        ("stage3_activation1", (256, 14, 14)),
        ("stage2_activation1", (128, 28, 28)),
        ("stage1_activation1", (64, 56, 56)),
    ],
    "resnet18_v2": [
        ("flatten0_flatten0", (512,)),
        ("stage4_activation0", (256, 14, 14)),
        ("stage3_activation0", (128, 28, 28)),
        ("stage2_activation0", (64, 56, 56)),
    ],
    "mobilenet1.0": [
        ("flatten0_flatten0", (1024,)),
        ("relu23_fwd", (512, 7, 7)),
        ("relu22_fwd", (512, 14, 14)),
        ("relu11_fwd", (256, 14, 14)),
    ],
    # Within a dense block each layer holds those before it.
    "densenet121": [
        ("flatten0_flatten0", (1024,)),
        ("conv3_fwd", (512, 14, 14)),
        ("relu3_fwd", (1024, 14, 14)),
        ("relu2_fwd", (512, 28, 28)),
    ],
    "vgg11": [
        ("dense1_relu_fwd", (4096,)),
        ("relu7_fwd", (512, 14, 14)),
        ("relu5_fwd", (512, 28, 28)),
        ("relu3_fwd", (256, 56, 56)),
    ],
    "alexnet": [
        ("dense1_relu_fwd", (4096,)),
        ("conv4_relu_fwd", (256, 13, 13)),
        ("conv2_relu_fwd", (384, 13, 13)),
        ("conv1_relu_fwd", (192, 27, 27)),
    ],
}


@pytest.mark.parametrize("name", ZOO)
def test_the_layers_of_gluons_networks(name):
    network = mx.gluon.model_zoo.vision.get_model(name, pretrained=False, prefix="net_")

    layers = found(network(mx.sym.Variable("data")), count=4)

    assert [(layer.removeprefix("net_"), shape) for layer, shape in layers] == ZOO[name]


def write_network(prefix):
    """Write a network with a branch, a narrow layer and several stages."""
    conv = {"kernel": (3, 3), "pad": (1, 1)}
    net = mx.sym.Activation(
        mx.sym.Convolution(mx.sym.Variable("data"), num_filter=6, **conv), act_type="relu", name="one"
    )
    branch = mx.sym.Convolution(net, num_filter=8, stride=(2, 2), name="branch", **conv)
    net = mx.sym.Convolution(net, num_filter=8, stride=(2, 2), name="trunk", **conv)
    net = mx.sym.broadcast_add(net, branch, name="two")
    net = mx.sym.Convolution(net, num_filter=2, name="narrow", **conv)
    net = mx.sym.Activation(mx.sym.Convolution(net, num_filter=10, **conv), act_type="relu", name="three")
    net = mx.sym.Pooling(net, global_pool=True, kernel=(1, 1), pool_type="avg", name="pool")
    net = mx.sym.FullyConnected(mx.sym.Flatten(net, name="flat"), num_hidden=5, name="classes")
    net = mx.sym.SoftmaxOutput(net, name="softmax")
    generator = np.random.default_rng(3)
    shapes, _, _ = net.infer_shape(data=(1, 3, 8, 8))
    args = {
        name: mx.nd.array(generator.normal(0, 0.3, shape))
        for name, shape in zip(net.list_arguments(), shapes)
        if name not in ("data", "softmax_label")
    }
    mx.model.save_checkpoint(str(prefix), 0, net, args, {})
    return net, args


@pytest.mark.parametrize("poolings", [("avg",), ("max",), ("avg", "max"), ("max", "avg")])
def test_a_head_on_several_layers_predicts_what_numpy_does(tmp_path, poolings):
    net, args = write_network(tmp_path / "net")
    model = fine_tune_model(tmp_path / "net", 0, 3, (3, 8, 8), num_layers=4, poolings=poolings, standardise=True)
    # Not the narrow one, and no branch.
    assert [layer.name for layer in model.layers.layers] == ["flat", "two", "one"]
    generator = np.random.default_rng(1)
    data = generator.normal(size=(4, 3, 8, 8)).astype(np.float32)
    internals = net.get_internals()
    outputs = mx.sym.Group([internals[f"{name}_output"] for name in ("flat", "two", "one")])
    executor = outputs.simple_bind(mx.cpu(), grad_req="null", data=data.shape)
    executor.copy_params_from(args, allow_extra_params=True)
    flat, two, one = (output.asnumpy() for output in executor.forward(data=mx.nd.array(data)))
    pooled = {"avg": lambda values: values.mean(axis=(2, 3)), "max": lambda values: values.max(axis=(2, 3))}
    features = np.concatenate([flat, *(pooled[name](layer) for layer in (two, one) for name in poolings)], axis=1)

    size = features.shape[1]
    _, _, mean, variance = head_statistics(model.symbol)
    weight, bias = model.head_names
    values = {
        mean: generator.normal(size=size),
        variance: generator.uniform(0.5, 2, size),
        weight: generator.normal(size=(3, size)),
        bias: generator.normal(size=3),
    }
    arrays = {name: mx.nd.array(value) for name, value in values.items()}
    parameters = {**model.arg_params, **model.aux_params, **arrays}

    def output(symbol):
        bound = symbol.simple_bind(mx.cpu(), grad_req="null", data=data.shape)
        aux = set(symbol.list_auxiliary_states())
        bound.copy_params_from(
            {name: value for name, value in parameters.items() if name in symbol.list_arguments()},
            {name: value for name, value in parameters.items() if name in aux},
        )
        return bound.forward(is_train=False, data=mx.nd.array(data))[0].asnumpy()

    assert output(features_output(model.symbol)) == pytest.approx(features, abs=1e-4)
    standard = (features - values[mean]) / np.sqrt(values[variance] + 1e-5)
    expected = 1 / (1 + np.exp(-(standard @ values[weight].T + values[bias])))
    assert output(plain_symbol(model.symbol)) == pytest.approx(expected, abs=1e-4)


def test_a_head_before_its_fit_says_one_half_of_everything(tmp_path):
    tiny.make_network(tmp_path / "net")
    model = fine_tune_model(tmp_path / "net", 0, 3, (3, 32, 32), num_layers=3, standardise=True)
    gamma, beta, mean, variance = head_statistics(model.symbol)

    assert (model.arg_params[gamma].asnumpy() == 1).all()
    assert not model.arg_params[beta].asnumpy().any()
    assert not model.aux_params[mean].asnumpy().any()
    assert (model.aux_params[variance].asnumpy() == 1).all()
    assert not any(model.arg_params[name].asnumpy().any() for name in model.head_names)
