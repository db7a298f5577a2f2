"""Counts and average precision with weights: those of the images repeated."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sklearn.metrics import average_precision_score, fbeta_score

from mxml.evaluation.metrics import multilabel_metrics
from mxml.evaluation.objectives import Objective
from mxml.evaluation.precision_recall import Counts
from mxml.evaluation.weighted import WeightedCounts, WeightedRanks

tables = st.integers(1, 8).flatmap(
    lambda rows: st.tuples(
        arrays.arrays(np.float32, (rows, 3), elements=st.sampled_from([0.0, 0.25, 0.5, 1.0])),
        arrays.arrays(np.int8, (rows, 3), elements=st.sampled_from([-1, 0, 1])),
        arrays.arrays(np.int64, (rows,), elements=st.integers(0, 3)),
    )
)


@given(tables)
def test_counts_are_those_of_the_images_as_often_as_they_count(table):
    scores, labels, times = table
    present, predicted = labels == 1, (scores >= 0.5) & (labels >= 0)
    weighted = WeightedCounts(present, predicted).of(times[:, np.newaxis].astype(np.float32))
    repeated = multilabel_metrics(scores.repeat(times, axis=0), labels.repeat(times, axis=0))
    for name, values in weighted.averages().items():
        assert float(values[0]) == pytest.approx(getattr(repeated, name), nan_ok=True)
    for name, values in zip(("precision", "recall", "F1"), weighted.per_class()):
        assert values[0].tolist() == pytest.approx([getattr(entry, name) for entry in repeated.per_class], nan_ok=True)


@given(
    arrays.arrays(np.float32, (9, 1), elements=st.sampled_from([0.0, 0.25, 0.5, 0.875])),
    arrays.arrays(np.int8, (9, 1), elements=st.sampled_from([-1, 0, 1])),
    arrays.arrays(np.int64, 9, elements=st.integers(0, 3)),
)
def test_the_average_precision_of_a_resample_is_that_of_its_images(scores, labels, times):
    ranks = WeightedRanks(scores, labels == 1, labels >= 0)
    found = ranks.average_precisions(times[:, np.newaxis].astype(np.float32)).item()
    known = labels[:, 0] >= 0
    truth, repeated = (values[known, 0].repeat(times[known]) for values in (labels, scores))
    expected = average_precision_score(truth, repeated) if truth.any() else np.nan
    assert found == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize("beta", [0.5, 1, 2])
def test_the_mean_f_is_scikit_learns_of_the_labels_that_occur(beta):
    generator = np.random.default_rng(4)
    labels, predicted = generator.integers(0, 2, (50, 4)), generator.random((50, 4)) < 0.4
    labels[:, 3] = 0
    found = Counts.of(labels == 1, predicted).mean_f(Objective("f-beta", beta))
    assert found == pytest.approx(fbeta_score(labels[:, :3], predicted[:, :3], beta=beta, average="macro"))
