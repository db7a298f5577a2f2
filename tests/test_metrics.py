"""The figures against hand-worked values, scikit-learn and what must hold for any input."""

# ruff: noqa: SIM300 - CP, OF1 and their like are figures, not constants

from __future__ import annotations

import json
import math
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn import metrics as reference

from mxml.errors import MxmlError, TrainingError
from mxml.metrics import multilabel_metrics

MEANS = ("mAP", "CP", "CR", "CF1", "OP", "OR", "OF1", "hamming", "element_accuracy", "subset_accuracy", "ranking_loss",
         "coverage", "lrap", "loss")  # fmt: skip


def figures(metrics):
    return np.array([getattr(metrics, name) for name in MEANS], dtype=float)


@st.composite
def judged_scores(draw, unknown=True):
    shape = draw(st.tuples(st.integers(1, 12), st.integers(1, 5)))
    labels = draw(hnp.arrays(np.int8, shape, elements=st.integers(-1 if unknown else 0, 1)))
    # Few distinct scores, so that ties are common.
    scores = draw(hnp.arrays(np.float64, shape, elements=st.integers(0, 8))) / 8
    return scores, labels


def test_a_worked_example_with_unknown_labels():
    scores = np.array([[0.9, 0.2, 0.6], [0.8, 0.7, 0.1], [0.3, 0.5, 0.4], [0.1, 0.6, 0.9]])
    labels = np.array([[1, 0, -1], [0, 1, 0], [1, 0, 0], [-1, -1, -1]])
    result = multilabel_metrics(scores, labels)

    assert (result.samples, result.known) == (3, 8)
    # Class 0 ranks 0.9+ 0.8- 0.3+: (1/1 + 2/3) / 2. Class 1 ranks 0.7+ first: 1. Class 2 has no positive.
    assert result.per_class[0].AP == pytest.approx(5 / 6)
    assert result.per_class[1].AP == 1
    assert math.isnan(result.per_class[2].AP)
    assert result.mAP == pytest.approx((5 / 6 + 1) / 2)
    # At 0.5 class 0 calls samples 0 and 1: one of two is right, one of two is found. Class 1 calls 1 and 2: one, all.
    assert [(c.precision, c.recall) for c in result.per_class[:2]] == [(0.5, 0.5), (0.5, 1.0)]
    assert (result.CP, result.CR) == (0.5, 0.75)
    assert result.CF1 == pytest.approx(0.6)
    assert (result.OP, result.OR) == (0.5, pytest.approx(2 / 3))
    assert result.OF1 == pytest.approx(4 / 7)
    # Wrong: sample 1 class 0, sample 2 classes 0 and 1; of 8 known.
    assert result.hamming == pytest.approx(3 / 8)
    assert result.element_accuracy == pytest.approx(5 / 8)
    assert result.subset_accuracy == pytest.approx(1 / 3)
    # Sample 0: in order. Sample 1: its label stands below one of two absent ones. Sample 2: below both.
    assert result.ranking_loss == pytest.approx((0 + 1 / 2 + 1) / 3)
    assert result.coverage == pytest.approx((1 + 2 + 3) / 3)
    assert result.lrap == pytest.approx((1 + 1 / 2 + 1 / 3) / 3)
    chosen = np.array([0.9, 1 - 0.2, 1 - 0.8, 0.7, 1 - 0.1, 0.3, 1 - 0.5, 1 - 0.4])
    assert result.loss == pytest.approx(-np.log(chosen).mean())


