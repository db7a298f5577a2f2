"""The fit of many labels at once, beside scikit-learn's of one label at a time."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from processes import run_python
from sklearn.linear_model import LogisticRegression

from mxml.model.pooled_layers import standardised
from mxml.runtime.imports import load_mxnet
from mxml.training.features import linear
from mxml.training.features.head_fit import fit_linear
from mxml.training.features.linear import (
    EPSILON,
    Standardiser,
    cross_validate,
    fit_logistic,
    folds_of,
)
from mxml.training.features.preconditioner import Directions, Preconditioner

mx = load_mxnet()


def draw(images, size, labels, seed=0, unknown=0.0):
    """Return standardised vectors and labels that depend on them."""
    generator = np.random.default_rng(seed)
    vectors = generator.normal(size=(images, size)).astype(np.float32)
    scores = vectors @ generator.normal(size=(size, labels)) + generator.normal(size=(images, labels))
    values = (scores > 0.8).astype(np.int8)
    values[generator.random(values.shape) < unknown] = -1
    return vectors, values


def reference(vectors, labels, penalty):
    """Fit one label: scikit-learn sums the losses, where ours are a mean."""
    known = labels >= 0
    model = LogisticRegression(C=1 / (known.sum() * penalty), tol=1e-10, max_iter=10_000, solver="newton-cholesky")
    return model.fit(vectors[known].astype(np.float64), labels[known])


@pytest.mark.parametrize("images, size", [(60, 20), (200, 100), (80, 200)])
@pytest.mark.parametrize("unknown", [0.0, 0.3])
def test_each_label_is_the_logistic_regression_of_its_known_images(images, size, unknown):
    vectors, labels = draw(images, size, 4, unknown=unknown)
    penalties = np.array([1.0, 0.1, 0.03, 0.01])

    fitted = fit_logistic(vectors, labels, penalties)

    for number, penalty in enumerate(penalties):
        expected = reference(vectors, labels[:, number], penalty)
        assert fitted.weight[:, number] == pytest.approx(expected.coef_[0], abs=1e-3)
        assert fitted.bias[number] == pytest.approx(expected.intercept_[0], abs=5e-3)
        logits = expected.decision_function(vectors.astype(np.float64))
        assert fitted.logits(vectors)[:, number] == pytest.approx(logits, abs=2e-2)


def test_many_labels_are_fitted_in_parts_that_fit_into_memory(monkeypatch):
    vectors, labels = draw(120, 30, 7, unknown=0.1)
    labels[:, 3] = 1
    penalties = np.geomspace(0.01, 1, 7)
    together = fit_logistic(vectors, labels, penalties)
    start = fit_logistic(vectors, labels, penalties, steps=3)
    monkeypatch.setattr(linear, "_MOST_BYTES", 1)
    for begin in (None, start):
        in_parts = fit_logistic(vectors, labels, penalties, begin)
        np.testing.assert_allclose(in_parts.weight, together.weight, atol=2e-3)
        np.testing.assert_allclose(in_parts.bias, together.bias, atol=5e-3)
        assert not in_parts.weight[:, 3].any()


def test_an_image_whose_label_is_unknown_counts_for_the_other_labels_alone():
    vectors, labels = draw(50, 8, 2)
    labels[30:, 0] = -1
    penalties = np.full(2, 0.1)

    both = fit_logistic(vectors, labels, penalties)

    first = fit_logistic(vectors[:30], labels[:30, :1], penalties[:1])
    second = fit_logistic(vectors, labels[:, 1:], penalties[:1])
    assert both.weight[:, 0] == pytest.approx(first.weight[:, 0], abs=1e-3)
    assert both.weight[:, 1] == pytest.approx(second.weight[:, 0], abs=1e-3)


def test_a_label_with_one_value_gets_a_bias_alone():
    vectors, _ = draw(9, 3, 1)
    labels = np.array([[1, 0, -1]] * 9, np.int8)

    fitted = fit_logistic(vectors, labels, np.ones(3))

    assert not fitted.weight.any()
    assert fitted.bias == pytest.approx([np.log(9.5 / 0.5), np.log(0.5 / 9.5), 0.0])


@settings(deadline=None, max_examples=30)
@given(
    images=st.integers(1, 12),
    size=st.integers(1, 6),
    scale=st.sampled_from([0.0, 1e-20, 1.0, 1e6]),
    labels=st.data(),
)
def test_any_vectors_and_labels_give_finite_heads_and_penalties(images, size, scale, labels):
    width = labels.draw(st.integers(1, 3))
    values = labels.draw(
        st.lists(
            st.lists(st.sampled_from([-1, 0, 1]), min_size=width, max_size=width), min_size=images, max_size=images
        )
    )
    vectors = (np.random.default_rng(images).normal(size=(images, size)) * scale).astype(np.float32)
    standard = Standardiser.of(vectors)(vectors)

    found = cross_validate(standard, np.array(values, np.int8), 0)
    fitted = fit_logistic(standard, np.array(values, np.int8), found.penalties)

    assert found.logits.shape == (images, width)
    assert (found.fold >= 0).all()
    assert np.isfinite(found.logits).all()
    assert np.isfinite(fitted.logits(standard)).all()


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e5])
def test_the_standardiser_computes_what_the_batch_norm_of_a_head_does(scale):
    vectors = (np.random.default_rng(1).normal(3, 2, (40, 7)) * scale).astype(np.float32)
    vectors[:, 2] = scale  # one that does not vary
    standardise = Standardiser.of(vectors)
    network = standardised(mx.sym.Variable("data"), "norm").simple_bind(mx.cpu(), data=vectors.shape)
    network.copy_params_from(
        {"norm_gamma": mx.nd.ones(7), "norm_beta": mx.nd.zeros(7)},
        {
            "norm_moving_mean": mx.nd.array(standardise.mean),
            "norm_moving_var": mx.nd.array(standardise.variance),
        },
    )

    (output,) = network.forward(is_train=False, data=mx.nd.array(vectors))

    assert output.asnumpy() == pytest.approx(standardise(vectors), abs=1e-4, rel=1e-4)
    deviation = np.sqrt(vectors.astype(np.float64).var(axis=0) + EPSILON)
    varying = np.arange(7) != 2
    by_hand = (vectors - vectors.astype(np.float64).mean(axis=0)) / deviation
    assert standardise(vectors)[:, varying] == pytest.approx(by_hand[:, varying], abs=1e-4)
    assert np.abs(standardise(vectors)[:, 2]).max() < 1e-2


def plain_loop(vectors, labels, fold, penalties):
    """Fit each label, fold and penalty by itself."""
    logits = np.zeros((len(penalties), *labels.shape))
    for number, penalty in enumerate(penalties):
        for part in range(fold.max() + 1):
            for label in range(labels.shape[1]):
                model = reference(vectors[fold != part], labels[fold != part, label], penalty)
                held_out = vectors[fold == part].astype(np.float64)
                logits[number, fold == part, label] = model.decision_function(held_out)
    return logits


def test_cross_validation_is_a_loop_over_folds_and_penalties():
    vectors, labels = draw(120, 15, 3, unknown=0.1)
    penalties = (1.0, 0.1, 0.01)

    found = cross_validate(vectors, labels, 5, penalties, folds=3)

    logits = plain_loop(vectors, labels, folds_of(labels, 5, 3), penalties)
    losses = np.where(labels >= 0, np.logaddexp(0, logits) - np.maximum(labels, 0) * logits, 0).sum(axis=1)
    best = losses.argmin(axis=0)
    assert found.penalties.tolist() == [penalties[number] for number in best]
    expected = np.take_along_axis(logits, best[None, None], axis=0)[0]
    assert found.logits == pytest.approx(expected, abs=0.02)


def test_copies_are_fitted_and_the_images_themselves_are_scored():
    vectors, labels = draw(60, 5, 2)
    copies = vectors + np.random.default_rng(3).normal(0, 0.3, vectors.shape).astype(np.float32)

    found = cross_validate(np.stack([vectors, copies]), labels, 0, (0.1,), folds=2)

    fold = folds_of(labels, 0, 2)
    for part in range(2):
        seen = fold != part
        everything = np.concatenate([vectors[seen], copies[seen]])
        model = reference(everything, np.tile(labels[seen, 1], 2), 0.1)
        expected = model.decision_function(vectors[~seen].astype(np.float64))
        assert found.logits[~seen, 1] == pytest.approx(expected, abs=0.02)


def test_copies_of_an_image_are_in_one_fold_and_weaken_no_penalty():
    # 300 features know 200 images by heart: what has seen a copy predicts it.
    vectors, labels = draw(200, 300, 3)
    labels = np.where(np.random.default_rng(1).random(labels.shape) < 0.3, 1 - labels, labels)
    four = np.repeat(np.arange(200), 4)
    once, often = cross_validate(vectors, labels, seed=0), cross_validate(vectors[four], labels[four], seed=0)
    assert (np.ptp(often.fold.reshape(200, 4), axis=1) == 0).all()
    assert (often.penalties >= once.penalties / 4).all()

    def loss(found, labels):
        return float((np.logaddexp(0, found.logits) - labels * found.logits).mean())

    assert loss(often, labels[four]) == pytest.approx(loss(once, labels), abs=0.1)


def test_a_label_with_few_images_takes_the_penalty_that_is_best_for_all():
    vectors, labels = draw(100, 30, 3)
    rare = np.zeros(100, np.int8)
    rare[:3] = 1
    labels = np.column_stack([labels, rare])

    found = cross_validate(vectors, labels, 0)

    # Of all labels together the loss is least at one penalty, which the rare label has.
    logits = {}
    for penalty in (1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001):
        logits[penalty] = cross_validate(vectors, labels, 0, (penalty,)).logits
    losses = {penalty: (np.logaddexp(0, values) - labels * values).sum() for penalty, values in logits.items()}
    assert found.penalties[3] == min(losses, key=losses.__getitem__)


def test_folds_hold_each_label_evenly_and_keep_groups_together():
    labels = np.zeros((40, 2), np.int8)
    labels[:8, 0] = 1
    labels[20:, 1] = 1

    fold = folds_of(labels, 1, 4)
    assert [[int(labels[fold == part, label].sum()) for part in range(4)] for label in range(2)] == [[2] * 4, [5] * 4]

    groups = np.arange(40) // 2
    fold = folds_of(labels, 1, 4, groups)
    assert (fold[::2] == fold[1::2]).all()
    assert set(fold.tolist()) == {0, 1, 2, 3}


def test_the_number_of_threads_does_not_change_a_bit():
    code = (
        "import hashlib, numpy as np\n"
        "from mxml.training.features.linear import *\n"
        "g = np.random.default_rng(0)\n"
        "x = g.normal(size=(700, 150)).astype(np.float32)\n"
        "y = (x @ g.normal(size=(150, 3)) > 1).astype(np.int8)\n"
        "s = Standardiser.of(x)(x)\n"
        "f = cross_validate(s, y, 0)\n"
        "h = fit_logistic(s, y, f.penalties)\n"
        "parts = f.penalties, f.logits, h.weight, h.bias, h.logits(s)\n"
        "print(hashlib.sha256(b''.join(part.tobytes() for part in parts)).hexdigest())\n"
    )
    digests = {run_python(code, OPENBLAS_NUM_THREADS=threads, OMP_NUM_THREADS=threads) for threads in ("1", "2", "4")}
    assert len(digests) == 1


def test_a_step_that_raises_ends_the_fit():
    class Stopped(Exception):
        pass

    def stop():
        raise Stopped

    vectors, labels = draw(40, 10, 2)

    with pytest.raises(Stopped):
        fit_logistic(vectors, labels, np.ones(2), after_step=stop)
    with pytest.raises(Stopped):
        fit_linear(vectors[None], labels, 0, stop)


@pytest.mark.parametrize("images, size", [(300, 40), (30, 50), (200, 100)])
def test_the_loss_curves_alike_along_all_variables_where_all_directions_are_known(images, size):
    vectors, _ = draw(images, size, 1)
    curvature, penalty = np.array([0.25, 0.1]), np.array([0.01, 1.0])
    preconditioner = Preconditioner(Directions.of(vectors), curvature, penalty)

    for label in range(2):
        curves = curvature[label] * vectors.T.astype(np.float64) @ vectors / images + penalty[label] * np.eye(size)
        variables = np.zeros((size + 1, 2))
        variables[:-1, label] = np.random.default_rng(1).normal(size=size)
        by_weights = np.zeros((size + 1, 2))
        by_weights[:-1, label] = curves @ preconditioner.parameters(variables)[:-1, label]
        turned = preconditioner.parameters(by_weights)[:-1, label]
        if min(images, size) <= 64:
            assert turned == pytest.approx(variables[:-1, label], abs=1e-4)
        else:
            # Of 100 directions 64 are known: the others curve as they do in the mean.
            lengths = np.linalg.norm(turned) / np.linalg.norm(variables)
            assert 0.7 < lengths < 1.4


@given(st.integers(1, 30), st.integers(1, 12), st.integers(1, 3))
def test_variables_and_parameters_are_two_views_of_one_thing(images, size, num_labels):
    generator = np.random.default_rng(images)
    vectors = generator.normal(size=(images, size)).astype(np.float32)
    curvature, penalty = generator.uniform(0.01, 0.25, num_labels), generator.uniform(0.001, 1, num_labels)
    preconditioner = Preconditioner(Directions.of(vectors), curvature, penalty)
    parameters = generator.normal(size=(size + 1, num_labels))

    found = preconditioner.parameters(preconditioner.variables(parameters))

    assert found == pytest.approx(parameters, abs=1e-4)
