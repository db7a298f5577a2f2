"""The values against hand-worked values, the definitions written out as loops, and what must hold for any input."""

# ruff: noqa: SIM300 - CP, OF1 and their like are metrics, not constants

from __future__ import annotations

import json
import math
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mxml.errors import ModelError, MxmlError
from mxml.evaluation.average_precision import average_precisions
from mxml.evaluation.metrics import multilabel_metrics

MEANS = ("mAP", "mAP_11point", "CP", "CR", "CF1", "OP", "OR", "OF1", "CF1_top3", "OF1_top3", "hamming",
         "element_accuracy", "subset_accuracy", "ranking_loss", "coverage", "one_error", "lrap", "ECE",
         "loss")  # fmt: skip


def values(metrics):
    return np.array([getattr(metrics, name) for name in MEANS], dtype=float)


@st.composite
def scores_and_labels(draw):
    shape = draw(st.tuples(st.integers(1, 12), st.integers(1, 5)))
    labels = draw(hnp.arrays(np.int8, shape, elements=st.integers(-1, 1)))
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
    # Up to a recall of 1/2 the best precision is 1 (recalls 0, 0.1, ..., 0.5), then 2/3 (0.6, ..., 1).
    assert result.per_class[0].AP_11point == pytest.approx((6 * 1 + 5 * 2 / 3) / 11)
    assert result.mAP_11point == pytest.approx(((6 + 10 / 3) / 11 + 1) / 2)
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
    # Only in sample 0 the present label is first.
    assert result.one_error == pytest.approx(2 / 3)
    # Every known label has a bin of its own.
    distances = [0.1, 0.2, 0.8, 0.3, 0.1, 0.7, 0.5, 0.4]
    assert result.ECE == pytest.approx(sum(distances) / 8)
    assert [entry.ECE for entry in result.per_class] == pytest.approx(
        [(0.1 + 0.8 + 0.7) / 3, (0.2 + 0.3 + 0.5) / 3, (0.1 + 0.4) / 2]
    )
    chosen = np.array([0.9, 1 - 0.2, 1 - 0.8, 0.7, 1 - 0.1, 0.3, 1 - 0.5, 1 - 0.4])
    assert result.loss == pytest.approx(-np.log(chosen).mean())


def share_present_from(score, column):
    """Return how large a share of the (score, label) pairs at or above the score is present."""
    above = [label for other, label in column if other >= score]
    return sum(above) / len(above)


def mean(values):
    return sum(values) / len(values) if values else math.nan


def harmonic(first, second):
    return 2 * first * second / (first + second) if first + second else 0.0


def eleven_points(cells):
    positives = sum(label for _, label in cells)
    best = []
    for level in range(11):
        precisions = []
        for score, _ in cells:
            above = [label for other, label in cells if other >= score]
            if 10 * sum(above) >= level * positives:
                precisions.append(sum(above) / len(above))
        best.append(max(precisions))
    return mean(best)


def calibration_error(cells):
    error = 0.0
    for bin in range(15):
        inside = [(score, label) for score, label in cells if min(int(15 * score), 14) == bin]
        error += abs(sum(score for score, _ in inside) - sum(label for _, label in inside))
    return error / len(cells) if cells else math.nan


def averages(classes, calls, hits):
    """Return CP, CR, CF1, OP, OR, OF1 from each class's names of counts."""
    defined = [one for one in classes if one["positives"]]
    CP = mean([one[hits] / one[calls] if one[calls] else 0.0 for one in defined])
    CR = mean([one[hits] / one["positives"] for one in defined])
    right, called, positives = (sum(one[name] for one in classes) for name in (hits, calls, "positives"))
    OP, OR = ((right / called if called else 0.0), right / positives) if positives else (math.nan, math.nan)
    return CP, CR, harmonic(CP, CR), OP, OR, harmonic(OP, OR)