@settings(deadline=None, max_examples=80)
@given(judged_scores(unknown=False), st.lists(st.sampled_from([0.0, 0.25, 0.5, 0.7, 1.0]), min_size=5, max_size=5))
def test_scikit_learn_agrees_on_full_labels(case, thresholds):
    scores, labels = case
    thresholds = np.array(thresholds[: labels.shape[1]])
    result = multilabel_metrics(scores, labels, thresholds)
    calls = (scores >= thresholds).astype(int)

    expected = []
    for column in range(labels.shape[1]):
        found = result.per_class[column]
        if not labels[:, column].any():
            assert math.isnan(found.AP) and math.isnan(found.F1)
            continue
        truth, call = labels[:, column], calls[:, column]
        assert found.AP == pytest.approx(reference.average_precision_score(truth, scores[:, column]), abs=1e-12)
        precision, recall, f1, _ = reference.precision_recall_fscore_support(
            truth, call, average="binary", zero_division=0.0
        )
        assert (found.precision, found.recall, found.F1) == pytest.approx((precision, recall, f1))
        expected.append((precision, recall))
    if expected:
        assert (result.CP, result.CR) == pytest.approx(tuple(np.mean(expected, axis=0)))
        assert result.OF1 == pytest.approx(
            reference.f1_score(labels.ravel(), calls.ravel(), average="binary", zero_division=0.0)
        )
    assert result.hamming == pytest.approx(np.mean(labels != calls))
    assert result.subset_accuracy == pytest.approx(np.mean((labels == calls).all(axis=1)))
    assert result.lrap == pytest.approx(reference.label_ranking_average_precision_score(labels, scores))
    if labels.shape[1] > 1:  # with one column scikit-learn refuses the other two
        assert result.ranking_loss == pytest.approx(reference.label_ranking_loss(labels, scores))
        assert result.coverage == pytest.approx(reference.coverage_error(labels, scores))


def test_scikit_learn_agrees_on_a_large_set_that_is_ranked_in_blocks():
    random = np.random.default_rng(3)
    labels = (random.random((6_000, 200)) < 0.1).astype(np.int8)
    scores = np.clip(labels * 0.2 + random.random(labels.shape), 0, 1).astype(np.float32)
    result = multilabel_metrics(scores, labels)
    assert result.mAP == pytest.approx(reference.average_precision_score(labels, scores, average="macro"))
    assert result.lrap == pytest.approx(reference.label_ranking_average_precision_score(labels, scores))


@settings(deadline=None, max_examples=60)
@given(judged_scores(), st.randoms(use_true_random=False))
def test_the_order_of_the_samples_does_not_matter(case, random):
    scores, labels = case
    order = list(range(len(labels)))
    random.shuffle(order)
    shuffled = multilabel_metrics(scores[order], labels[order])
    np.testing.assert_allclose(figures(shuffled), figures(multilabel_metrics(scores, labels)), atol=1e-12)


@settings(deadline=None, max_examples=60)
@given(judged_scores(), st.data())
def test_an_unknown_sample_or_class_is_as_if_it_were_not_there(case, data):
    scores, labels = case
    row = data.draw(st.integers(0, len(labels) - 1))
    column = data.draw(st.integers(0, labels.shape[1] - 1))
    masked = labels.copy()
    masked[row] = -1
    masked[:, column] = -1
    without = multilabel_metrics(
        np.delete(np.delete(scores, row, 0), column, 1), np.delete(np.delete(labels, row, 0), column, 1)
    )
    np.testing.assert_allclose(figures(multilabel_metrics(scores, masked)), figures(without), atol=1e-12)


@settings(deadline=None, max_examples=60)
@given(judged_scores(), st.data())
def test_the_score_of_an_unknown_label_changes_nothing(case, data):
    scores, labels = case
    others = data.draw(hnp.arrays(np.float64, scores.shape, elements=st.floats(0, 1)))
    changed = np.where(labels == -1, others, scores)
    np.testing.assert_array_equal(
        figures(multilabel_metrics(changed, labels)), figures(multilabel_metrics(scores, labels))
    )


