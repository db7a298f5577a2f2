"""The loss operator: its gradients against float64 NumPy, and failures inside it."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mxml.errors import ModelError, TrainingError
from mxml.model import loss_operator, losses
from mxml.model.graph import Graph, multi_label_end
from mxml.model.symbol_file import load_symbol
from mxml.model.symbols import loss_of
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
    loss_operator.raise_failure()
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


ALL_SETTINGS: list[tuple[str, dict[str, Any]]] = [
    ("bce", {}),
    ("bce", {"pos_weight": (3.5,)}),
    ("bce", {"pos_weight": (0.25, 1.0, 2.0, 10.0), "label_smoothing": 0.1}),
    ("asymmetric", {}),
    ("asymmetric", {"gamma_pos": 0.0, "gamma_neg": 4.0, "margin": 0.05}),
    ("asymmetric", {"gamma_pos": 1.0, "gamma_neg": 2.5, "margin": 0.0, "label_smoothing": 0.2}),
    ("asymmetric", {"gamma_neg": 0.0, "margin": 0.2}),
    ("focal", {}),
    ("focal", {"gamma": 2.0}),
    ("focal", {"gamma": 0.5, "alpha": 0.25, "label_smoothing": 0.05}),
]
EACH_LOSS = pytest.mark.parametrize(("name", "settings"), ALL_SETTINGS, ids=str)


def published(name, logits, labels, pos_weight=(1.0,), gamma=0.0, alpha=None, gamma_pos=0.0, gamma_neg=0.0, margin=0.0):
    """The loss of each entry as the papers and PyTorch's programs write it, for real or complex logits.

    Labels are 0 or 1, or between them, where it is the mix of both.
    """
    p, q = 1 / (1 + np.exp(-logits)), 1 / (1 + np.exp(logits))
    if name == "bce":  # torch.nn.BCEWithLogitsLoss
        return -(np.array(pos_weight) * labels * np.log(p) + (1 - labels) * np.log(q))
    if name == "focal":  # torchvision.ops.sigmoid_focal_loss: alpha_t (1 - p_t)^gamma (-log p_t)
        of_present, of_absent = (1, 1) if alpha is None else (alpha, 1 - alpha)
        return labels * of_present * q**gamma * -np.log(p) + (1 - labels) * of_absent * p**gamma * -np.log(q)
    # Ridnik et al.: clipped are p_m = max(p - m, 0) and 1 - p_m.
    inside = p.real > margin
    clipped, rest = np.where(inside, p - margin, 0), np.where(inside, q + margin, 1)
    return -(labels * q**gamma_pos * np.log(p) + (1 - labels) * clipped**gamma_neg * np.log(rest))


def smoothed(labels, settings):
    """The labels that a loss is trained with, unknown ones as 0; and the settings of its formula."""
    share = settings.get("label_smoothing", 0)
    labels = np.where(labels < 0, 0, labels).astype(np.float64)
    rest = {name: value for name, value in settings.items() if name != "label_smoothing"}
    return labels * (1 - share) + share / 2, rest


def published_value(name, logits, labels, settings):
    targets, rest = smoothed(labels, settings)
    values = published(name, logits.astype(np.float64), targets, **rest)
    return float(np.where(labels < 0, 0, values).sum())


def published_gradient(name, logits, labels, settings):
    """By a complex step, which has no rounding error to speak of: Im f(z + ih) / h."""
    targets, rest = smoothed(labels, settings)
    gradient = published(name, logits.astype(np.float64) + 1e-30j, targets, **rest).imag / 1e-30
    return np.where(labels < 0, 0.0, gradient)


def computed_gradient(name, logits, labels, settings):
    """What MXNet's operator gives, in float32."""
    variable = mx.sym.Variable("data")
    symbol = losses.of_name(name).attach(mx.sym.sigmoid(variable), variable, mx.sym.Variable("label"), "end", settings)
    executor = symbol.simple_bind(mx.cpu(), data=logits.shape, label=logits.shape)
    executor.forward(is_train=True, data=mx.nd.array(logits), label=mx.nd.array(labels))
    executor.backward()
    gradient = executor.grad_dict["data"].asnumpy()
    loss_operator.raise_failure()
    return gradient


@EACH_LOSS
def test_values_are_the_published_ones(name, settings):
    logits, labels = grid(-100, 100)
    logits, labels = logits[:, :4], labels[:, :4]
    total, known = losses.of_name(name).value(logits, labels, settings)
    assert known == (labels >= 0).sum()
    assert total == pytest.approx(published_value(name, logits, labels, settings), rel=1e-12)


@EACH_LOSS
def test_gradients_are_exact_from_logit_minus_100_to_100(name, settings):
    logits, labels = grid(-100, 100)
    logits, labels = logits[:, :4], labels[:, :4]
    gradient, expected = (f(name, logits, labels, settings) for f in (computed_gradient, published_gradient))
    assert np.isfinite(gradient).all()
    largest = max(settings.get("pos_weight", (1,)))
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=2e-6 * largest)
    if not settings.get("label_smoothing"):
        # No mistake is lost: relative to float32's rounding, down to its smallest numbers.
        wrong = (labels == 0) & (logits > 0) | (labels == 1) & (logits < 0)
        np.testing.assert_allclose(gradient[wrong], expected[wrong], rtol=2e-5, atol=1e-37)


