"""Symbols: which files are let in, where a network is cut, what sits there, and which parameters it takes."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from mxml.errors import DeviceError, ModelError
from mxml.model import loss_operator, losses, params_file, symbols
from mxml.model.graph import Graph, draws_random_numbers, freeze_batch_norm, moving_states
from mxml.model.layers import FeatureLayer, Network
from mxml.model.pooled_layers import find_layers
from mxml.model.symbol_file import load_symbol
from mxml.runtime.imports import load_mxnet

mx = load_mxnet()

SMALL = (3, 8, 8)


def backbone(name: str = "conv"):
    """A convolution, BatchNorm and relu: (4, 6, 6) from (3, 8, 8)."""
    net = mx.sym.Convolution(mx.sym.Variable("data"), kernel=(3, 3), num_filter=4, name=name)
    net = mx.sym.BatchNorm(net, fix_gamma=False, name=f"{name}_bn")
    return mx.sym.Activation(net, act_type="relu", name=f"{name}_relu")


def find_feature_layer(symbol, data_shape, layer=None):
    network = Network(symbol, data_shape)
    return network.feature_layer(network.find(layer))


def attach_head(symbol, num_classes, layer=None):
    network = Network(symbol, SMALL)
    return symbols.attach_head(network, num_classes, find_layers(network, layer))


def pooled(net):
    return mx.sym.Pooling(net, global_pool=True, kernel=(1, 1), pool_type="avg", name="pool")


def classifier(net=None, name: str = "fc", classes: int = 6):
    net = mx.sym.Flatten(pooled(backbone() if net is None else net), name="flatten0")
    net = mx.sym.FullyConnected(net, num_hidden=classes, name=name)
    return mx.sym.SoftmaxOutput(net, name="softmax")


def parameters(symbol, data_shape=SMALL, seed: int = 1):
    """Random parameters for every variable but the data and the labels, as arguments and auxiliary states."""
    generator = np.random.default_rng(seed)
    arg_shapes, _, aux_shapes = symbol.infer_shape_partial(data=(1, *data_shape))
    names = [name for name in symbol.list_arguments() if name != "data" and not name.endswith("label")]
    shapes = dict(zip(symbol.list_arguments(), arg_shapes))
    arg_params = {name: mx.nd.array(generator.normal(size=shapes[name])) for name in names}
    aux_params = {
        name: mx.nd.ones(shape) if name.endswith("var") else mx.nd.zeros(shape)
        for name, shape in zip(symbol.list_auxiliary_states(), aux_shapes)
    }
    return arg_params, aux_params


def save(symbol, folder, params=None):
    """Write symbol and parameters as epoch 0 and return their prefix."""
    prefix = folder / "net"
    symbol.save(f"{prefix}-symbol.json")
    joined = params_file.join_params(*(params or parameters(symbol)))
    params_file.write_params(f"{prefix}-0000.params", joined)
    return prefix


def step(symbol, arg_params, aux_params, data_shape, label_width, batch=2, context=None):
    """One step of plain SGD (rate 0.1) on random images; returns the probabilities, the labels and the parameters."""
    generator = np.random.default_rng(3)
    labels = generator.integers(-1, 2, (batch, label_width)).astype(np.float32)
    labels[0, 0] = 1
    images = generator.normal(size=(batch, *data_shape)).astype(np.float32)
    module = mx.mod.Module(symbol, label_names=["softmax_label"], context=context or mx.cpu())
    module.bind([("data", images.shape)], [("softmax_label", labels.shape)])
    module.init_params(None, arg_params=arg_params, aux_params=aux_params)
    module.init_optimizer(optimizer="sgd", optimizer_params={"learning_rate": 0.1})
    module.forward_backward(mx.io.DataBatch([mx.nd.array(images)], [mx.nd.array(labels)]))
    probabilities = module.get_outputs()[0].asnumpy()
    module.update()
    loss_operator.raise_failure()
    return probabilities, labels, {name: value.asnumpy() for name, value in module.get_params()[0].items()}


def assert_trains(model, data_shape, classes):
    """Step once: the head's bias moves by the loss's exact gradient, and the first convolution's weights move too."""
    # Behind a head of zeros nothing else has a gradient yet.
    head = model.arg_params[model.head_names[0]]
    head[:] = mx.nd.array(np.random.default_rng(0).normal(0, 0.05, head.shape))
    before = {name: value.asnumpy() for name, value in model.arg_params.items()}
    probabilities, labels, after = step(model.symbol, model.arg_params, model.aux_params, data_shape, classes)
    assert probabilities.shape == (2, classes)
    gradient = ((probabilities - labels) * (labels >= 0)).mean(axis=0)
    bias = model.head_names[1]
    np.testing.assert_allclose(after[bias], before[bias] - 0.1 * gradient, atol=1e-6)
    first = next(name for name in model.symbol.list_arguments() if name in before and before[name].ndim == 4)
    assert np.isfinite(after[first]).all()
    assert (after[first] != before[first]).any()


# Model zoo: expected feature layers are those of the papers' last layer before the classifier.


