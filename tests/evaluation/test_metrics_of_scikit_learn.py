"""Every metric that scikit-learn has, against scikit-learn, which is given only what is known."""

# ruff: noqa: SIM300 - CP, OF1 and their like are metrics, not constants

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn import metrics as sk

from mxml.evaluation.metrics import multilabel_metrics


@st.composite
def cases(draw):
    shape = draw(st.tuples(st.integers(1, 15), st.integers(1, 6)))
    labels = draw(hnp.arrays(np.int8, shape, elements=st.integers(-1, 1)))
    # Few distinct scores, so that ties are common; float32 as networks give them, or float64.
    levels = draw(st.sampled_from([2, 5, 1000]))
    scores = draw(hnp.arrays(np.int64, shape, elements=st.integers(0, levels))) / levels
    return scores.astype(draw(st.sampled_from([np.float32, np.float64]))), labels


def mean(values):
    return np.mean(values) if len(values) else np.nan


def per_image(metric, scores, labels):
    """Return a metric of each image from its known labels alone; scikit-learn wants two labels, the second is low."""
    found = []
    for row_scores, row in zip(scores, labels):
        known = row >= 0
        if known.any():
            truth, ranked = np.append(row[known], 0), np.append(row_scores[known], -1.0)
            found.append(metric(truth[np.newaxis], ranked[np.newaxis]))
    return found


def of_scikit_learn(scores, labels, thresholds):
    present, known = labels == 1, labels >= 0
    predicted = known & (scores >= thresholds)
    occurs = present.any(axis=0)
    APs = [sk.average_precision_score(present[rows, c], scores[rows, c]) for c, rows in enumerate(known.T) if occurs[c]]
    wide, calls = (np.pad(one, ((0, 0), (0, 1))) for one in (present, predicted))
    precision, recall, F1, _ = sk.precision_recall_fscore_support(wide, calls, average=None, zero_division=0.0)
    CP, CR = mean(precision[:-1][occurs]), mean(recall[:-1][occurs])
    micro = sk.precision_recall_fscore_support(wide, calls, average="micro", zero_division=0.0)[:3]
    rows = known.any(axis=1)
    nothing_known, none_present = not known.any(), not present.any()
    wide_scores = scores.astype(np.float64)
    # The added label is absent, and counts among them only for the ranking loss, of which it changes the denominator.
    losses = []
    for row_scores, row in zip(scores[rows], labels[rows]):
        truth, absent = row[row >= 0], (row == 0).sum()
        both = truth.any() and absent
        loss = per_image(sk.label_ranking_loss, [row_scores], [row])[0]
        losses.append(loss * (absent + 1) / absent if both else 0.0)
    return {
        "mAP": mean(APs), "CP": CP, "CR": CR,
        "CF1": 2 * CP * CR / (CP + CR) if CP + CR else CP + CR,
        **dict(zip(("OP", "OR", "OF1"), (np.nan,) * 3 if none_present else micro)),
        "hamming": np.nan if nothing_known else sk.hamming_loss(present[known], predicted[known]),
        "subset_accuracy": np.nan if nothing_known else sk.accuracy_score(present[rows], predicted[rows]),
        "ranking_loss": mean(losses),
        "coverage": mean(per_image(sk.coverage_error, scores, labels)),
        "lrap": mean([
            sk.label_ranking_average_precision_score(*pair) for pair in per_image(lambda *pair: pair, scores, labels)
        ]),
        "loss": np.nan if nothing_known else sk.log_loss(
            present[known], np.clip(wide_scores[known], 1e-7, 1 - 1e-7), labels=[False, True]
        ),
    }, APs, F1[:-1][occurs]  # fmt: skip


@settings(deadline=None, max_examples=40)
@given(cases(), st.lists(st.sampled_from([0.0, 0.2, 0.5, 1.0]), min_size=6, max_size=6))
def test_ties_empty_classes_and_unknown_labels_are_as_in_scikit_learn(case, thresholds):
    scores, labels = case
    limits = np.array(thresholds[: labels.shape[1]])
    expected, APs, F1s = of_scikit_learn(scores, labels, limits)
    found = multilabel_metrics(scores, labels, limits)
    for name, value in expected.items():
        assert getattr(found, name) == pytest.approx(value, rel=1e-9, abs=1e-12, nan_ok=True), name
    occurring = [entry for entry in found.per_class if entry.positives]
    assert [entry.AP for entry in occurring] == pytest.approx(APs, rel=1e-9)
    assert [entry.F1 for entry in occurring] == pytest.approx(F1s.tolist(), rel=1e-9)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_more_images_than_a_block_are_as_in_scikit_learn(dtype):
    """Most scores differ by the last bits alone."""
    random = np.random.default_rng(8)
    labels = (random.random((1500, 400)) < 0.05).astype(np.int8)
    scores = (0.5 + 0.1 * labels + 0.2 * random.random(labels.shape)).astype(dtype)
    found = multilabel_metrics(scores, labels, 0.6)
    assert found.ranking_loss == pytest.approx(sk.label_ranking_loss(labels, scores), rel=1e-9)
    assert found.lrap == pytest.approx(sk.label_ranking_average_precision_score(labels, scores), rel=1e-9)
    assert found.coverage == pytest.approx(sk.coverage_error(labels, scores), rel=1e-9)
    assert found.mAP == pytest.approx(sk.average_precision_score(labels, scores, average="macro"), rel=1e-9)
    assert found.OF1 == pytest.approx(sk.f1_score(labels, scores >= 0.6, average="micro"), rel=1e-9)
    assert found.loss == pytest.approx(sk.log_loss(labels.ravel(), scores.ravel().astype(np.float64)), rel=1e-9)