def test_a_confident_mistake_is_fully_felt_but_for_what_a_margin_takes_for_a_wrong_label():
    logits, labels = np.array([[100.0, -100.0]]), np.array([[0, 1]])
    without_margin = [("bce", {"pos_weight": (1.0,)}), ("focal", {"gamma": 2.0}), ("asymmetric", {"gamma_neg": 4.0})]
    for name, settings in without_margin:
        np.testing.assert_allclose(computed_gradient(name, logits, labels, settings), [[1, -1]], rtol=1e-6)
    with_margin = computed_gradient("asymmetric", logits, labels, {"gamma_neg": 4.0, "margin": 0.05})
    np.testing.assert_allclose(with_margin, [[0, -1]], atol=1e-30)


def test_the_asymmetric_loss_by_hand():
    """Absent at p = 0.8, so r = 0.75: 0.75^2 log 4. Absent at p = 0.04: nothing. Present at p = 0.2: 0.8 log 5."""
    logits = np.log([[4, 0.04 / 0.96, 0.25]])
    settings = {"gamma_pos": 1.0, "gamma_neg": 2.0, "margin": 0.05}
    total, _ = losses.of_name("asymmetric").value(logits, np.array([[0, 0, 1]]), settings)
    assert total == pytest.approx(0.75**2 * np.log(4) + 0.8 * np.log(5))


def test_focal_and_smoothed_losses_by_hand():
    """p = 0.8 for a present label: 0.25 x 0.2^2 log(1 / 0.8); a label 1 smoothed by 0.2 is 0.9."""
    logits, labels = np.array([[np.log(4)]]), np.array([[1]])
    total, _ = losses.of_name("focal").value(logits, labels, {"gamma": 2.0, "alpha": 0.25})
    assert total == pytest.approx(0.25 * 0.2**2 * np.log(1 / 0.8))
    total, _ = losses.of_name("bce").value(logits, labels, {"label_smoothing": 0.2, "pos_weight": (3.0,)})
    assert total == pytest.approx(-3 * 0.9 * np.log(0.8) - 0.1 * np.log(0.2))


@st.composite
def entries(draw):
    """Logits and labels (2, 3), some soft and some unknown, and a loss with its settings."""
    logits = draw(st.lists(st.floats(-100, 100, width=32), min_size=6, max_size=6))
    label = st.one_of(st.sampled_from([-1.0, 0.0, 1.0]), st.floats(0, 1, width=32))
    labels = draw(st.lists(label, min_size=6, max_size=6))
    gamma, share = st.floats(0, 8), st.floats(0, 0.5)
    settings: dict[str, dict[str, Any]] = {
        "bce": {"pos_weight": st.lists(st.floats(0.1, 10), min_size=3, max_size=3).map(tuple)},
        "asymmetric": {"gamma_pos": gamma, "gamma_neg": gamma, "margin": share},
        "focal": {"gamma": gamma, "alpha": st.floats(0.01, 0.99)},
    }
    name = draw(st.sampled_from(sorted(settings)))
    chosen = draw(st.fixed_dictionaries({}, optional={**settings[name], "label_smoothing": share}))
    # At p = m the gradient has a step: float32 and float64 may differ in on which side of it they are.
    logits = np.reshape(logits, (2, 3)).astype(np.float32)
    margin = chosen.get("margin", 0)
    assume(not margin or np.abs(1 / (1 + np.exp(-logits.astype(np.float64))) - margin).min() > 1e-3)
    return name, logits, np.reshape(labels, (2, 3)).astype(np.float32), chosen


@given(entries())
def test_any_loss_has_the_published_value_and_gradient(case):
    name, logits, labels, settings = case
    value, _ = losses.of_name(name).value(logits, labels, settings)
    assert value == pytest.approx(published_value(name, logits, labels, settings), rel=1e-9, abs=1e-12)
    gradient = computed_gradient(name, logits, labels, settings)
    expected = published_gradient(name, logits, labels, settings)
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=2e-5)
    assert not gradient[labels < 0].any()


def test_unknown_labels_neither_count_nor_move_whatever_the_loss_gives_for_them():
    logits = np.array([[1e30, -1e30, 0.0, 3e38]])
    for name, settings in ALL_SETTINGS:
        assert losses.of_name(name).value(logits, np.full((1, 4), -1), settings) == (0.0, 0)
        assert not computed_gradient(name, logits, np.full((1, 4), -1), settings).any()