@pytest.mark.parametrize(
    ("name", "size", "features"),
    [
        ("alexnet", 67, (4096,)),
        ("vgg11_bn", 32, (4096,)),
        ("resnet18_v1", 32, (512, 1, 1)),
        ("resnet50_v2", 32, (2048,)),
        ("mobilenetv2_0.25", 32, (1280, 1, 1)),
        ("densenet121", 224, (1024,)),
        ("inceptionv3", 299, (2048, 1, 1)),
        ("squeezenet1.1", 224, (512, 13, 13)),
    ],
)
def test_a_model_zoo_export_is_cut_bound_and_stepped(tmp_path, name, size, features):
    mx.random.seed(4)
    net = mx.gluon.model_zoo.vision.get_model(name, classes=10)
    net.initialize(mx.init.Xavier(rnd_type="gaussian", factor_type="in", magnitude=2))
    net.hybridize()
    net(mx.nd.zeros((1, 3, size, size))).wait_to_read()
    net.export(str(tmp_path / "zoo"), 0)
    model = symbols.fine_tune_model(tmp_path / "zoo", 0, 3, (3, size, size))
    assert model.layers.layers[0].shape == features
    assert model.arg_params["fc_weight"].shape == (3, features[0])
    assert_trains(model, (3, size, size), 3)


# The real files.


def test_squeezenet_without_a_fully_connected_layer_is_cut_before_its_classifying_convolution(shared):
    prefix = shared / "models" / "squeezenet_v1.0"
    model = symbols.fine_tune_model(prefix, 0, 5, (3, 227, 227))
    assert (model.layers.layers[0].name, model.layers.layers[0].shape) == ("fire9_concat", (512, 13, 13))
    assert model.head_names == ("fc_weight", "fc_bias")
    assert not {"conv_final_weight", "conv_final_bias"} & set(model.arg_params)
    assert_trains(model, (3, 227, 227), 5)
    # The features below the head are those of the pretrained network, averaged over their area.
    image = mx.nd.array(np.random.default_rng(0).normal(0, 60, (1, 3, 227, 227)))
    old = load_symbol(f"{prefix}-symbol.json")
    old_params, _ = params_file.split_params(params_file.read_params(f"{prefix}-0000.params"))
    spatial = evaluate(old.get_internals()["fire9_concat_output"], old_params, image)
    logits = evaluate(symbols.logits_output(model.symbol), model.arg_params, image)
    expected = spatial.mean(axis=(2, 3)) @ model.arg_params["fc_weight"].asnumpy().T
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)


def test_the_samples_network_is_cut_before_its_56_way_classifier(checkout):
    model = symbols.fine_tune_model(checkout / "models" / "sample", 0, 8, (3, 96, 96))
    assert model.layers.layers[0] == FeatureLayer("flatten0", (128,))
    assert model.arg_params["fc_weight"].shape == (8, 128)
    assert_trains(model, (3, 96, 96), 8)


def evaluate(symbol, params, image):
    arguments = {name: image if name == "data" else params[name] for name in symbol.list_arguments()}
    return symbol.bind(mx.cpu(), arguments).forward()[0].asnumpy()


def test_the_original_scripts_checkpoint_trains_and_evaluates_as_it_is(shared):
    prefix = shared / "models" / "legacy-multilabel"
    symbol = load_symbol(f"{prefix}-symbol.json")
    arg_params, aux_params = params_file.split_params(params_file.read_params(f"{prefix}-0002.params"))
    symbols.check_params(Network(symbol, (3, 224, 224)), arg_params, aux_params)
    head = symbols.describe_head(symbol, arg_params)
    assert head == symbols.Head(5, "softmax_label", losses.BINARY_CROSS_ENTROPY)
    probabilities, labels, after = step(symbol, arg_params, aux_params, (3, 224, 224), 5)
    gradient = ((probabilities - labels) * (labels >= 0)).mean(axis=0)
    np.testing.assert_allclose(after["fc_bias"], arg_params["fc_bias"].asnumpy() - 0.1 * gradient, atol=1e-6)
    image = mx.nd.array(np.random.default_rng(3).normal(size=(1, 3, 224, 224)))
    outputs = symbols.plain_symbol(symbol), symbols.logits_output(symbol)
    p, z = (evaluate(output, arg_params, image).astype(np.float64) for output in outputs)
    np.testing.assert_allclose(p, 1 / (1 + np.exp(-z)), atol=1e-6)


def test_the_original_scripts_checkpoint_fine_tunes_to_other_classes(shared):
    model = symbols.fine_tune_model(shared / "models" / "legacy-multilabel", 2, 7, (3, 224, 224))
    assert (model.layers.layers[0].name, model.layers.layers[0].shape) == ("flatten0", (1000,))
    assert model.arg_params["fc_weight"].shape == (7, 1000)
    document = json.loads(model.symbol.tojson())
    assert len(document["nodes"][-1]["inputs"]) == 3  # the old head had two, without the logits
    assert_trains(model, (3, 224, 224), 7)


# What the head looks like, whatever is below.