def by_definition(scores, labels, thresholds):
    """Work out every metric cell by cell, as the docstring of mxml.evaluation.metrics defines it."""
    num_samples, num_classes = labels.shape
    classes: list[dict[str, Any]] = []
    samples: list[dict[str, Any]] = []
    for c in range(num_classes):
        cells = [(scores[n, c], int(labels[n, c])) for n in range(num_samples) if labels[n, c] != -1]
        called = [label for score, label in cells if score >= thresholds[c]]
        positives = [score for score, label in cells if label]
        one: dict[str, Any] = {
            "known": len(cells),
            "positives": len(positives),
            "predicted": len(called),
            "hits": sum(called),
            "top3": 0,
            "top3_hits": 0,
            "ECE": calibration_error(cells),
        }
        one.update(dict.fromkeys(("AP", "AP_11point", "precision", "recall", "F1"), math.nan))
        if positives:
            one["AP"] = mean([share_present_from(score, cells) for score in positives])
            one["AP_11point"] = eleven_points(cells)
            one["precision"] = sum(called) / len(called) if called else 0.0
            one["recall"] = sum(called) / len(positives)
            one["F1"] = harmonic(one["precision"], one["recall"])
        classes.append(one)
    for n in range(num_samples):
        cells = [(scores[n, c], int(labels[n, c])) for c in range(num_classes) if labels[n, c] != -1]
        if not cells:
            continue
        present = [score for score, label in cells if label]
        absent = [score for score, label in cells if not label]
        wrong = [(scores[n, c] >= thresholds[c]) != labels[n, c] for c in range(num_classes) if labels[n, c] != -1]
        one = {"wrong": sum(wrong), "ranking_loss": 0.0, "lrap": 1.0, "coverage": 0}
        if present:
            one["coverage"] = sum(score >= min(present) for score, _ in cells)
            one["one_error"] = bool(absent) and max(absent) >= max(present)
        for c in sorted((c for c in range(num_classes) if labels[n, c] != -1), key=lambda c: -scores[n, c])[:3]:
            if scores[n, c] >= thresholds[c]:
                classes[c]["top3"] += 1
                classes[c]["top3_hits"] += int(labels[n, c])
        if present and absent:
            one["ranking_loss"] = mean([low <= high for low in present for high in absent])
            one["lrap"] = mean([share_present_from(score, cells) for score in present])
        one["loss"] = [-math.log(min(max(s if y else 1 - s, 1e-7), 1 - 1e-7)) for s, y in cells]
        samples.append(one)

    defined = [one for one in classes if one["positives"]]
    CP, CR, CF1, OP, OR, OF1 = averages(classes, "predicted", "hits")
    losses = [loss for one in samples for loss in one["loss"]]
    wrong = sum(one["wrong"] for one in samples)
    hamming = wrong / len(losses) if losses else math.nan
    values = {
        "samples": len(samples), "known": len(losses), "mAP": mean([one["AP"] for one in defined]),
        "mAP_11point": mean([one["AP_11point"] for one in defined]),
        "CP": CP, "CR": CR, "CF1": CF1, "OP": OP, "OR": OR, "OF1": OF1,
        "hamming": hamming, "element_accuracy": 1 - hamming,
        "subset_accuracy": mean([one["wrong"] == 0 for one in samples]), "accuracy": math.nan, "loss": mean(losses),
    }  # fmt: skip
    values |= {name: mean([one[name] for one in samples]) for name in ("ranking_loss", "coverage", "lrap")}
    values["one_error"] = mean([one["one_error"] for one in samples if "one_error" in one])
    names = ("CP_top3", "CR_top3", "CF1_top3", "OP_top3", "OR_top3", "OF1_top3")
    values |= dict(zip(names, averages(classes, "top3", "top3_hits")))
    known = labels != -1
    values["ECE"] = calibration_error(list(zip(scores[known].tolist(), labels[known].tolist())))
    for index, one in enumerate(classes):
        for name in ("hits", "top3", "top3_hits"):
            del one[name]
        one |= {"index": index, "threshold": thresholds[index]}
    return values, classes


def assert_as_defined(scores, labels, thresholds):
    found = asdict(multilabel_metrics(scores, labels, thresholds))
    expected, classes = by_definition(scores, labels, thresholds)
    per_class = found.pop("per_class")
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-12, nan_ok=True)
    assert len(per_class) == len(classes)
    for one, worked in zip(per_class, classes):
        assert one == pytest.approx(worked, rel=1e-9, abs=1e-12, nan_ok=True)


@settings(deadline=None, max_examples=250)
@given(scores_and_labels(), st.lists(st.sampled_from([0.0, 0.25, 0.5, 0.7, 1.0]), min_size=5, max_size=5))
def test_every_metric_is_as_defined(case, thresholds):
    scores, labels = case
    assert_as_defined(scores, labels, thresholds[: labels.shape[1]])


