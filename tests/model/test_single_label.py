"""Networks of single labels: the softmax cross-entropy, and a head that ends in a softmax."""

from __future__ import annotations

import numpy as np
import pytest
import tiny

from mxml.errors import ModelError
from mxml.model import loss_operator, symbols
from mxml.model.graph import Graph, multi_label_end
from mxml.model.layers import Network
from mxml.model.losses import BINARY_CROSS_ENTROPY, SOFTMAX_CROSS_ENTROPY
from mxml.model.symbol_file import load_symbol
from mxml.runtime.imports import load_mxnet

mx = load_mxnet()

SHAPE = (3, 32, 32)


def test_the_loss_is_minus_the_logarithm_of_the_right_labels_probability():
    """Probabilities 1/4, 1/4, 1/2 and 2/3, 1/6, 1/6; the last row's label is unknown."""
    logits = np.log([[1, 1, 2], [4, 1, 1], [5, 5, 5]]).astype(np.float32)
    labels = np.array([[0, 0, 1], [0, 1, 0], [-1, -1, -1]], np.float32)
    total, images = SOFTMAX_CROSS_ENTROPY.value(logits, labels)
    assert (total, images) == (pytest.approx(np.log(2) + np.log(6), rel=1e-6), 2)
    certain, _ = SOFTMAX_CROSS_ENTROPY.value(np.array([[500.0, -500, 0]]), np.array([[0, 1, 0]]))
    assert certain == 1000


def test_the_gradient_is_that_of_the_value():
    """By central differences in float64, for hard, shared and unknown labels, and far from zero."""
    generator = np.random.default_rng(2)
    logits = generator.normal(0, 3, (5, 4))
    labels = np.eye(4)[[0, 3, 1, 2, 2]]
    labels[1] = [0.5, 0.1, 0.1, 0.3]
    labels[2] = -1
    labels[4] = [0, -1, 0, 1]
    step = 1e-5
    numeric = np.zeros_like(logits)
    for at in np.ndindex(*logits.shape):
        shift = np.zeros_like(logits)
        shift[at] = step
        above, below = (SOFTMAX_CROSS_ENTROPY.value(logits + sign * shift, labels)[0] for sign in (1, -1))
        numeric[at] = (above - below) / (2 * step)
    data = mx.sym.Variable("data")
    symbol = SOFTMAX_CROSS_ENTROPY.attach(mx.sym.softmax(data), data, mx.sym.Variable("label"), "end")
    executor = symbol.simple_bind(mx.cpu(), data=logits.shape, label=logits.shape)
    found = executor.forward(is_train=True, data=mx.nd.array(logits), label=mx.nd.array(labels))[0]
    executor.backward()
    loss_operator.raise_failure()
    np.testing.assert_allclose(executor.grad_dict["data"].asnumpy(), numeric, atol=1e-6)
    assert not executor.grad_dict["data"].asnumpy()[[2, 4]].any()
    np.testing.assert_allclose(found.asnumpy().sum(axis=1), 1, rtol=1e-6)


@pytest.fixture
def pretrained(tmp_path):
    tiny.make_network(tmp_path / "net")
    return str(tmp_path / "net")


def test_a_single_label_head_ends_in_a_softmax_and_is_saved_without_its_loss(pretrained, tmp_path):
    model = symbols.fine_tune_model(pretrained, 0, 4, SHAPE, loss=SOFTMAX_CROSS_ENTROPY)
    assert symbols.loss_of(model.symbol) == (SOFTMAX_CROSS_ENTROPY, {})
    plain = symbols.plain_symbol(model.symbol)
    plain.save(str(tmp_path / "single-symbol.json"))
    loaded = load_symbol(tmp_path / "single-symbol.json")
    assert loaded.list_arguments() == plain.list_arguments() and "softmax_label" not in loaded.list_arguments()
    assert [node.op for node in Graph.of(loaded).nodes][-1] == "softmax"
    assert symbols.describe_head(loaded, model.arg_params) == symbols.Head(4, None, None, single_label=True)
    again = symbols.training_symbol(loaded, SOFTMAX_CROSS_ENTROPY)
    assert symbols.loss_of(again)[0] is SOFTMAX_CROSS_ENTROPY
    assert symbols.head_parameters(again) == model.head_names
    assert multi_label_end(Graph.of(again)).label_name == "softmax_label"
    with pytest.raises(ModelError, match="ends in its softmax, which the loss 'bce' is not for"):
        symbols.training_symbol(loaded, BINARY_CROSS_ENTROPY)
    multi = symbols.plain_symbol(symbols.fine_tune_model(pretrained, 0, 4, SHAPE).symbol)
    with pytest.raises(ModelError, match="ends in its sigmoid, which the loss 'softmax' is not for"):
        symbols.training_symbol(multi, SOFTMAX_CROSS_ENTROPY)


def test_a_softmax_network_can_be_fine_tuned_to_several_labels(pretrained):
    plain = symbols.plain_symbol(symbols.fine_tune_model(pretrained, 0, 4, SHAPE, loss=SOFTMAX_CROSS_ENTROPY).symbol)
    network = Network(plain, SHAPE)
    assert network.feature_layer(network.find(None)).name == "flatten0"
    assert not multi_label_end(Graph.of(symbols.attach_head(network, 3))).single_label


@pytest.mark.parametrize("attributes", [{"axis": 0}, {"temperature": 2.0}])
def test_a_softmax_over_something_else_is_not_one_of_labels(attributes):
    logits = mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=4)
    with pytest.raises(ModelError, match="not from a sigmoid"):
        multi_label_end(Graph.of(mx.sym.softmax(logits, **attributes)))
