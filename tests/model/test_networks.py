"""Networks by name: their layers against gluon's own, their names, their first parameters and their cost."""

from __future__ import annotations

import hashlib
import math
import subprocess
import sys

import numpy as np
import pytest

from mxml.errors import ModelError, MxmlError
from mxml.model import symbols
from mxml.model.graph import Graph
from mxml.model.layers import Network
from mxml.model.networks.catalogue import NETWORKS, named_network
from mxml.model.networks.cost import Cost, cost, cost_by_design
from mxml.model.networks.first_parameters import first_parameters
from mxml.model.networks.from_scratch import scratch_model, with_head
from mxml.model.networks.layers import build
from mxml.model.symbol_file import load_symbol
from mxml.runtime.imports import load_mxnet

mx = load_mxnet()

GLUON = [network for network in NETWORKS.values() if network.gluon]
DIGEST = """
import hashlib
from mxml.model.networks.catalogue import NETWORKS
from mxml.model.networks.layers import build
from mxml.model.networks.from_scratch import scratch_model
digest = hashlib.sha256()
for name in ("smallervgg", "resnet18", "mobilenetv2", "densenet121", "inceptionv3"):
    digest.update(build(NETWORKS[name]).tojson().encode())
model = scratch_model("mobilenet", 3, (3, 64, 64), 5)
for name, value in sorted({**model.arg_params, **model.aux_params}.items()):
    digest.update(name.encode() + value.asnumpy().tobytes())
"""


def gluon_net(network, classes=7):
    return mx.gluon.model_zoo.vision.get_model(network.gluon, prefix="other_", classes=classes)


def filled(net, shape):
    """Give a gluon network random parameters, moving statistics too, and return them under our network's prefix."""
    generator = np.random.default_rng(0)
    net.initialize()
    net(mx.nd.zeros((1, *shape)))
    values = {}
    for name, parameter in net.collect_params().items():
        numbers = generator.normal(0, 1, parameter.shape)
        if name.endswith("weight"):
            numbers *= math.sqrt(2 / math.prod(parameter.shape[1:]))
        elif name.endswith(("gamma", "var")):
            numbers = 1 + 0.1 * np.abs(numbers)
        else:
            numbers *= 0.1
        parameter.set_data(mx.nd.array(numbers))
        values[name] = parameter.data()
    return values


def run(symbol, values, data):
    executor = symbol.simple_bind(mx.cpu(), grad_req="null", data=data.shape)
    executor.copy_params_from(
        {name: values[name] for name in symbol.list_arguments() if name != "data"},
        {name: values[name] for name in symbol.list_auxiliary_states()},
    )
    return executor.forward(data=data)[0].asnumpy()


