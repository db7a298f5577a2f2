"""The loss operator: its gradients against float64 NumPy, and failures inside it."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import numpy as np
import pytest

from mxml.model import losses
from mxml.model.graph import Graph, multi_label_end
from mxml.model.symbol_file import load_symbol
from mxml.runtime.imports import load_mxnet

mx = load_mxnet()


def loss_symbol(with_logits: bool):
    logits = mx.sym.identity(mx.sym.Variable("data"), name="fc")
    probabilities = mx.sym.sigmoid(logits, name="sig")
    extra = {"logits": logits, "with_logits": True} if with_logits else {}
    label = mx.sym.Variable("softmax_label")
    return mx.sym.Custom(data=probabilities, label=label, op_type="CrossEntropyLoss", name="softmax", **extra)


def run(logits: np.ndarray, labels: np.ndarray, with_logits: bool, grad_req: str = "write"):
    """One forward and backward pass: the output and the gradient at the logits."""
    requests = {"data": grad_req, "softmax_label": "null"}
    executor = loss_symbol(with_logits).simple_bind(
        mx.cpu(), data=logits.shape, softmax_label=labels.shape, grad_req=requests
    )
    executor.arg_dict["data"][:] = logits
    executor.arg_dict["softmax_label"][:] = labels
    executor.grad_dict["data"][:] = 7
    output = executor.forward(is_train=True)[0]
    executor.backward()
    losses.raise_failure()
    return output.asnumpy(), executor.grad_dict["data"].asnumpy()


def expected_gradient(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    logits, labels = logits.astype(np.float64), labels.astype(np.float64)
    return np.where(labels < 0, 0.0, 1 / (1 + np.exp(-logits)) - labels)


def grid(low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
    """Logits in steps of 0.05 down the rows, and one column for each kind of label."""
    labels = np.array([0, 1, -1, 0.25, 0.9], dtype=np.float32)
    logits = np.arange(low, high + 0.01, 0.05, dtype=np.float32)
    return np.repeat(logits[:, None], len(labels), axis=1), np.tile(labels, (len(logits), 1))


def test_gradient_at_the_logits_is_p_minus_y_even_where_the_sigmoid_is_flat():
    logits, labels = grid(-100, 100)
    assert len(logits) == 4001
    output, gradient = run(logits, labels, with_logits=True)
    np.testing.assert_allclose(gradient, expected_gradient(logits, labels), rtol=0, atol=1e-6)
    np.testing.assert_allclose(output, 1 / (1 + np.exp(-logits.astype(np.float64))), rtol=0, atol=1e-6)
    assert gradient[-1, 0] == 1.0  # logit 100 for an absent label: as wrong as can be, and fully felt


def test_two_input_form_is_exact_as_far_as_float32_knows_the_probability():
    logits, labels = grid(-80, 16)
    _, gradient = run(logits, labels, with_logits=False)
    np.testing.assert_allclose(gradient, expected_gradient(logits, labels), rtol=0, atol=1e-6)


def test_two_input_form_stays_finite_beyond():
    logits, labels = grid(-200, 200)
    _, gradient = run(logits, labels, with_logits=False)
    assert np.isfinite(gradient).all()
    assert np.abs(gradient).max() <= 1


LABELS = np.array([[1, 0, 0.3, 0.75], [-1, 0, 1, 0.5]])
LOGITS = np.array([[-3.0, 0.5, 2.0, -0.2], [4.0, 30.0, -30.0, 0.0]])


def test_cross_entropy_by_hand():
    """Two known entries and one unknown: -log(1/2), and -0.25 log p - 0.75 log(1 - p) with p = 0.8."""
    logits = np.array([[0.0, np.log(4), 7.0]], np.float32)
    total, known = losses.BINARY_CROSS_ENTROPY.value(logits, np.array([[1, 0.25, -1]], np.float32))
    assert known == 2
    assert total == pytest.approx(np.log(2) - 0.25 * np.log(0.8) - 0.75 * np.log(0.2), rel=1e-7)


@pytest.mark.parametrize(
    "loss", [one for one in losses.all_losses() if not one.single_label], ids=lambda loss: loss.name
)
def test_every_losss_gradient_is_that_of_its_value(loss):
    """By central differences in float64, for hard, soft and unknown labels."""
    step = 1e-5
    numeric = np.zeros_like(LOGITS)
    for at in np.ndindex(*LOGITS.shape):
        shift = np.zeros_like(LOGITS)
        shift[at] = step
        numeric[at] = (loss.value(LOGITS + shift, LABELS)[0] - loss.value(LOGITS - shift, LABELS)[0]) / (2 * step)
    logits = mx.sym.Variable("data")
    symbol = loss.attach(mx.sym.sigmoid(logits), logits, mx.sym.Variable("label"), "end")
    executor = symbol.simple_bind(mx.cpu(), data=LOGITS.shape, label=LOGITS.shape)
    executor.forward(is_train=True, data=mx.nd.array(LOGITS), label=mx.nd.array(LABELS))
    executor.backward()
    losses.raise_failure()
    np.testing.assert_allclose(executor.grad_dict["data"].asnumpy(), numeric, atol=1e-6)
    assert numeric[1, 0] == 0  # the unknown one


@pytest.mark.parametrize("loss", losses.all_losses(), ids=lambda loss: loss.name)
def test_every_loss_passes_the_file_check_and_is_found_in_a_graph(loss, tmp_path):
    logits = mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=3, name="fc")
    symbol = loss.attach(mx.sym.sigmoid(logits), logits, mx.sym.Variable("label"), "end")
    symbol.save(str(tmp_path / "x-symbol.json"))
    loaded = load_symbol(tmp_path / "x-symbol.json")
    assert Graph.of(loaded).nodes[-1] == Graph.of(symbol).nodes[-1]
    end = multi_label_end(Graph.of(loaded))
    assert (end.loss, end.label_name) == (loss, "label")


def test_a_loss_of_ones_own_needs_only_its_two_formulas(tmp_path):
    """The squared error with a weight as a setting: trained on, saved, let in, found, and refused with a wrong one."""
    program = f"""
        import json
        import numpy as np
        from mxml.errors import ModelError
        from mxml.model import losses
        from mxml.model.attributes import Float
        from mxml.model.graph import Graph, multi_label_end
        from mxml.model.layers import Network
        from mxml.model.symbol_file import load_symbol
        from mxml.model.symbols import attach_head, loss_of
        from mxml.training.epoch_totals import EpochTotals
        mx = losses.mx

        loss = losses.register(losses.Loss(
            'square', 'SquaredLogits', lambda z, y, weight=1.0: weight * (z - y) ** 2,
            lambda p, y, z, weight=1.0: 2 * weight * (z - y), {{'weight': Float(0, 10)}},
        ))
        logits = mx.sym.FullyConnected(mx.sym.Flatten(mx.sym.Variable('data')), num_hidden=2, no_bias=True, name='fc')
        symbol = loss.attach(mx.sym.sigmoid(logits), logits, mx.sym.Variable('label'), 'end', {{'weight': 0.5}})
        symbol.save(r'{tmp_path}/x-symbol.json')
        loaded = load_symbol(r'{tmp_path}/x-symbol.json')
        assert multi_label_end(Graph.of(loaded)).loss is loss
        totals = EpochTotals(*loss_of(loaded))
        assert totals.add(np.array([[3.0, 1.0]]), np.array([[1.0, -1.0]]), 1) == 0.5 * 4
        assert totals.metrics()['train_loss'] == 2
        executor = loaded.simple_bind(mx.cpu(), data=(1, 1, 1, 1), label=(1, 2))
        executor.forward(is_train=True, data=mx.nd.ones((1, 1, 1, 1)), fc_weight=mx.nd.array([[3], [4]]),
                         label=mx.nd.array([[1, -1]]))
        executor.backward()
        losses.raise_failure()
        assert executor.grad_dict['fc_weight'].asnumpy().tolist() == [[2], [0]]
        assert loss.value(np.array([[3.0, 4.0]]), np.array([[1.0, -1.0]]), {{'weight': 0.5}}) == (2.0, 1)
        headed = attach_head(Network(mx.sym.relu(mx.sym.Variable('data')), (1, 2, 2)), 3, loss=loss)
        assert multi_label_end(Graph.of(headed)).loss is loss
        document = json.loads(symbol.tojson())
        document['nodes'][-1]['attrs']['weight'] = '11'
        open(r'{tmp_path}/x-symbol.json', 'w').write(json.dumps(document))
        try:
            load_symbol(r'{tmp_path}/x-symbol.json')
        except ModelError as error:
            print(error)
    """
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=120, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.endswith("('end'): 'weight' is '11', should be a number from 0 to 10\n")


def test_gradient_is_added_where_asked():
    logits, labels = np.zeros((1, 2), np.float32), np.array([[1, 0]], np.float32)
    _, gradient = run(logits, labels, with_logits=True, grad_req="add")
    np.testing.assert_allclose(gradient, [[6.5, 7.5]])


def test_labels_of_another_width_are_refused_when_bound():
    with pytest.raises((mx.base.MXNetError, RuntimeError), match=r"inferred shape=\[2,3\]"):
        loss_symbol(True).simple_bind(mx.cpu(), data=(2, 3), softmax_label=(2, 4))


@pytest.mark.parametrize("with_logits", [True, False])
def test_trains_on_several_devices_as_on_one(with_logits):
    """Two identical steps from the same parameters, the batch on one device and split over two."""
    fc = mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=3, name="fc")
    sig = mx.sym.sigmoid(fc, name="sig")
    extra = {"logits": fc, "with_logits": True} if with_logits else {}
    label = mx.sym.Variable("softmax_label")
    symbol = mx.sym.Custom(data=sig, label=label, op_type="CrossEntropyLoss", name="softmax", **extra)
    generator = np.random.default_rng(5)
    images = generator.normal(size=(8, 4)).astype(np.float32)
    labels = generator.integers(-1, 2, (8, 3)).astype(np.float32)
    start = {"fc_weight": generator.normal(size=(3, 4)).astype(np.float32), "fc_bias": np.zeros(3, np.float32)}
    weights = []
    for devices in ([mx.cpu(0)], [mx.cpu(0), mx.cpu(1)]):
        module = mx.mod.Module(symbol, context=devices, label_names=["softmax_label"])
        module.bind([("data", (8, 4))], [("softmax_label", (8, 3))])
        module.init_params(arg_params={name: mx.nd.array(value) for name, value in start.items()})
        module.init_optimizer(optimizer="sgd", optimizer_params={"learning_rate": 0.5})
        module.forward_backward(mx.io.DataBatch([mx.nd.array(images)], [mx.nd.array(labels)]))
        module.update()
        losses.raise_failure()
        weights.append(module.get_params()[0]["fc_weight"].asnumpy())
    logits = images @ start["fc_weight"].T
    step = 0.5 / 8 * expected_gradient(logits, labels).T @ images
    np.testing.assert_allclose(weights[0], start["fc_weight"] - step, atol=1e-6)
    np.testing.assert_allclose(weights[1], weights[0], atol=1e-6)


def test_a_failure_inside_a_callback_neither_hangs_nor_stays_silent():
    """In its own process with a time limit: MXNet alone would hang or abort here."""
    program = """
        import numpy as np
        from mxml.model import losses
        from mxml.errors import TrainingError
        mx = losses.mx

        def raises(probabilities, labels, logits):
            raise KeyError('no such\\nweight')

        def misfits(probabilities, labels, logits):
            return mx.nd.dot(probabilities, labels)  # (2, 3) times (2, 3): a real shape error of MXNet's

        for name, gradient in (('raising', raises), ('misfitting', misfits)):
            loss = losses.register(losses.Loss(name, name, None, gradient))
            for devices in ([mx.cpu(0)], [mx.cpu(0), mx.cpu(1)]):
                logits = mx.sym.Variable('data')
                symbol = loss.attach(mx.sym.sigmoid(logits), logits, mx.sym.Variable('label'), 'end')
                module = mx.mod.Module(symbol, label_names=['label'], context=devices)
                shape = (2 * len(devices), 3)
                module.bind([('data', shape)], [('label', shape)], inputs_need_grad=True)
                module.init_params()
                module.forward_backward(mx.io.DataBatch([mx.nd.ones(shape)], [mx.nd.ones(shape)]))
                gradients = module.get_input_grads()[0]
                assert np.isnan(gradients.asnumpy()).all(), gradients
                mx.nd.waitall()
                try:
                    losses.raise_failure()
                except TrainingError as error:
                    print(error)
                losses.raise_failure()
    """
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=120, check=False
    )
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert len(lines) == 4
    assert lines[0] == lines[1] == "the loss failed in raising.backward: KeyError: 'no such\\nweight'"
    assert lines[2] == lines[3]
    assert lines[2].startswith("the loss failed in misfitting.backward: MXNetError: ")


def test_unknown_attributes_do_not_end_the_process():
    with mx.AttrScope(ctx_group="one", lr_mult="2"):
        symbol = loss_symbol(True)
    assert symbol.infer_shape(data=(2, 3))[1] == [(2, 3)]