def test_the_head_has_the_original_scripts_names_and_hands_the_loss_its_logits():
    symbol = attach_head(classifier(), 3)
    nodes = {node["name"]: node for node in json.loads(symbol.tojson())["nodes"]}
    names = list(nodes)
    assert [nodes[name]["op"] for name in ("fc", "sig", "softmax")] == ["FullyConnected", "sigmoid", "Custom"]
    assert nodes["softmax"]["attrs"] == {"op_type": "CrossEntropyLoss", "with_logits": "True"}
    assert [names[at] for at, *_ in nodes["softmax"]["inputs"]] == ["sig", "softmax_label", "fc"]
    assert names[nodes["fc"]["inputs"][0][0]] == "flatten0"
    assert symbol.list_outputs() == ["softmax_output"]


def test_the_head_is_written_and_read_back_as_it_was(tmp_path):
    symbol = attach_head(backbone(), 3)
    symbol.save(str(tmp_path / "x-symbol.json"))
    loaded = load_symbol(tmp_path / "x-symbol.json")
    # MXNet repeats an operator's attributes at its variables, where nothing reads them; they are left out.
    assert [node for node in Graph.of(loaded).nodes if node.op != "null"] == [
        node for node in Graph.of(symbol).nodes if node.op != "null"
    ]
    assert loaded.list_inputs() == symbol.list_inputs()
    assert attach_head(backbone(), 3).tojson() == symbol.tojson()


def test_inference_needs_no_custom_operator_and_no_label():
    symbol = symbols.plain_symbol(attach_head(classifier(), 3))
    assert "Custom" not in symbol.tojson()
    assert "softmax_label" not in symbol.list_arguments()
    assert symbol.infer_shape(data=(2, *SMALL))[1] == [(2, 3)]


@pytest.mark.parametrize("end", ["sigmoid", "activation", "logistic"])
def test_other_multi_label_ends_are_understood(end):
    logits = mx.sym.FullyConnected(pooled(backbone()), num_hidden=3, name="scores")
    symbol = {
        "sigmoid": lambda: mx.sym.sigmoid(logits, name="p"),
        "activation": lambda: mx.sym.Activation(logits, act_type="sigmoid", name="p"),
        "logistic": lambda: mx.sym.LogisticRegressionOutput(logits, mx.sym.Variable("labels"), name="p"),
    }[end]()
    arg_params, aux_params = parameters(symbol)
    label_name, loss = ("labels", losses.BINARY_CROSS_ENTROPY) if end == "logistic" else (None, None)
    assert symbols.describe_head(symbol, arg_params) == symbols.Head(3, label_name, loss)
    assert symbols.logits_output(symbol).list_outputs() == ["scores_output"]
    probabilities = symbols.plain_symbol(symbol)
    assert "labels" not in probabilities.list_arguments()
    arguments = dict(arg_params, data=mx.nd.ones((1, *SMALL)))
    p, z = (
        output.bind(mx.cpu(), arguments, aux_states=aux_params).forward()[0].asnumpy().astype(np.float64)
        for output in (probabilities, symbols.logits_output(symbol))
    )
    np.testing.assert_allclose(p, 1 / (1 + np.exp(-z)), atol=1e-6)


def test_a_softmax_classifier_is_no_multi_label_network():
    with pytest.raises(ModelError, match=r"comes from 'softmax' \(SoftmaxOutput\), not from a sigmoid"):
        symbols.plain_symbol(classifier())


def test_names_that_the_backbone_keeps_are_left_to_it(tmp_path):
    """A network whose inner layer is called fc, and whose activation is called sig."""
    net = mx.sym.FullyConnected(pooled(backbone()), num_hidden=5, name="fc")
    net = mx.sym.sigmoid(net, name="sig")
    net = mx.sym.SoftmaxOutput(mx.sym.FullyConnected(net, num_hidden=6, name="last"), name="softmax")
    model = symbols.fine_tune_model(save(net, tmp_path), 0, 3, SMALL)
    assert model.layers.layers[0] == FeatureLayer("sig", (5,))
    assert model.head_names == ("head_fc_weight", "head_fc_bias")
    assert model.arg_params["fc_weight"].shape == (5, 4)
    assert model.arg_params["head_fc_weight"].shape == (3, 5)
    assert_trains(model, SMALL, 3)


def test_a_fine_tuned_network_is_fine_tuned_again(tmp_path):
    first = symbols.fine_tune_model(save(classifier(), tmp_path), 0, 3, SMALL)
    prefix = save(first.symbol, tmp_path, (first.arg_params, first.aux_params))
    second = symbols.fine_tune_model(prefix, 0, 4, SMALL)
    assert second.symbol.tojson() == first.symbol.tojson().replace('"num_hidden": "3"', '"num_hidden": "4"')
    assert second.arg_params["fc_weight"].shape == (4, 4)


# Where a network is cut.


def test_dropout_before_the_classifier_is_no_feature_layer():
    net = mx.sym.Dropout(mx.sym.Flatten(pooled(backbone()), name="flat"), name="drop")
    net = mx.sym.SoftmaxOutput(mx.sym.FullyConnected(net, num_hidden=6, name="fc"), name="softmax")
    assert find_feature_layer(net, SMALL) == FeatureLayer("flat", (4,))


def test_a_network_without_classifier_is_taken_whole():
    assert find_feature_layer(backbone(), SMALL) == FeatureLayer("conv_relu", (4, 6, 6))
    assert find_feature_layer(pooled(backbone()), SMALL) == FeatureLayer("pool", (4, 1, 1))


