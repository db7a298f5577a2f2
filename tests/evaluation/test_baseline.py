"""The metrics of the labels' frequencies, worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mxml.evaluation.baseline import frequency_baseline


def test_frequencies_as_scores():
    # Shares 3/4, 1/3 (of three known), 0; the last label is never known.
    labels = np.array([[1, 1, 0, -1], [1, 0, 0, -1], [1, -1, 0, -1], [0, 0, 0, -1]])
    found = frequency_baseline(labels)
    assert [entry.AP for entry in found.per_class] == pytest.approx([3 / 4, 1 / 3, math.nan, math.nan], nan_ok=True)
    assert [found.mAP, found.mAP_11point] == pytest.approx([(3 / 4 + 1 / 3) / 2] * 2)
    # The first label is predicted for every image: three hits of four, of four labels that are present.
    assert (found.OP, found.OR) == (3 / 4, 3 / 4)
    assert found.hamming == pytest.approx(2 / 11)
    entropy = -3 * math.log(3 / 4) - math.log(1 / 4) - math.log(1 / 3) - 2 * math.log(2 / 3)
    assert found.loss == pytest.approx(entropy / 11, abs=1e-6)
    assert abs(found.ECE) < 1e-12
    # With a lower threshold the second one is predicted as well.
    assert frequency_baseline(labels, np.array([0.5, 0.3, 0.5, 0.5])).OR == 1


def test_of_single_labels_the_most_frequent_one_is_predicted():
    labels = np.eye(3, dtype=np.int8)[[0, 1, 1, 2, 1]]
    found = frequency_baseline(labels, single_label=True)
    assert found.accuracy == pytest.approx(3 / 5)
    assert found.loss == pytest.approx(-(3 * math.log(3 / 5) + 2 * math.log(1 / 5)) / 5)