@settings(deadline=None, max_examples=40)
@given(judged_scores())
def test_perfect_scores_are_perfect_by_every_figure(case):
    _, labels = case
    result = multilabel_metrics((labels == 1).astype(np.float32), labels)
    if not (labels >= 0).any():
        assert np.isnan(figures(result)).all()
        return
    assert (result.hamming, result.element_accuracy, result.subset_accuracy) == (0, 1, 1)
    assert (result.ranking_loss, result.lrap) == (0, 1)
    assert result.loss == pytest.approx(0, abs=1e-6)
    if (labels == 1).any():
        assert (result.mAP, result.CF1, result.OF1) == (1, 1, 1)


def test_the_loss_from_logits_is_exact_where_probabilities_have_saturated():
    logits = np.array([[100.0, -100.0, 40.0, -3.0]])
    labels = np.array([[0, 1, 1, 0]], dtype=np.int8)
    probabilities = (1 / (1 + np.exp(-logits))).astype(np.float32)
    # softplus(100), softplus(100), softplus(-40), softplus(-3)
    expected = (100.0 + 100.0 + math.log1p(math.exp(-40)) + math.log1p(math.exp(-3))) / 4
    assert multilabel_metrics(probabilities, labels, logits=logits).loss == pytest.approx(expected, rel=1e-12)
    clipped = multilabel_metrics(probabilities, labels).loss
    assert clipped == pytest.approx((2 * -math.log(1e-7) + math.log1p(math.exp(-3))) / 4, rel=1e-4)


def test_a_score_equal_to_its_threshold_is_predicted_whatever_its_width():
    scores = np.array([[0.3, 0.7]], dtype=np.float32)
    labels = np.array([[1, 1]])
    assert multilabel_metrics(scores, labels, scores[0].astype(float)).OR == 1
    assert (
        multilabel_metrics(scores.astype(np.float64), labels, np.array([0.3, np.nextafter(scores[0, 1], 1)])).OR == 0.5
    )


def test_each_class_has_its_own_threshold():
    scores = np.full((2, 3), 0.4)
    result = multilabel_metrics(scores, np.ones((2, 3), int), [0.3, 0.5, 0.4])
    assert [figures.predicted for figures in result.per_class] == [2, 0, 2]
    assert [figures.threshold for figures in result.per_class] == [0.3, 0.5, 0.4]


def test_what_is_undefined_is_null_in_json():
    result = multilabel_metrics(np.array([[0.9, 0.2], [0.4, 0.8]]), np.array([[1, 0], [0, -1]]))
    plain = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert plain["mAP"] == 1
    assert plain["per_class"][1] == {
        "index": 1, "known": 1, "positives": 0, "predicted": 0, "threshold": 0.5,
        "AP": None, "precision": None, "recall": None, "F1": None,
    }  # fmt: skip
    nothing = multilabel_metrics(np.empty((0, 2)), np.empty((0, 2), dtype=np.int8)).to_dict()
    assert (nothing["samples"], nothing["mAP"], nothing["loss"]) == (0, None, None)
    assert set(plain) == set(asdict(result))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("given_as", ["scores", "logits"])
def test_a_figure_that_is_not_finite_stops_with_its_place(bad, given_as):
    values = {"scores": np.full((3, 2), 0.5), "logits": np.zeros((3, 2))}
    values[given_as][1, 1] = bad
    with pytest.raises(TrainingError, match=r"of sample 1, class 1 is (nan|inf), and 1 of 6"):
        multilabel_metrics(labels=np.ones((3, 2), int), **values)


def test_logits_given_as_scores_and_soft_labels_are_refused():
    with pytest.raises(MxmlError, match=r"score of sample 0, class 1 is -2, .*sigmoid"):
        multilabel_metrics(np.array([[0.5, -2.0]]), np.array([[1, 0]]))
    with pytest.raises(MxmlError, match=r"label of sample 0, class 0 is 0\.5"):
        multilabel_metrics(np.array([[0.5, 0.5]]), np.array([[0.5, 0]]))
    with pytest.raises(ValueError, match="two dimensions"):
        multilabel_metrics(np.zeros((2, 3)), np.zeros((3, 2)))