@EACH_LOSS
def test_every_losss_gradient_is_that_of_its_value(name, settings):
    """By central differences in float64, for hard, soft and unknown labels."""
    loss = losses.of_name(name)
    step = 1e-5
    numeric = np.zeros_like(LOGITS)
    for at in np.ndindex(*LOGITS.shape):
        shift = np.zeros_like(LOGITS)
        shift[at] = step
        above, below = (loss.value(LOGITS + sign * shift, LABELS, settings)[0] for sign in (1, -1))
        numeric[at] = (above - below) / (2 * step)
    np.testing.assert_allclose(computed_gradient(name, LOGITS, LABELS, settings), numeric, atol=1e-6)
    assert numeric[1, 0] == 0  # the unknown one


@EACH_LOSS
def test_every_loss_passes_the_file_check_and_is_found_in_a_graph(name, settings, tmp_path):
    loss = losses.of_name(name)
    logits = mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=4, name="fc")
    symbol = loss.attach(mx.sym.sigmoid(logits), logits, mx.sym.Variable("label"), "end", settings)
    symbol.save(str(tmp_path / "x-symbol.json"))
    loaded = load_symbol(tmp_path / "x-symbol.json")
    assert Graph.of(loaded).nodes[-1] == Graph.of(symbol).nodes[-1]
    end = multi_label_end(Graph.of(loaded))
    assert (end.loss, end.label_name) == (loss, "label")
    assert loss_of(loaded) == (loss, settings)


@pytest.mark.parametrize(
    ("name", "attribute", "text"),
    [
        ("focal", "gamma", "20.1"),
        ("focal", "gamma", "-1"),
        ("focal", "alpha", "nan"),
        ("focal", "margin", "0.05"),
        ("asymmetric", "margin", "1"),
        ("bce", "pos_weight", "(1.0, 0)"),
        ("bce", "pos_weight", "(1.0, 1e9)"),
        ("bce", "pos_weight", "(1.0, None)"),
        ("bce", "pos_weight", "()"),
        ("bce", "pos_weight", "(" + "1," * 10_001 + ")"),
        ("bce", "label_smoothing", "1"),
    ],
)
def test_a_file_with_a_wrong_setting_is_refused_and_no_loss_is_attached_with_one(name, attribute, text, tmp_path):
    logits = mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=2, name="fc")
    ends = mx.sym.sigmoid(logits), logits, mx.sym.Variable("label"), "end"
    document = json.loads(losses.of_name(name).attach(*ends).tojson())
    document["nodes"][-1]["attrs"][attribute] = text
    (tmp_path / "x-symbol.json").write_text(json.dumps(document))
    with pytest.raises(ModelError, match=rf"'{attribute}' is .*, should be|has no attribute '{attribute}'"):
        load_symbol(tmp_path / "x-symbol.json")
    with pytest.raises(ValueError, match=f"'{attribute}'"):
        losses.of_name(name).attach(*ends, {attribute: text})


def test_weights_of_another_number_of_classes_stop_training():
    with pytest.raises(TrainingError, match=r"the loss failed in CrossEntropyLoss.backward: MXNetError"):
        computed_gradient("bce", LOGITS, LABELS, {"pos_weight": (1.0, 2.0, 3.0)})


def test_a_loss_of_ones_own_needs_only_its_two_formulas(tmp_path):
    """The squared error with a weight as a setting: trained on, saved, let in, found, and refused with a wrong one."""
    program = f"""
        import json
        import numpy as np
        from mxml.errors import ModelError
        from mxml.model import loss_operator, losses
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
        loss_operator.raise_failure()
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


@pytest.mark.parametrize(
    ("name", "settings"), [("bce", {"pos_weight": (2.0, 0.5, 1.0)}), ("asymmetric", {"margin": 0.1})]
)
def test_settings_hold_on_every_device(name, settings):
    logits = mx.sym.Variable("data")
    symbol = losses.of_name(name).attach(mx.sym.sigmoid(logits), logits, mx.sym.Variable("label"), "end", settings)
    module = mx.mod.Module(symbol, label_names=["label"], context=[mx.cpu(0), mx.cpu(1)])
    batch, labels = LOGITS[:, :3], LABELS[:, :3]
    module.bind([("data", (2, 3))], [("label", (2, 3))], inputs_need_grad=True)
    module.init_params()
    module.forward_backward(mx.io.DataBatch([mx.nd.array(batch)], [mx.nd.array(labels)]))
    gradient = module.get_input_grads()[0].asnumpy()
    loss_operator.raise_failure()
    np.testing.assert_allclose(gradient, published_gradient(name, batch, labels, settings), atol=1e-6)


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
        loss_operator.raise_failure()
        weights.append(module.get_params()[0]["fc_weight"].asnumpy())
    logits = images @ start["fc_weight"].T
    step = 0.5 / 8 * expected_gradient(logits, labels).T @ images
    np.testing.assert_allclose(weights[0], start["fc_weight"] - step, atol=1e-6)
    np.testing.assert_allclose(weights[1], weights[0], atol=1e-6)


def test_a_failure_inside_a_callback_neither_hangs_nor_stays_silent():
    """In its own process with a time limit: MXNet alone would hang or abort here."""
    program = """
        import numpy as np
        from mxml.model import loss_operator, losses
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
                    loss_operator.raise_failure()
                except TrainingError as error:
                    print(error)
                loss_operator.raise_failure()
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
