"""The loss operator: its gradients against float64 NumPy, and failures inside it."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import numpy as np
import pytest

from mxml.model import losses
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


def test_gradient_is_that_of_the_cross_entropy():
    logits = np.array([[-3.0, 0.5, 2.0]], dtype=np.float64)
    labels = np.array([[1, 0, 0.3]], dtype=np.float64)

    def cross_entropy(values: np.ndarray) -> float:
        p = 1 / (1 + np.exp(-values))
        return float(-(labels * np.log(p) + (1 - labels) * np.log(1 - p)).sum())

    step = 1e-5
    numeric = [
        (cross_entropy(logits + step * unit) - cross_entropy(logits - step * unit)) / (2 * step) for unit in np.eye(3)
    ]
    _, gradient = run(logits.astype(np.float32), labels.astype(np.float32), with_logits=True)
    np.testing.assert_allclose(gradient[0], numeric, atol=1e-6)


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

        class Failing(losses.LossOperator):
            def __init__(self, where):
                super().__init__()
                self.where = where
            def output(self, inputs):
                if self.where == 'forward':
                    raise KeyError('no such\\nweight')
                return inputs[0]
            def gradients(self, inputs):
                return [mx.nd.dot(inputs[0], inputs[0])]  # (2, 3) times (2, 3): a real shape error of MXNet's

        @mx.operator.register('Failing')
        class FailingProp(mx.operator.CustomOpProp):
            def __init__(self, where):
                super().__init__(need_top_grad=False)
                self.where = where
            def create_operator(self, context, shapes, types):
                return Failing(self.where)

        for where in ('forward', 'backward'):
            for devices in ([mx.cpu(0)], [mx.cpu(0), mx.cpu(1)]):
                symbol = mx.sym.Custom(mx.sym.Variable('data'), op_type='Failing', where=where)
                module = mx.mod.Module(symbol, label_names=None, context=devices)
                module.bind([('data', (2 * len(devices), 3))], inputs_need_grad=True)
                module.init_params()
                module.forward_backward(mx.io.DataBatch([mx.nd.ones((2 * len(devices), 3))]))
                filled = module.get_outputs()[0] if where == 'forward' else module.get_input_grads()[0]
                assert np.isnan(filled.asnumpy()).all(), filled
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
    assert lines[0] == lines[1] == "the loss failed in Failing.forward: KeyError: 'no such\\nweight'"
    assert lines[2] == lines[3]
    assert lines[2].startswith("the loss failed in Failing.backward: MXNetError: ")


def test_unknown_attributes_do_not_end_the_process():
    with mx.AttrScope(ctx_group="one", lr_mult="2"):
        symbol = loss_symbol(True)
    assert symbol.infer_shape(data=(2, 3))[1] == [(2, 3)]