@pytest.mark.parametrize("layer", ["conv_relu", "conv_relu_output"])
def test_a_layer_by_name_is_pooled_if_it_is_spatial(layer):
    assert find_feature_layer(classifier(), SMALL, layer) == FeatureLayer("conv_relu", (4, 6, 6))
    symbol = attach_head(classifier(), 3, layer)
    assert "pool" not in symbol.get_internals().list_outputs()
    assert symbol.infer_shape(data=(2, *SMALL))[1] == [(2, 3)]
    assert dict(zip(symbol.list_arguments(), symbol.infer_shape(data=(2, *SMALL))[0]))["fc_weight"] == (3, 4)


def test_an_unknown_layer_lists_the_likely_ones_with_their_shapes():
    with pytest.raises(ModelError) as caught:
        find_feature_layer(classifier(), SMALL, "flatten_0")
    assert str(caught.value) == (
        "there is no layer 'flatten_0'; choose one with `layer`, likely: flatten0 (4,), pool (4, 1, 1), "
        "conv_relu (4, 6, 6), conv_bn (4, 6, 6), conv (4, 6, 6)"
    )
    with pytest.raises(ModelError, match="no layer 'conv_weight'"):  # a parameter is no layer
        find_feature_layer(classifier(), SMALL, "conv_weight")


def test_layers_that_only_a_part_passes_through_are_not_likely():
    stem = backbone("stem")
    left, right = (mx.sym.Convolution(stem, kernel=(1, 1), num_filter=2, name=name) for name in ("left", "right"))
    net = classifier(mx.sym.Concat(left, right, name="both"))
    names = [layer.name for layer in Network(net, SMALL).likely_layers()]
    assert names == ["flatten0", "pool", "both", "stem_relu", "stem_bn", "stem"]
    shortcut = classifier(mx.sym.elemwise_add(stem, mx.sym.relu(stem, name="detour"), name="sum"))
    assert "detour" not in [layer.name for layer in Network(shortcut, SMALL).likely_layers()]


def test_a_layer_behind_the_loss_is_refused():
    with pytest.raises(ModelError, match="layer 'softmax' lies behind the loss; choose one with `layer`"):
        attach_head(classifier(), 3, "softmax")


def test_a_classifier_beside_other_outputs_is_found_and_two_are_an_error():
    one, features = classifier(), pooled(backbone("other"))
    assert find_feature_layer(mx.sym.Group([features, one]), SMALL).name == "flatten0"
    both = mx.sym.Group([mx.sym.FullyConnected(features, num_hidden=2, name=name) for name in ("a", "b")])
    with pytest.raises(ModelError, match=r"cannot tell which of its 2 outputs is the classifier \(a, b\); choose one"):
        find_feature_layer(both, SMALL)
    assert find_feature_layer(both, SMALL, "pool") == FeatureLayer("pool", (4, 1, 1))


def test_a_loss_without_a_classifier_is_an_error():
    net = mx.sym.SoftmaxOutput(mx.sym.Flatten(backbone()), name="softmax")
    with pytest.raises(ModelError, match="no fully connected layer or 1x1 convolution leads to its output 'softmax'"):
        find_feature_layer(net, SMALL)


def test_an_input_that_does_not_fit_is_one_line():
    deep = backbone()
    for number in range(3):
        deep = mx.sym.Convolution(deep, kernel=(3, 3), num_filter=4, name=f"more{number}")
    with pytest.raises(ModelError) as caught:
        find_feature_layer(classifier(deep), SMALL)
    assert str(caught.value).startswith("does not take images of shape (3, 8, 8): Error in operator more2: ")
    assert "\n" not in str(caught.value)
    assert ".cc" not in str(caught.value)


@pytest.mark.parametrize("shape", [(1, 4 * 6 * 6), (-1, 4 * 5 * 5)])
def test_a_reshape_to_fixed_numbers_that_do_not_fit_is_named(shape):
    """One is made for a single image, the other for images of another size."""
    net = mx.sym.Reshape(backbone(), shape=shape, name="fixed")
    net = mx.sym.SoftmaxOutput(mx.sym.FullyConnected(net, num_hidden=6, name="fc"), name="softmax")
    with pytest.raises(ModelError, match=r"does not take images of shape \(3, 8, 8\): .*fixed"):
        find_feature_layer(net, SMALL)


@pytest.mark.parametrize(
    ("grow", "shape"),
    [
        pytest.param({"reps": (1, 1, 4096, 8192)}, "(2, 4, 24576, 49152)", id="too many numbers"),
        pytest.param({"reps": (1, 1 << 29, 1, 1)}, "(2, -2147483648, 6, 6)", id="a size beyond 32 bits"),
    ],
)
def test_a_network_that_asks_for_too_much_memory_is_refused_before_it_gets_it(grow, shape):
    with pytest.raises(ModelError) as caught:
        find_feature_layer(mx.sym.relu(mx.sym.tile(backbone(), name="bomb", **grow)), SMALL)
    assert str(caught.value) == (
        f"does not take images of shape (3, 8, 8): 'bomb' would have the shape {shape}; "
        "MXNet holds 2,147,483,647 numbers at most"
    )