@pytest.mark.parametrize("unknown", [0.0, 0.3, 0.97])
def test_many_samples_each_with_its_own_unknown_labels_are_as_defined(unknown):
    random = np.random.default_rng(3)
    labels = (random.random((150, 40)) < 0.2).astype(np.int8)
    scores = np.clip(labels * 0.2 + random.random(labels.shape), 0, 1)
    labels[random.random(labels.shape) < unknown] = -1
    assert_as_defined(scores, labels, random.random(40))


@pytest.mark.parametrize(("label", "coverage"), [(1, 1), (0, 0)])
def test_a_single_known_label_is_ranked_rightly(label, coverage):
    for scores, labels in (([[0.3]], [[label]]), ([[0.9, 0.3, 0.9]], [[-1, label, -1]])):
        result = multilabel_metrics(np.array(scores), np.array(labels))
        assert (result.ranking_loss, result.lrap, result.coverage) == (0, 1, coverage)


def test_labels_that_score_alike_share_the_worst_place():
    result = multilabel_metrics(np.array([[0.5, 0.5, 0.5, 0.9, 0.1]]), np.array([[1, 0, 0, -1, 0]]))
    # Two of the three absent labels score as high; the present one is third of three; one of those three is present.
    assert result.ranking_loss == pytest.approx(2 / 3)
    assert (result.coverage, result.lrap) == (3, pytest.approx(1 / 3))


@settings(deadline=None, max_examples=60)
@given(scores_and_labels())
def test_only_the_order_of_the_scores_matters_to_the_ranking_metrics(case):
    scores, labels = case
    ranked, squeezed = multilabel_metrics(scores, labels), multilabel_metrics(scores / 4 + 0.5, labels)
    for name in ("mAP", "ranking_loss", "coverage", "lrap"):
        assert getattr(squeezed, name) == pytest.approx(getattr(ranked, name), nan_ok=True)


@settings(deadline=None, max_examples=60)
@given(scores_and_labels(), st.randoms(use_true_random=False))
def test_the_order_of_the_samples_does_not_matter(case, random):
    scores, labels = case
    order = list(range(len(labels)))
    random.shuffle(order)
    shuffled = multilabel_metrics(scores[order], labels[order])
    np.testing.assert_allclose(values(shuffled), values(multilabel_metrics(scores, labels)), atol=1e-12)


@settings(deadline=None, max_examples=60)
@given(scores_and_labels(), st.data())
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
    np.testing.assert_allclose(values(multilabel_metrics(scores, masked)), values(without), atol=1e-12)


@settings(deadline=None, max_examples=60)
@given(scores_and_labels(), st.data())
def test_the_score_of_an_unknown_label_changes_nothing(case, data):
    scores, labels = case
    others = data.draw(hnp.arrays(np.float64, scores.shape, elements=st.floats(0, 1)))
    changed = np.where(labels == -1, others, scores)
    np.testing.assert_array_equal(
        values(multilabel_metrics(changed, labels)), values(multilabel_metrics(scores, labels))
    )


@settings(deadline=None, max_examples=40)
@given(scores_and_labels())
def test_perfect_scores_are_perfect_by_every_metric(case):
    _, labels = case
    result = multilabel_metrics((labels == 1).astype(np.float32), labels)
    if not (labels >= 0).any():
        assert np.isnan(values(result)).all()
        return
    assert (result.hamming, result.element_accuracy, result.subset_accuracy) == (0, 1, 1)
    assert (result.ranking_loss, result.lrap, result.ECE) == (0, 1, 0)
    assert result.loss == pytest.approx(0, abs=1e-6)
    if (labels == 1).any():
        assert (result.mAP, result.mAP_11point, result.CF1, result.OF1, result.one_error) == (1, 1, 1, 1, 0)


def test_the_loss_from_logits_is_exact_where_probabilities_have_saturated():
    logits = np.array([[100.0, -100.0, 40.0, -3.0]])
    labels = np.array([[0, 1, 1, 0]], dtype=np.int8)
    probabilities = (1 / (1 + np.exp(-logits))).astype(np.float32)
    # softplus(100), softplus(100), softplus(-40), softplus(-3)
    expected = (100.0 + 100.0 + math.log1p(math.exp(-40)) + math.log1p(math.exp(-3))) / 4
    assert multilabel_metrics(probabilities, labels, logits=logits).loss == pytest.approx(expected, rel=1e-12)
    surely_right = multilabel_metrics(np.ones((1, 1)), np.ones((1, 1)), logits=np.array([[40.0]]))
    assert surely_right.loss == pytest.approx(math.exp(-40), rel=1e-9, abs=0)
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
    result = multilabel_metrics(scores, np.ones((2, 3), int), np.array([0.3, 0.5, 0.4]))
    assert [values.predicted for values in result.per_class] == [2, 0, 2]
    assert [values.threshold for values in result.per_class] == [0.3, 0.5, 0.4]


