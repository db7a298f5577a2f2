"""Averages from counts: those of the metrics, and with weights those of the images repeated."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sklearn.metrics import fbeta_score

from mxml.evaluation.decided import Decided
from mxml.evaluation.metrics import multilabel_metrics
from mxml.evaluation.objectives import Objective

tables = st.integers(1, 8).flatmap(
    lambda rows: st.tuples(
        arrays.arrays(np.float32, (rows, 3), elements=st.sampled_from([0.0, 0.25, 0.5, 1.0])),
        arrays.arrays(np.int8, (rows, 3), elements=st.sampled_from([-1, 0, 1])),
        arrays.arrays(np.int64, (rows,), elements=st.integers(0, 3)),
    )
)


@given(tables)
def test_they_are_the_metrics_of_the_images_as_often_as_they_count(table):
    scores, labels, times = table
    decisions = Decided.of(scores >= 0.5, labels)
    weighted = decisions.averages(times[np.newaxis].astype(np.float32))
    plain = multilabel_metrics(scores, labels)
    repeated = multilabel_metrics(scores.repeat(times, axis=0), labels.repeat(times, axis=0))
    for name, value in decisions.averages().items():
        assert float(value) == pytest.approx(getattr(plain, name), nan_ok=True)
        assert float(weighted[name][0]) == pytest.approx(getattr(repeated, name), nan_ok=True)
    for name, values in decisions.per_label().items():
        assert values.tolist() == pytest.approx([getattr(entry, name) for entry in plain.per_class], nan_ok=True)


@pytest.mark.parametrize("beta", [0.5, 1, 2])
def test_the_mean_f_is_scikit_learns_of_the_labels_that_occur(beta):
    generator = np.random.default_rng(4)
    labels, predicted = generator.integers(0, 2, (50, 4)), generator.random((50, 4)) < 0.4
    labels[:, 3] = 0
    found = Decided.of(predicted, labels).mean_f(Objective("f-beta", beta))
    assert found == pytest.approx(fbeta_score(labels[:, :3], predicted[:, :3], beta=beta, average="macro"))