@pytest.mark.parametrize("name", ["resnet18", "resnet18_v2", "mobilenet", "mobilenetv2", "squeezenet1.1"])
def test_the_features_are_those_of_gluons_network_with_the_same_parameters(name):
    # gluon's SqueezeNet has a classifier for this size alone.
    network, shape = NETWORKS[name], (3, 224, 224) if "squeezenet" in name else (3, 96, 80)
    net = gluon_net(network)
    values = {key.replace("other_", f"{name}_", 1): value for key, value in filled(net, shape).items()}
    data = mx.nd.array(np.random.default_rng(1).normal(0, 1, (2, *shape)))
    found, wanted = run(build(network), values, data), net.features(data).asnumpy()
    assert wanted.std() > 0.01
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["densenet121", "inceptionv3"])
def test_the_logits_are_those_of_gluons_network_at_the_size_that_it_is_made_for(name):
    network = NETWORKS[name]
    net = gluon_net(network)
    values = {key.replace("other_", f"{name}_", 1): value for key, value in filled(net, network.image_shape).items()}
    output = net.output.name
    dense = {f"fc_{kind}": values[f"{output}_{kind}".replace("other_", f"{name}_", 1)] for kind in ("weight", "bias")}
    data = mx.nd.array(np.random.default_rng(1).normal(0, 1, (1, *network.image_shape)))
    logits = symbols.logits_output(with_head(network, 7, network.image_shape)[1].symbol)
    np.testing.assert_allclose(run(logits, {**values, **dense}, data), net(data).asnumpy(), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("network", GLUON, ids=lambda network: network.name)
def test_a_gluon_network_has_the_parameters_of_gluons_own(network):
    """Those of the layers before the classifier by name and shape, all but moving statistics and the head."""
    net = gluon_net(network)
    symbol = net.features(mx.sym.Variable("data"))
    shapes, _, _ = symbol.infer_shape(data=(2, *network.image_shape))
    wanted = dict(zip((name.replace("other_", f"{network.name}_", 1) for name in symbol.list_arguments()), shapes))
    built = build(network)
    ours, _, _ = built.infer_shape(data=(2, *network.image_shape))
    assert dict(zip(built.list_arguments(), ours)) == wanted
    total = sum(math.prod(shape) for name, shape in wanted.items() if name != "data")
    channels = Network(built, network.image_shape).feature_layer(built_head(built, network)).shape[0]
    assert cost_by_design(network, 10).parameters == total + 10 * channels + 10


def nodes(symbol):
    # MXNet writes an operator's attributes at its variables too, where they mean nothing.
    return [(node.name, node.op, node.inputs, node.op != "null" and node.attrs) for node in Graph.of(symbol).nodes]


def built_head(symbol, network):
    return Network(symbol, network.image_shape).graph.heads[0]


def test_smaller_vgg_has_the_tutorials_layers():
    """Worked out by hand from the tutorial's code, for its 96 x 96 images and 6 labels."""
    convolutions = [3 * 9 * 32 + 32, 32 * 9 * 64 + 64, 64 * 9 * 64 + 64, 64 * 9 * 128 + 128, 128 * 9 * 128 + 128]
    batch_norms = 2 * (32 + 64 + 64 + 128 + 128 + 1024)
    # 96 / 3 / 2 / 2 = 8 pixels a side.
    dense = 8 * 8 * 128 * 1024 + 1024 + 1024 * 6 + 6
    model = scratch_model("smallervgg", 6, (3, 96, 96), 0)
    assert cost(model.network).parameters == sum(convolutions) + batch_norms + dense == 8_676_422
    ops = [
        node.op for node in Network(symbols.plain_symbol(model.symbol), (3, 96, 96)).graph.nodes if node.op != "null"
    ]
    block = ["Convolution", "Activation", "BatchNorm"]
    assert ops == [
        *[*block, "Pooling", "Dropout"],
        *[*block, *block, "Pooling", "Dropout"] * 2,
        *["Flatten", "FullyConnected", "Activation", "BatchNorm", "Dropout", "FullyConnected", "sigmoid"],
    ]
    shares = [float(node.attrs["p"]) for node in model.network.graph.nodes if node.op == "Dropout"]
    assert shares == [0.25, 0.25, 0.25, 0.5]


@pytest.mark.parametrize("network", NETWORKS.values(), ids=lambda network: network.name)
def test_every_network_passes_the_check_of_symbol_files_unchanged(network, tmp_path):
    _, whole = with_head(network, 5, network.image_shape)
    plain = symbols.plain_symbol(whole.symbol)
    plain.save(str(tmp_path / "x-symbol.json"))
    loaded = load_symbol(tmp_path / "x-symbol.json")
    assert nodes(loaded) == nodes(plain)
    names = [node.name for node in whole.graph.nodes]
    assert len(set(names)) == len(names)
    found = Network(loaded, network.image_shape)
    # What a later fine-tuning would cut at: the head's input, without the dropout.
    assert found.graph.nodes[found.find(None)[0]].op != "Dropout"
    assert [found.shapes[head] for head in found.graph.heads] == [(2, 5)]


def test_names_and_first_parameters_do_not_depend_on_the_process_or_on_what_it_did_before():
    gluon_net(GLUON[0])
    mx.random.seed(99)
    mx.sym.Activation(mx.sym.Variable("x"), act_type="relu")
    scope: dict[str, object] = {"hashlib": hashlib}
    exec(DIGEST, scope)
    with mx.name.Prefix("elsewhere_"):
        assert build(GLUON[0]).list_arguments()[1].startswith(GLUON[0].name)
    run = subprocess.run(
        [sys.executable, "-c", f"{DIGEST}\nprint(digest.hexdigest())"], capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == scope["digest"].hexdigest()  # type: ignore[attr-defined]


def test_the_first_weights_are_hes_and_the_rest_passes_on_what_it_gets():
    network = Network(build(NETWORKS["mobilenet"]), (3, 64, 64))
    arguments, states = first_parameters(network, 3)
    for name, value in arguments.items():
        numbers, fan_in = value.asnumpy(), math.prod(value.shape[1:])
        if name.endswith("weight"):
            # Five standard errors of a sample's standard deviation.
            assert numbers.std() * math.sqrt(fan_in / 2) == pytest.approx(1, abs=5 / math.sqrt(2 * numbers.size)), name
            assert abs(numbers.mean()) < 5 * math.sqrt(2 / fan_in / numbers.size)
        else:
            assert (numbers == name.endswith("gamma")).all()
    assert {name.rpartition("_")[2] for name in arguments} == {"weight", "gamma", "beta"}
    assert all((value.asnumpy() == name.endswith("var")).all() for name, value in states.items())


def test_every_parameter_is_given_and_a_seed_decides_it():
    first, again, other = (scratch_model("densenet121", 4, (3, 64, 64), seed) for seed in (1, 1, 2))
    symbols.check_params(first.network, first.arg_params, first.aux_params)
    assert set(first.head_names) == {"fc_weight", "fc_bias"}
    differ = 0
    for name, value in first.arg_params.items():
        assert (value.asnumpy() == again.arg_params[name].asnumpy()).all()
        differ += not (value.asnumpy() == other.arg_params[name].asnumpy()).all()
    assert differ == sum("conv" in name for name in first.arg_params)
    assert not first.arg_params["fc_weight"].asnumpy().any(), "every label begins at 1/2"


def test_signals_neither_vanish_nor_explode_in_a_deep_network_with_its_first_parameters():
    """Without BatchNorm, which would hide it: 25 convolutions of SqueezeNet."""
    network = Network(build(NETWORKS["squeezenet1.0"]), (3, 64, 64))
    data = mx.nd.array(np.random.default_rng(1).normal(0, 1, (4, 3, 64, 64)))
    values = dict(first_parameters(network, 0)[0])
    assert 0.03 < run(network.symbol, values, data).std() < 30


def test_the_cost_of_a_small_network_is_what_one_counts_by_hand():
    net = mx.sym.Convolution(mx.sym.Variable("data"), num_filter=4, kernel=(3, 3), stride=(2, 2), name="c")
    net = mx.sym.Convolution(net, num_filter=4, kernel=(3, 3), num_group=4, no_bias=True, name="d")
    net = mx.sym.FullyConnected(mx.sym.BatchNorm(net, name="b"), num_hidden=5, name="f")
    # 11 -> 5 -> 3 pixels a side.
    weights = 4 * 3 * 9 + 4 * 9 + 5 * 4 * 9
    found = cost(Network(mx.sym.sigmoid(net), (3, 11, 11)))
    assert found == Cost(weights + 4 + 2 * 4 + 5, 25 * 4 * 3 * 9 + 9 * 4 * 9 + 5 * 4 * 9)


@pytest.mark.parametrize(
    ("name", "millions", "billions"),
    [("resnet18", 11.69, 1.81), ("mobilenet", 4.23, 0.569), ("vgg16_bn", 138.37, 15.47), ("alexnet", 61.10, 0.714)],
)
def test_costs_are_the_published_ones(name, millions, billions):
    found = cost_by_design(NETWORKS[name], 1000)
    assert found.parameters / 1e6 == pytest.approx(millions, abs=0.006)
    assert found.multiply_adds / 1e9 == pytest.approx(billions, rel=0.005)


def test_images_that_are_too_small_and_unknown_names_are_refused():
    with pytest.raises(ModelError, match=r"^inceptionv3: does not take .*; it was designed for 299 x 299 pixels"):
        scratch_model("inceptionv3", 3, (3, 32, 32), 0)
    with pytest.raises(MxmlError, match="no network 'resnet19'; there are smallervgg, "):
        named_network("resnet19")