def test_memory_is_that_of_parameters_and_of_outputs_yet_to_be_read():
    """By hand, in numbers of 4 bytes: a convolution of 4 x 3 weights and 4 biases, then relu, then their sum."""
    data = mx.sym.Variable("data")
    conv = mx.sym.Convolution(data, kernel=(1, 1), num_filter=4, name="conv")
    net = Network(conv + mx.sym.relu(mx.sym.relu(conv)), (3, 10, 10))
    image, layer, parameters = 300, 400, 16
    assert net.memory(1, training=True) == 4 * (image + parameters + 4 * layer)
    assert net.memory(5, training=True) == 4 * (5 * image + parameters + 5 * 4 * layer)
    # While the second relu runs, the convolution's output is kept for the sum.
    assert net.memory(5, training=False) == 4 * (5 * image + parameters + 5 * 3 * layer)


def test_outputs_that_fit_one_by_one_and_not_together_are_refused():
    """A tower of layers of 1 GB each: a pass needs two at a time, training needs all."""
    net = mx.sym.tile(mx.sym.Variable("data"), reps=(1, 10, 1000, 1000), name="large")
    for number in range(4000):
        net = mx.sym.relu(net, name=f"relu{number}")
    network = Network(net, (3, 3, 3))
    assert network.memory(1, training=False) == pytest.approx(2 * 1.08e9, rel=0.01)
    network.check_memory(1, training=False)
    with pytest.raises(
        DeviceError, match=r"training with 1 image at a time needs 4,024\.\d GiB for .*; there are \d+\.\d GiB"
    ):
        network.check_memory(1, training=True)
    with pytest.raises(
        DeviceError, match=r"a pass with 1,000 images at a time needs 2,011\.7 GiB.*reduce `batch_size`"
    ):
        network.check_memory(1000, training=False)
    both = mx.sym.add_n(
        *[mx.sym.relu(mx.sym.tile(mx.sym.Variable("data"), reps=(1, 10, 1000, 1000))) for _ in range(2000)]
    )
    with pytest.raises(
        ModelError, match=r"does not take images of shape \(3, 3, 3\): a pass with 1 image at a time needs"
    ):
        Network(both, (3, 3, 3))


def test_a_norm_that_is_given_fewer_parameters_than_channels_is_refused():
    """MXNet would read beyond the end of the array."""
    shared = mx.sym.Variable("gamma", shape=(2,))
    net = mx.sym.BatchNorm(mx.sym.Convolution(mx.sym.Variable("data"), kernel=(1, 1), num_filter=8), gamma=shared)
    net = mx.sym.BatchNorm(mx.sym.Convolution(net, kernel=(1, 1), num_filter=2), gamma=shared)
    with pytest.raises(ModelError, match=r"'gamma' should have the shape \([82],\), not \([28],\)"):
        Network(net, SMALL)


def test_a_softmax_that_would_end_the_process_is_refused():
    net = mx.sym.softmax(
        mx.sym.relu(mx.sym.Convolution(mx.sym.Variable("data"), kernel=(1, 1), num_filter=256)), name="s"
    )
    with pytest.raises(ModelError, match="'s' is a softmax over the width of a feature map"):
        Network(net, SMALL)
    Network(mx.sym.softmax(mx.sym.Variable("data"), axis=1), SMALL)


def test_batch_norm_is_frozen_where_its_parameters_are():
    net = classifier(mx.sym.BatchNorm(backbone(), name="second"))
    assert freeze_batch_norm(net, ()) is net
    frozen = freeze_batch_norm(net, {"conv_bn_gamma", "fc_weight"})
    norms = {node.name: node.attrs for node in Graph.of(frozen).nodes if node.op == "BatchNorm"}
    assert norms["conv_bn"] == {"fix_gamma": "False", "use_global_stats": "True"}
    assert "use_global_stats" not in norms["second"]


@pytest.mark.parametrize("op", ["BatchNorm", "BatchNorm_v1"])
def test_frozen_batch_norms_keep_their_statistics_and_the_rest_does_not(op):
    norm = getattr(mx.sym, op)
    net = mx.sym.Convolution(mx.sym.Variable("data"), kernel=(1, 1), num_filter=2)
    # As MXNet reads it.
    for number, text in enumerate(("True", "true", "1")):
        net = norm(net, use_global_stats=text, name=f"given{number}")
    net = norm(norm(net, use_global_stats="0", name="moves"), name="frozen")
    assert moving_states(freeze_batch_norm(net, {"frozen_gamma"})) == {"moves_moving_mean", "moves_moving_var"}


def test_casts_stay_in_a_graph():
    """MXNet leaves them out of the text that it writes."""
    cast = mx.sym.amp_cast(mx.sym.Variable("data"), dtype="float16", name="half")
    net = freeze_batch_norm(mx.sym.FullyConnected(cast, num_hidden=2, name="fc"), {"x"})
    assert [node.op for node in Graph.of(net).nodes] == ["null", "amp_cast", "null", "null", "FullyConnected"]


