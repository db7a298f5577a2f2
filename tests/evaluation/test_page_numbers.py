"""What the evaluation page draws: curves, calibration, confusions and mistakes, against hand and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, confusion_matrix, precision_score, recall_score

from mxml.evaluation.confusion import confusion
from mxml.evaluation.label_curves import CURVE_POINTS, SWEEP, precision_recall, sweep
from mxml.evaluation.mistakes import surest_mistakes
from mxml.evaluation.reliability import reliability


@pytest.mark.parametrize(("images", "decimals"), [(1, 3), (7, 1), (500, 2), (500, 8), (20_000, 3), (20_000, 8)])
def test_the_area_below_the_curve_is_the_average_precision(images, decimals):
    generator = np.random.default_rng(images)
    present = generator.random(images) < 0.4
    present[0] = True
    scores = np.clip(generator.normal(0.4 + 0.2 * present, 0.2), 0, 1).round(decimals)
    curve = precision_recall(scores, present)
    assert len(curve.recall) <= CURVE_POINTS
    assert (np.diff(curve.recall) > 0).all() and curve.recall[-1] == 1
    area = (np.diff(curve.recall, prepend=0) * curve.precision).sum()
    assert area == pytest.approx(average_precision_score(present, scores), abs=1e-12)


def test_a_sweep_counts_as_a_prediction_does():
    generator = np.random.default_rng(2)
    present = generator.random(300) < 0.3
    # Many scores are at a threshold, in float32, where they are compared in float64.
    scores = generator.random(300).round(2).astype(np.float32)
    found = sweep(scores, present)
    for place in (0, 1, 37, 70, 99):
        given = scores.astype(np.float64) >= SWEEP[place]
        assert found.precision[place] == pytest.approx(precision_score(present, given, zero_division=0))
        assert found.recall[place] == pytest.approx(recall_score(present, given))
    assert np.isnan(sweep(np.full(3, 0.5), np.array([True, False, True])).precision[51:]).all()


def test_the_calibration_error_by_hand():
    # bins of 1/15: 0.30 and 0.32 share one, 0.9 and 0.92 another
    found = reliability(np.array([0.30, 0.32, 0.9, 0.92, 1.0]), np.array([False, False, True, False, True]))
    assert found.counts.sum() == 5 and found.counts[4] == 2 and found.counts[13] == 2 and found.counts[14] == 1
    assert (found.confidence[4], found.share[4]) == (pytest.approx(0.31), 0)
    assert found.error == pytest.approx((2 * 0.31 + 2 * abs(0.91 - 0.5) + 0) / 5)
    assert np.isnan(reliability(np.zeros(0), np.zeros(0, bool)).error)


def test_a_confusion_by_hand():
    present = np.array([[1, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 1]], bool)
    predicted = np.array([[0, 1, 0], [0, 0, 0], [1, 0, 1], [0, 1, 1]], bool)
    known = np.ones((4, 3), bool)
    found = confusion(present, known, predicted, np.arange(3))
    assert found.counts.tolist() == [[1, 1, 0], [0, 1, 1], [0, 0, 1]]
    assert found.alone.tolist() == [1, 0, 0]
    assert found.images.tolist() == [3, 2, 1]
    # What is given without being known is no mistake: then nothing was given in the place of the first label.
    known[0, 1] = False
    unknown = confusion(present, known, predicted, np.arange(3))
    assert unknown.counts[0].tolist() == [1, 0, 0] and unknown.alone[0] == 2
    part = confusion(present, np.ones((4, 3), bool), predicted, np.array([0, 2]))
    assert part.counts.tolist() == [[1, 0], [0, 1]] and part.alone.tolist() == [1, 0]


def test_the_confusion_of_single_labels_is_the_ordinary_one():
    generator = np.random.default_rng(3)
    truth, given = generator.integers(0, 4, (2, 40_000))
    eye = np.eye(4, dtype=bool)
    found = confusion(eye[truth], np.ones((40_000, 4), bool), eye[given], np.arange(4))
    assert (found.counts == confusion_matrix(truth, given)).all()
    assert not found.alone.any()


def test_the_surest_mistakes_come_first():
    scores = np.array([0.9, 0.6, 0.99, 0.7, 0.1, 0.4, 0.2])
    present = np.array([0, 0, 1, 0, 1, 1, 0], bool)
    known = np.array([1, 1, 1, 0, 1, 1, 1], bool)
    found = surest_mistakes(5, scores, present, known, (scores >= 0.5) & known, 1)
    assert (found.false.tolist(), found.missed.tolist()) == ([0], [4])
    assert (found.false_count, found.missed_count) == (2, 2)
