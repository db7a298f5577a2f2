"""Thresholds from held-out images: better where they can be, and honest where they cannot."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score
from told import Told

from mxml.errors import MxmlError
from mxml.evaluation.objectives import Objective
from mxml.evaluation.scores import probabilities
from mxml.evaluation.tuning import tune_thresholds

HALF = np.full(3, 0.5)
F1 = Objective.parse("f1")


def made(images, shift=(0.0, 0.0, 0.0), seed=1, spread=2.0) -> tuple[np.ndarray, np.ndarray]:
    """Return logits that lie ``shift`` beside those that labels were drawn for, and the labels."""
    generator = np.random.default_rng(seed)
    true = generator.normal(-0.5, spread, (images, 3))
    labels = (generator.random((images, 3)) < 1 / (1 + np.exp(-true))).astype(np.int8)
    return (true + np.array(shift)).astype(np.float32), labels


def f1(logits, labels, thresholds):
    return f1_score(labels, probabilities(logits) >= thresholds, average="macro")


def test_labels_whose_scores_are_shifted_get_thresholds_that_are_better_on_other_images():
    shift = (-3.0, 0.0, 2.0)
    logits, labels = made(200, shift)
    found = tune_thresholds(logits, labels, HALF, F1)
    assert found.thresholds[0] < 0.2 < found.thresholds[1] < 0.6 < found.thresholds[2]
    gain = found.cross_fitted.gain["F"]
    assert gain.low > 0 and not gain.is_noise
    # What cross-fitting promises is what fresh images give.
    fresh = made(20_000, shift, seed=2)
    assert gain.low < f1(*fresh, found.thresholds) - f1(*fresh, HALF) < gain.high
    assert found.cross_fitted.metrics["CF1"] <= found.after.CF1
    assert not set(found.thresholds) & set(probabilities(logits).astype(np.float64).ravel())


def test_scores_that_say_nothing_promise_nothing():
    labels = made(60, seed=3)[1]
    logits = np.random.default_rng(4).normal(0, 2, labels.shape).astype(np.float32)
    found = tune_thresholds(logits, labels, np.full(3, 0.05), F1)
    # Nearly everything is predicted, which is the best that can be done.
    assert found.cross_fitted.gain["F"].is_noise
    if found.kind == "plain":
        np.testing.assert_array_equal(found.thresholds, 0.05)


def test_thresholds_that_are_worse_on_other_images_are_not_taken():
    logits, labels = made(40, seed=3, spread=4.0)
    found = tune_thresholds(logits, labels, np.full(3, 0.42), F1)
    assert found.rejected is not None and found.rejected.value < 0 and found.kind == "plain"
    np.testing.assert_array_equal(found.thresholds, 0.42)
    assert found.cross_fitted.gain["CF1"].value == 0
    assert found.cross_fitted.metrics["CF1"] == pytest.approx(found.before.CF1)


def test_thresholds_that_cross_fitting_finds_worse_are_not_given_to_anyone():
    """Also where the folds' own choice would have taken them."""
    logits, labels = made(40, seed=3)
    found = tune_thresholds(logits, labels, np.full(3, 0.45), F1)
    assert found.kind == "plain" and found.rejected is not None and found.rejected.value < 0
    np.testing.assert_array_equal(found.thresholds, 0.45)
    assert found.cross_fitted.gain["F"].value == 0


def test_a_label_with_few_images_takes_the_common_threshold():
    logits, labels = made(120, (-3.0, 2.0, 0.0))
    labels[:, 2] = 0
    labels[:9, 2] = 1
    found = tune_thresholds(logits, labels, HALF, Objective.parse("recall=0.8"))
    assert found.pooled.tolist() == [False, False, True]
    everyone = tune_thresholds(
        logits.reshape(-1, 1), labels.reshape(-1, 1), HALF[:1], Objective.parse("recall=0.8"), min_support=10
    )
    assert found.thresholds[2] == everyone.thresholds[0]
    assert not tune_thresholds(logits, labels, HALF, F1, min_support=9).pooled.any()


def test_unknown_labels_count_nowhere():
    logits, labels = made(100, (-1.0, 0.0, 1.0))
    labels[10:30, 1] = -1
    labels[:5] = -1
    other = logits.copy()
    other[labels == -1] = 9.0
    first, second = (tune_thresholds(values, labels, HALF, F1, calibrate="platt") for values in (logits, other))
    np.testing.assert_array_equal(first.thresholds, second.thresholds)
    assert first.cross_fitted.metrics == second.cross_fitted.metrics
    assert first.before.samples == 95


def test_a_precision_holds_on_the_list_and_what_cannot_be_reached_is_named():
    logits, labels = made(300)
    logits[:, 2] = np.random.default_rng(0).normal(size=300)
    labels[logits[:, 2].argmax(), 2] = 0
    found = tune_thresholds(logits, labels, HALF, Objective.parse("precision=0.95"))
    assert found.reached.tolist() == [True, True, False]
    for entry in found.after.per_class[:2]:
        assert entry.precision >= 0.95
    # On others it holds only nearly.
    assert found.cross_fitted.per_label["precision"][:2] == pytest.approx(0.95, abs=0.06)


def test_a_calibration_is_taken_where_it_helps_others_and_refused_where_not():
    logits, labels = made(300)
    found = tune_thresholds(3 * logits, labels, HALF, F1, calibrate="temperature")
    assert found.calibration is not None and 1 / found.calibration.slopes[0] == pytest.approx(3, rel=0.2)
    assert found.cross_fitted.metrics["loss"] < 0.8 * found.before.loss
    assert found.after.loss == pytest.approx(found.cross_fitted.metrics["loss"], abs=0.02)
    # A label is decided on its calibrated score.
    moved = probabilities(found.calibration.apply(3 * logits)) >= found.thresholds
    assert [entry.predicted for entry in found.after.per_class] == moved.sum(axis=0).tolist()
    refused = tune_thresholds(logits[:60], labels[:60], HALF, F1, calibrate="platt")
    assert refused.refused and refused.calibration is None


def test_the_same_images_give_the_same_thresholds():
    logits, labels = made(60, (-1.0, 0.0, 1.0))
    first, second = (tune_thresholds(logits, labels, HALF, F1) for _ in range(2))
    np.testing.assert_array_equal(first.thresholds, second.thresholds)
    assert first.cross_fitted.gain == second.cross_fitted.gain


def test_an_objective_is_told_as_it_was_given():
    assert str(Objective.parse("recall=0.9999999")) == "recall=0.9999999"


@pytest.mark.parametrize("case", ["few", "none present", "unknown"])
def test_too_few_images_are_refused(case):
    logits, labels = made(30)
    if case == "few":
        logits, labels = logits[:19], labels[:19]
    labels = {"few": labels, "none present": 0 * labels, "unknown": 0 * labels - 1}[case]
    with pytest.raises(MxmlError, match="thresholds are chosen on 20 images or more, of which some have labels"):
        tune_thresholds(logits, labels, HALF, F1)


@pytest.mark.parametrize("images", [61, 20_000])
def test_progress_counts_each_image_once(images, monkeypatch):
    told, advanced = Told(), []
    monkeypatch.setattr(told, "advance", lambda count: advanced.append(count))
    tune_thresholds(*made(images), HALF, F1, progress=told)
    assert told.parts == [("choosing thresholds", images, 0)]
    assert sum(advanced) == images and min(advanced) > 0