def test_dropout_draws_random_numbers_and_nothing_else_here():
    assert not draws_random_numbers(Graph.of(classifier()))
    assert draws_random_numbers(Graph.of(classifier(mx.sym.Dropout(backbone()))))


def test_a_layer_as_large_as_mxnet_can_hold_is_not_refused():
    net = mx.sym.tile(backbone(), reps=(1, 1, 1024, 7281), name="large")  # 2^31 - 131,072 numbers for two images
    assert find_feature_layer(net, SMALL).shape == (4, 6144, 43686)


def test_an_input_of_another_name_is_named():
    net = mx.sym.FullyConnected(mx.sym.Variable("input0"), num_hidden=2, name="fc")
    with pytest.raises(ModelError, match="should be called 'data'; its variables are input0, fc_weight, fc_bias"):
        find_feature_layer(net, SMALL)


def test_a_layer_that_no_head_can_sit_on_is_refused():
    net = mx.sym.Reshape(backbone(), shape=(0, 4, 36), name="tokens")
    with pytest.raises(ModelError, match=r"layer 'tokens' gives \(2, 4, 36\) for two images"):
        attach_head(net, 3)
    with pytest.raises(ModelError, match="at least one class"):
        attach_head(classifier(), 0)


# Which parameters it takes.


def test_parameters_are_taken_over_and_the_new_head_begins_at_zero(tmp_path):
    prefix = save(classifier(), tmp_path)
    old = params_file.read_params(f"{prefix}-0000.params")
    model = symbols.fine_tune_model(prefix, 0, 6, SMALL)
    assert old["arg:fc_weight"].asnumpy().all()
    assert old["arg:fc_weight"].shape == model.arg_params["fc_weight"].shape
    for name, value in model.arg_params.items():
        wanted = 0 if name in model.head_names else old[f"arg:{name}"].asnumpy()
        np.testing.assert_array_equal(value.asnumpy(), np.broadcast_to(wanted, value.shape))
    for name, value in model.aux_params.items():
        np.testing.assert_array_equal(value.asnumpy(), old[f"aux:{name}"].asnumpy())


def test_what_does_not_fit_lists_both_sides(tmp_path):
    arg_params, aux_params = parameters(classifier())
    arg_params["conv_kernel"] = arg_params.pop("conv_weight")
    arg_params["conv_bias"] = mx.nd.ones((9,))
    del aux_params["conv_bn_moving_var"]
    prefix = save(classifier(), tmp_path, (arg_params, aux_params))
    with pytest.raises(ModelError) as caught:
        symbols.fine_tune_model(prefix, 0, 3, SMALL)
    assert str(caught.value) == (
        f"{prefix}-0000.params: the parameters do not fit the symbol; missing: conv_weight, conv_bn_moving_var; "
        "left over: conv_kernel; of another shape or type: conv_bias (9,) in place of (4,)"
    )


def test_the_old_head_may_be_absent_and_nothing_else(tmp_path):
    arg_params, aux_params = parameters(classifier())
    del arg_params["fc_weight"], arg_params["fc_bias"]
    assert symbols.fine_tune_model(save(classifier(), tmp_path, (arg_params, aux_params)), 0, 3, SMALL)
    del arg_params["conv_bias"]
    with pytest.raises(ModelError, match="missing: conv_bias"):
        symbols.fine_tune_model(save(classifier(), tmp_path, (arg_params, aux_params)), 0, 3, SMALL)


def test_an_inner_layer_whose_name_contains_fc_keeps_its_parameters(tmp_path):
    """The original script dropped whatever had fc in its name."""
    net = mx.sym.FullyConnected(pooled(backbone()), num_hidden=5, name="fc6")
    net = mx.sym.SoftmaxOutput(mx.sym.FullyConnected(net, num_hidden=6, name="fc8"), name="softmax")
    arg_params, aux_params = parameters(net)
    model = symbols.fine_tune_model(save(net, tmp_path, (arg_params, aux_params)), 0, 3, SMALL)
    np.testing.assert_array_equal(model.arg_params["fc6_weight"].asnumpy(), arg_params["fc6_weight"].asnumpy())
    assert "fc8_weight" not in model.arg_params


def test_quantised_and_broken_parameters_are_refused(tmp_path):
    arg_params, aux_params = parameters(classifier())
    quantised = dict(arg_params, conv_weight=arg_params["conv_weight"].astype("int8"))
    with pytest.raises(ModelError, match="conv_weight of int8 in place of float32"):
        symbols.fine_tune_model(save(classifier(), tmp_path, (quantised, aux_params)), 0, 3, SMALL)
    broken = dict(arg_params, conv_bias=mx.nd.array([1, np.nan, 1, 1]))
    with pytest.raises(ModelError, match=r"net-0000\.params: not a finite number in arg:conv_bias"):
        symbols.fine_tune_model(save(classifier(), tmp_path, (broken, aux_params)), 0, 3, SMALL)


def test_half_precision_parameters_become_float32(tmp_path):
    arg_params, aux_params = parameters(classifier())
    halves = {name: value.astype("float16") for name, value in arg_params.items()}
    model = symbols.fine_tune_model(save(classifier(), tmp_path, (halves, aux_params)), 0, 3, SMALL)
    assert {value.dtype for value in model.arg_params.values()} == {np.float32}
    np.testing.assert_array_equal(model.arg_params["conv_bias"].asnumpy(), halves["conv_bias"].asnumpy())


