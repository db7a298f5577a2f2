"""Temperature and Platt's method: against other implementations, and where there is little to fit to."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.calibration import _SigmoidCalibration
from sklearn.metrics import log_loss

from mxml.errors import SettingError
from mxml.evaluation.calibration import MOST_SLOPE, fit_calibration
from mxml.evaluation.scores import probabilities


def made(images=400, labels=3, slope=2.5, shift=(0.0, 0.0, 0.0), seed=1) -> tuple[np.ndarray, np.ndarray]:
    """Return logits that are ``slope`` times too large and shifted, and labels that true ones were drawn for."""
    generator = np.random.default_rng(seed)
    true = generator.normal(-0.5, 1.5, (images, labels))
    truth = (generator.random((images, labels)) < 1 / (1 + np.exp(-true))).astype(np.int8)
    return (slope * true + np.array(shift)).astype(np.float32), truth


def test_a_temperature_is_the_one_that_the_logits_were_multiplied_with():
    logits, labels = made(20_000)
    found = fit_calibration("temperature", logits, labels, 10)
    assert 1 / found.slopes[0] == pytest.approx(2.5, rel=0.03)
    assert found.intercepts == (0, 0, 0) and len(set(found.slopes)) == 1


def test_no_other_temperature_has_a_lower_cross_entropy():
    logits, labels = made()
    labels[::7, 1] = -1
    known = labels >= 0
    losses = {
        slope: log_loss(labels[known], 1 / (1 + np.exp(-slope * logits[known].astype(np.float64))))
        for slope in np.linspace(0.3, 0.5, 101)
    }
    found = fit_calibration("temperature", logits, labels, 10).slopes[0]
    assert found == pytest.approx(min(losses, key=lambda slope: losses[slope]), abs=0.002)


def test_platts_method_is_scikit_learns_for_each_label_without_its_unknown_images():
    logits, labels = made(shift=(1.0, -2.0, 0.0))
    labels[:100, 2] = -1
    found = fit_calibration("platt", logits, labels, 10)
    for column in range(3):
        rows = labels[:, column] >= 0
        other = _SigmoidCalibration().fit(logits[rows, column].astype(np.float64), labels[rows, column])
        assert (found.slopes[column], found.intercepts[column]) == pytest.approx((-other.a_, -other.b_), rel=1e-3)


def test_a_label_with_few_images_has_what_all_labels_have_together():
    logits, labels = made(shift=(1.0, -2.0, 0.0))
    labels[:, 1] = 0
    labels[:9, 1] = 1
    found = fit_calibration("platt", logits, labels, 10)
    everyone = fit_calibration("platt", logits.reshape(-1, 1), labels.reshape(-1, 1), 10)
    assert (found.slopes[1], found.intercepts[1]) == (everyone.slopes[0], everyone.intercepts[0])
    assert found.slopes[0] != everyone.slopes[0]


@pytest.mark.parametrize("method", ["temperature", "platt"])
def test_labels_that_scores_separate_or_contradict_keep_finite_logits_in_their_order(method):
    logits = np.linspace(-3, 3, 40, dtype=np.float32)[:, np.newaxis]
    for labels in (logits > 0, logits < 0):
        found = fit_calibration(method, logits, labels.astype(np.int8), 10)
        assert 0 < found.slopes[0] <= MOST_SLOPE
        moved = found.apply(logits)
        assert moved.dtype == np.float32 and (np.diff(moved[:, 0]) > 0).all()
        assert np.isfinite(probabilities(moved)).all()


def test_another_method_is_refused():
    with pytest.raises(SettingError, match="`calibrate` isotonic: should be temperature or platt"):
        fit_calibration("isotonic", *made(20), 10)
