"""Maps of networks with every kind of head, against sums and gradients worked out in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import tiny

from mxml.errors import ModelError
from mxml.inference.explain.explainer import Explainer
from mxml.inference.explain.maps import class_activation_map, grad_cam
from mxml.inference.explain.placement import spread
from mxml.model.layers import Network
from mxml.model.pooled_layers import find_layers
from mxml.model.receptive_fields import cell_grid
from mxml.model.symbols import attach_head, logits_output
from mxml.runtime.imports import load_mxnet

mx = load_mxnet()
SHAPE = (3, 24, 32)


def backbone():
    """Two layers with areas, the first of which the second is computed from."""
    net = mx.sym.Convolution(mx.sym.Variable("data"), num_filter=4, kernel=(3, 3), stride=(2, 2), name="conv0")
    net = mx.sym.Activation(net, act_type="relu", name="relu0")
    net = mx.sym.Convolution(net, num_filter=6, kernel=(3, 3), stride=(2, 2), pad=(1, 1), name="conv1")
    return mx.sym.Activation(net, act_type="relu", name="relu1")


def pooled(net, kind="avg"):
    return mx.sym.Flatten(mx.sym.Pooling(net, global_pool=True, kernel=(1, 1), pool_type=kind))


def parameters(symbol, seed=0):
    generator = np.random.default_rng(seed)
    args, aux = tiny.random_parameters(symbol, SHAPE, generator)
    moved = {name: mx.nd.array(generator.uniform(0.5, 2, value.shape)) for name, value in aux.items()}
    return args, moved


def explainer(symbol, params):
    return Explainer(symbol, params[0], params[1], mx.cpu(), SHAPE)


def image(seed=1):
    return np.random.default_rng(seed).normal(0, 1, SHAPE).astype(np.float32)


def values(symbol, params, data, *names):
    """Return layers' values (C, H, W) in float64, by a plain executor in inference."""
    internals = symbol.get_internals()
    group = mx.sym.Group([internals[f"{name}_output"] for name in names])
    held = {**params[0], **params[1], "data": mx.nd.array(data[None])}
    outputs = group.bind(
        mx.cpu(),
        {name: held[name] for name in group.list_arguments()},
        aux_states={name: held[name] for name in group.list_auxiliary_states()},
    ).forward(is_train=False)
    return [output.asnumpy()[0].astype(np.float64) for output in outputs]


def test_maps_and_constant_add_up_to_the_logit_of_a_standardised_head_on_several_layers_and_poolings():
    net = mx.sym.SoftmaxOutput(mx.sym.FullyConnected(pooled(backbone()), num_hidden=7, name="old"), name="softmax")
    network = Network(net, SHAPE)
    layers = find_layers(network, count=2, poolings=("avg", "max"))
    symbol = logits_output(attach_head(network, 3, layers, standardise=True))
    params = parameters(symbol)
    found = explainer(symbol, params)
    assert found.exact and found.layers == ("relu0", "relu1")
    evidence = found.evidence(image(), [2, 0])

    relu1, relu0 = values(symbol, params, image(), "relu1", "relu0")
    # The feature layer is the backbone's own average; the layer before it is pooled in both ways.
    features = np.concatenate([pool(axis=(1, 2)) for pool in (relu1.mean, relu0.mean, relu0.max)])
    args, aux = ({name: value.asnumpy().astype(np.float64) for name, value in one.items()} for one in params)
    sigma = np.sqrt(aux["head_norm_moving_var"] + 1e-5)
    weight = args["fc_weight"] / sigma
    constant = args["fc_bias"] + args["fc_weight"] @ args["head_norm_beta"] - weight @ aux["head_norm_moving_mean"]
    np.testing.assert_allclose(evidence.logits, weight @ features + constant, atol=1e-4)
    np.testing.assert_allclose(evidence.constants, constant[[2, 0]], atol=1e-4)
    np.testing.assert_allclose(evidence.maps.sum((1, 2)), (weight @ features)[[2, 0]], atol=1e-4)


def test_a_maximum_counts_where_it_is_and_an_average_everywhere():
    data = mx.sym.Variable("data")
    plain = mx.sym.Convolution(data, num_filter=1, kernel=(4, 4), stride=(4, 4), name="cells")
    symbol = mx.sym.FullyConnected(mx.sym.Concat(pooled(plain, "max"), pooled(plain)), num_hidden=2, name="fc")
    params = parameters(symbol)
    params[0]["fc_weight"] = mx.nd.array([[1, 0], [0, 1]])
    maps = explainer(symbol, params).evidence(image(), [0, 1]).maps
    (cells,) = values(symbol, params, image(), "cells")
    grid = cell_grid(Network(symbol, SHAPE), find(symbol, "cells"), is_last=True)
    largest = np.where(cells[0] == cells.max(), cells[0], 0)
    np.testing.assert_allclose(maps[0], spread(largest, grid, SHAPE[1:]), atol=1e-5)
    np.testing.assert_allclose(maps[1], spread(cells[0] / cells[0].size, grid, SHAPE[1:]), atol=1e-5)


def find(symbol, name):
    return Network(symbol, SHAPE).find(name)


def test_of_a_convolution_before_the_average_the_map_is_the_convolution_itself():
    """As in SqueezeNet, whose classifier is a 1x1 convolution with a ReLU."""
    net = mx.sym.Convolution(backbone(), num_filter=5, kernel=(1, 1), name="conv_final")
    net = mx.sym.Activation(net, act_type="relu", name="relu_final")
    symbol = pooled(mx.sym.Dropout(net, p=0.5))
    params = parameters(symbol)
    found = explainer(symbol, params)
    assert found.exact
    evidence = found.evidence(image(), [3])
    (cells,) = values(symbol, params, image(), "relu_final")
    grid = cell_grid(Network(symbol, SHAPE), find(symbol, "relu_final"), is_last=True)
    np.testing.assert_allclose(evidence.maps[0], spread(cells[3] / cells[3].size, grid, SHAPE[1:]), atol=1e-6)
    np.testing.assert_allclose(evidence.constants, 0, atol=1e-6)