def test_a_checkpoint_without_its_head_is_refused_for_inference():
    symbol = attach_head(classifier(), 3)
    arg_params, aux_params = parameters(symbol)
    symbols.check_params(Network(symbol, SMALL), arg_params, aux_params)
    del arg_params["fc_weight"]
    with pytest.raises(ModelError, match="missing: fc_weight"):
        symbols.check_params(Network(symbol, SMALL), arg_params, aux_params)
    with pytest.raises(ModelError, match="lack 'fc_weight', the head's weights"):
        symbols.describe_head(symbol, arg_params)


# Which files are let in.


def document():
    return json.loads(classifier().tojson())


def refused(tmp_path, content) -> str:
    """The message, without the path that it must begin with."""
    path = tmp_path / "bad-symbol.json"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    with pytest.raises(ModelError) as caught:
        load_symbol(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message[len(f"{path}: ") :]


def test_a_symbol_of_mxnet_0_8_loads_and_trains(tmp_path):
    """Attributes under 'param', references of two numbers, BatchNorm without its auxiliary variables."""
    old: list[dict[str, Any]] = []
    place: dict[int, int] = {}
    for position, node in enumerate(document()["nodes"]):
        if "moving" in node["name"]:
            continue
        place[position] = len(old)
        inputs = [[place[at], out] for at, out, _ in node["inputs"] if at in place]
        param = {} if node["op"] == "null" else node.get("attrs", {})
        old.append({"op": node["op"], "param": param, "name": node["name"], "inputs": inputs, "backward_source_id": -1})
    arguments = [at for at, node in enumerate(old) if node["op"] == "null"]
    prefix = save(classifier(), tmp_path)
    text = json.dumps({"nodes": old, "arg_nodes": arguments, "heads": [[len(old) - 1, 0]]})
    (tmp_path / "net-symbol.json").write_text(text)
    model = symbols.fine_tune_model(prefix, 0, 3, SMALL)
    assert model.symbol.list_auxiliary_states() == ["conv_bn_moving_mean", "conv_bn_moving_var"]
    assert_trains(model, SMALL, 3)


@pytest.mark.parametrize("op", ["_Native", "_NDArray", "_CustomFunction", "_backward_CustomFunction", "_cvimread"])
def test_operators_that_call_addresses_or_read_files_are_refused(tmp_path, op):
    bad = document()
    bad["nodes"][-1] = {"op": op, "name": "evil", "attrs": {"info": "94906265"}, "inputs": [[0, 0, 0]]}
    assert f"('evil'): operator '{op}' is refused" in refused(tmp_path, bad)


@pytest.mark.parametrize("loop", ["_foreach", "_while_loop", "_cond"])
def test_operators_that_run_a_graph_of_their_own_are_refused(tmp_path, loop):
    """Their attributes say where inputs lie in memory; MXNet believes them."""
    made = {
        "_foreach": lambda: mx.sym.contrib.foreach(
            lambda row, kept: (mx.sym.relu(row) + kept, kept), mx.sym.Variable("data"), mx.sym.Variable("state")
        )[0],
        "_while_loop": lambda: mx.sym.contrib.while_loop(
            lambda x: x.sum() < 3, lambda x: (x, [x + 1]), [mx.sym.Variable("data")], max_iterations=3
        )[0][0],
        "_cond": lambda: mx.sym.contrib.cond(
            mx.sym.Variable("data").sum() > 3, lambda: mx.sym.Variable("data") + 1, lambda: mx.sym.Variable("data") + 2
        ),
    }[loop]()
    assert f"operator '{loop}' is refused: it runs a graph of its own" in refused(tmp_path, json.loads(made.tojson()))


@pytest.mark.parametrize(
    ("attrs", "reason"),
    [
        ({"op_type": "Shell"}, "custom operator 'Shell' is refused; mxml knows 'CrossEntropyLoss'"),
        ({}, "custom operator '' is refused"),
        ({"op_type": "CrossEntropyLoss", "gamma": "2"}, "Custom has no attribute 'gamma' that mxml knows"),
        ({"op_type": "CrossEntropyLoss", "with_logits": "maybe"}, "'with_logits' is 'maybe', should be True or False"),
        ({"op_type": "CrossEntropyLoss", "with_logits": "True"}, "Custom should have 3 inputs, not 2"),
    ],
)
def test_custom_operators_other_than_the_loss_are_refused(tmp_path, attrs, reason):
    bad = document()
    bad["nodes"][-1].update(op="Custom", attrs=attrs)
    assert reason in refused(tmp_path, bad)


def changed(path, value):
    """The small classifier's document with one place changed; ``path`` leads there."""
    bad = document()
    place = bad
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return bad


def wide(count):
    return {"op": "SliceChannel", "name": "wide", "attrs": {"num_outputs": count}, "inputs": [[0, 0, 0]]}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is not a symbol file: not JSON"),
        (b"\x12\x01\x00", "is not a symbol file: not JSON"),
        (b"[" * 100_000, "is not a symbol file: not JSON"),
        (b'{"format": "mxml-checkpoint"}', "is JSON, but not a symbol: it has no list of nodes"),
        (changed(["nodes"], []), "has 0 nodes; should be 1 to 20,000"),
        (changed(["heads"], []), "should have 1 to 10,000 outputs (heads)"),
        (changed(["heads"], [[99, 0, 0]]), "its outputs: refers to node 99, which does not come before it"),
        (changed(["heads", 0, 1], 5), "asks for output 5 of 'softmax', which it does not have"),
        (changed(["nodes", -1, "inputs", 0, 1], 7), "feeds 'softmax' from output 7 of 'fc', which it does not have"),
        (changed(["nodes", -1, "inputs", 0], "x"), "is not a reference to a node's output"),
        (changed(["nodes", -1, "inputs", 0, 0], -1), "is not a reference to a node's output"),
        (changed(["nodes", 3, "inputs"], [[3, 0, 0]]), "refers to node 3, which does not come before it"),
        (changed(["nodes", -1, "inputs"], [[0, 0, 0]]), "('softmax'): SoftmaxOutput should have 2 inputs, not 1"),
        (changed(["nodes", -1, "op"], "Nonesuch"), "operator 'Nonesuch' is refused"),
        (changed(["nodes", -1, "attrs"], {"multi_output": 1}), "field 'attrs' should hold texts"),
        (
            changed(["nodes", -1], wide("4000000000")),
            "'num_outputs' is '4000000000', should be a whole number from 1 to 10,000",
        ),
        # MXNet itself takes these two, and ends the process for want of memory.
        (changed(["nodes", -1], wide("+2000000000")), "'num_outputs' is '+2000000000', should be a whole number"),
        (changed(["nodes", -1], wide(" 2000000000")), "'num_outputs' is ' 2000000000', should be a whole number"),
        (changed(["nodes", -1], wide("２")), "'num_outputs' is '２', should be a whole number"),
        (changed(["nodes", 3, "attrs", "kernel"], "(0, 0)"), "'kernel' is '(0, 0)', should be whole numbers from 1"),
        (changed(["nodes", 3, "attrs", "stride"], "(1, 1, 1)"), "kernel, stride differ in length"),
        (changed(["nodes", 3, "attrs"], {"kernel": "(1, 1)"}), "Convolution lacks its attribute 'num_filter'"),
        (changed(["nodes", 3, "inputs"], [[0, 0, 0]]), "Convolution should have 3 inputs, not 1"),
        (
            changed(["nodes", 8, "inputs", 4], [3, 0, 0]),
            "'conv_bn' (BatchNorm) should have variables for its last 4 inputs",
        ),
        (
            changed(["nodes", 3, "subgraphs"], [document()]),
            "operator 'Convolution' is refused: it runs a graph of its own",
        ),
        (changed(["nodes", 2, "name"], "conv_weight"), "has two variables of one name"),
        (changed(["attrs"], {"mxnet_version": ["int", 20000]}), "field 'mxnet_version' is 20000"),
        (
            changed(["nodes"], [{"op": "null", "name": f"n{at}", "inputs": []} for at in range(20_001)]),
            "has 20,001 nodes",
        ),
        (changed(["nodes", -1, "name"], "a\x1b[2J"), "holds control characters"),
        (changed(["nodes", -1, "name"], None), "has no operator or no name"),
    ],
)
def test_a_damaged_symbol_is_named_and_ends_no_process(tmp_path, content, reason):
    assert reason in refused(tmp_path, content)