def test_what_is_undefined_is_null_in_json():
    result = multilabel_metrics(np.array([[0.9, 0.2], [0.4, 0.8]]), np.array([[1, 0], [0, -1]]))
    plain = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert plain["mAP"] == 1
    assert plain["per_class"][1] == {
        "index": 1, "known": 1, "positives": 0, "predicted": 0, "threshold": 0.5,
        "AP": None, "AP_11point": None, "precision": None, "recall": None, "F1": None, "ECE": pytest.approx(0.2),
    }  # fmt: skip
    nothing = multilabel_metrics(np.empty((0, 2)), np.empty((0, 2), dtype=np.int8)).to_dict()
    assert (nothing["samples"], nothing["mAP"], nothing["loss"]) == (0, None, None)
    assert set(plain) == set(asdict(result))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("given_as", ["scores", "logits"])
def test_a_metric_that_is_not_finite_stops_with_its_place(bad, given_as):
    values: dict[str, Any] = {"scores": np.full((3, 2), 0.5), "logits": np.zeros((3, 2))}
    values[given_as][1, 1] = bad
    with pytest.raises(ModelError, match=r"of sample 1, class 1 is (nan|inf), and 1 of 6"):
        multilabel_metrics(labels=np.ones((3, 2), int), **values)


def test_logits_given_as_scores_and_soft_labels_are_refused():
    with pytest.raises(MxmlError, match=r"score of sample 0, class 1 is -2, .*sigmoid"):
        multilabel_metrics(np.array([[0.5, -2.0]]), np.array([[1, 0]]))
    with pytest.raises(MxmlError, match=r"label of sample 0, class 0 is 0\.5"):
        multilabel_metrics(np.array([[0.5, 0.5]]), np.array([[0.5, 0]]))
    with pytest.raises(ValueError, match="two dimensions"):
        multilabel_metrics(np.zeros((2, 3)), np.zeros((3, 2)))


def test_of_single_labels_the_highest_score_is_predicted_and_the_loss_is_the_samples():
    """Right with 0.4 over 0.35 and 0.25, wrong with 0.3 under 0.6, right with 0.5: no threshold has a say."""
    scores = np.array([[0.4, 0.35, 0.25], [0.6, 0.3, 0.1], [0.2, 0.3, 0.5]])
    labels = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1]])
    found = multilabel_metrics(scores, labels, 0.99, single_label=True)
    assert found.accuracy == found.subset_accuracy == pytest.approx(2 / 3)
    assert [entry.predicted for entry in found.per_class] == [2, 0, 1]
    # The predicted labels score 0.4, 0.6 and 0.5; two are right, each score has a bin of its own.
    assert found.ECE == pytest.approx((0.6 + 0.6 + 0.5) / 3)
    # The second class's only sample shares its place with another, below a third.
    assert found.mAP == pytest.approx((1 / 2 + 1 / 3 + 1) / 3)
    assert found.loss == pytest.approx(-np.log([0.4, 0.3, 0.5]).mean())
    exact = multilabel_metrics(scores, labels, logits=np.log(scores) + 300, single_label=True)
    assert exact.loss == pytest.approx(found.loss)
    with pytest.raises(MxmlError, match="not exactly one label"):
        multilabel_metrics(scores, np.array([[1, 0, 0], [0, 1, 1], [0, 0, 1]]), single_label=True)
    with pytest.raises(MxmlError, match="unknown labels"):
        multilabel_metrics(scores, np.array([[1, 0, -1], [0, 1, 0], [0, 0, 1]]), single_label=True)


@settings(deadline=None, max_examples=60)
@given(scores_and_labels())
def test_the_average_precisions_alone_are_those_of_all_metrics_where_a_label_has_both_values(case):
    scores, labels = case
    found, expected = average_precisions(scores, labels), multilabel_metrics(scores, labels).per_class
    for index, (AP, column) in enumerate(zip(found, labels.T)):
        assert AP == (expected[index].AP if (column == 1).any() and (column == 0).any() else None)