def test_a_flatten_without_pooling_is_a_sum_too():
    symbol = mx.sym.FullyConnected(backbone(), num_hidden=2, name="fc")
    params = parameters(symbol)
    found = explainer(symbol, params)
    assert found.exact
    np.testing.assert_allclose(found.evidence(image(), [1]).constants, params[0]["fc_bias"].asnumpy()[1:], atol=1e-5)


def test_other_heads_get_grad_cam_whose_gradient_is_that_of_finite_differences():
    net = mx.sym.FullyConnected(backbone(), num_hidden=6, name="hidden")
    net = mx.sym.Activation(mx.sym.BatchNorm(net, fix_gamma=False, name="bn"), act_type="tanh")
    symbol = mx.sym.FullyConnected(mx.sym.Dropout(mx.sym.BlockGrad(net), p=0.9), num_hidden=3, name="fc")
    params = parameters(symbol)
    params[0]["hidden_weight"] *= 0.2
    found = explainer(symbol, params)
    assert not found.exact and found.layers == ("relu1",)
    evidence = found.evidence(image(), [1])
    (layer,) = values(symbol, params, image(), "relu1")
    args, aux = ({name: value.asnumpy().astype(np.float64) for name, value in one.items()} for one in params)

    def logits(at):
        hidden = args["hidden_weight"] @ at.ravel() + args["hidden_bias"]
        hidden = (hidden - aux["bn_moving_mean"]) / np.sqrt(aux["bn_moving_var"] + 1e-3)
        return args["fc_weight"] @ np.tanh(args["bn_gamma"] * hidden + args["bn_beta"]) + args["fc_bias"]

    np.testing.assert_allclose(evidence.logits, logits(layer), atol=1e-5)
    gradient = np.zeros_like(layer)
    for place in np.ndindex(*layer.shape):
        step = np.zeros_like(layer)
        step[place] = 1e-4
        gradient[place] = (logits(layer + step)[1] - logits(layer - step)[1]) / 2e-4
    weights = gradient.mean(axis=(1, 2))
    wanted = np.maximum(np.tensordot(weights, layer, 1), 0)
    assert wanted.max() > 0
    grid = cell_grid(Network(symbol, SHAPE), find(symbol, "relu1"), is_last=True)
    np.testing.assert_allclose(evidence.maps[0], spread(wanted, grid, SHAPE[1:]), rtol=1e-3, atol=1e-6)
    assert np.isnan(evidence.constants).all()


def test_behind_an_average_grad_cam_is_the_positive_part_of_the_class_activation_map():
    symbol = mx.sym.FullyConnected(pooled(backbone()), num_hidden=2, name="fc")
    # Means of a ReLU's values are not negative, so a ReLU changes nothing but what the graph looks like.
    other = mx.sym.FullyConnected(mx.sym.Activation(pooled(backbone()), act_type="relu"), num_hidden=2, name="fc")
    params = parameters(symbol)
    (layer,) = values(symbol, params, image(), "relu1")
    gradient = np.broadcast_to(params[0]["fc_weight"].asnumpy()[0][:, None, None] / layer[0].size, layer.shape)
    cam = class_activation_map(layer, gradient)
    assert cam.min() < 0 < cam.max()
    grid = cell_grid(Network(symbol, SHAPE), find(symbol, "relu1"), is_last=True)
    exact, approximate = explainer(symbol, params), explainer(other, params)
    assert exact.exact and not approximate.exact
    np.testing.assert_allclose(exact.evidence(image(), [0]).maps[0], spread(cam, grid, SHAPE[1:]), atol=1e-6)
    positive = spread(np.maximum(cam, 0), grid, SHAPE[1:])
    np.testing.assert_allclose(approximate.evidence(image(), [0]).maps[0], positive, atol=1e-6)
    np.testing.assert_allclose(grad_cam(layer, gradient), np.maximum(cam, 0), atol=1e-12)


def test_a_network_without_areas_is_refused():
    hidden = mx.sym.Activation(mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=4), act_type="relu")
    symbol = mx.sym.FullyConnected(hidden, num_hidden=2, name="fc")
    with pytest.raises(ModelError, match="no layer with an area"):
        explainer(symbol, parameters(symbol))


def test_networks_that_others_have_trained(shared):
    """The original script's checkpoint has an average before its head; plain SqueezeNet has no other head."""
    from mxml.model.params_file import read_params, split_params
    from mxml.model.symbol_file import load_symbol

    for name, end in (("legacy-multilabel", "fc_output"), ("squeezenet_v1.0", "flatten0_output")):
        symbol = load_symbol(str(shared / "models" / f"{name}-symbol.json")).get_internals()[end]
        path = next((shared / "models").glob(f"{name}-000*.params"))
        params = split_params(read_params(str(path)), str(path))
        found = Explainer(symbol, params[0], params[1], mx.cpu(), (3, 224, 224))
        assert found.exact and found.layers == ("relu_conv_final",)
        data = np.random.default_rng(0).normal(0, 40, (3, 224, 224)).astype(np.float32)
        evidence = found.evidence(data, [0, 1])
        total = evidence.maps.astype(np.float64).sum((1, 2)) + evidence.constants
        np.testing.assert_allclose(total, evidence.logits[:2], rtol=1e-4, atol=1e-4)