def test_missing_and_oversized_files_are_named(tmp_path):
    with pytest.raises(ModelError, match=r"none-symbol\.json: there is no such file; a model is PREFIX-symbol\.json"):
        symbols.fine_tune_model(tmp_path / "none", 0, 3, SMALL)
    with pytest.raises(ModelError, match=r"is not a file$"):
        load_symbol(tmp_path)
    with open(tmp_path / "large-symbol.json", "wb") as file:
        file.truncate((16 << 20) + 1)
    with pytest.raises(ModelError, match="larger than 16 MiB"):
        load_symbol(tmp_path / "large-symbol.json")


def test_a_symbol_of_more_inputs_than_any_network_is_refused_before_mxnet(tmp_path):
    nodes: list[dict[str, Any]] = [{"op": "null", "name": "data", "inputs": []}]
    for at in range(21):
        attrs = {"num_args": "10000"}
        nodes.append({"op": "add_n", "name": f"sum{at}", "attrs": attrs, "inputs": [[at, 0, 0]] * 10_000})
    assert "has 210,000 inputs of nodes; should be at most 200,000" in refused(tmp_path, {"nodes": nodes})


def test_a_cast_to_whole_numbers_is_refused_by_its_attribute(tmp_path):
    nodes = [
        {"op": "null", "name": "data", "inputs": []},
        {"op": "Cast", "name": "whole", "attrs": {"dtype": "int8"}, "inputs": [[0, 0, 0]]},
    ]
    message = refused(tmp_path, {"nodes": nodes, "arg_nodes": [0], "heads": [[1, 0, 0]]})
    assert "'whole'" in message and "dtype" in message and "int8" in message
