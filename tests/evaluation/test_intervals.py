"""Intervals against resamples that are made and measured one by one, and what they are of few and of many images."""

from __future__ import annotations

import numpy as np
import pytest

from mxml.evaluation.bootstrap import resample_count
from mxml.evaluation.decisions import Decisions
from mxml.evaluation.intervals import bootstrap_intervals
from mxml.evaluation.metrics import multilabel_metrics

WITHOUT = {"mAP_11point", "ECE"}


def some(count, width, *, unknown=0.0, seed=2):
    random = np.random.default_rng(seed)
    labels = (random.random((count, width)) < 0.3).astype(np.int8)
    # Few distinct scores, so that ties are common.
    scores = np.clip((3 * labels + random.integers(0, 8, labels.shape)) / 10, 0, 1).astype(np.float32)
    labels[random.random(labels.shape) < unknown] = -1
    return scores, labels


def intervals(scores, labels, **settings):
    return bootstrap_intervals(Decisions.of(scores, labels, 0.5, None, settings.get("single_label", False)))


def one_by_one(scores, labels, *, single_label=False):
    """Draw images as Efron's bootstrap does, and compute the metrics of what was drawn."""
    random = np.random.default_rng(0)
    found, APs = [], []
    for _ in range(1000):
        rows = random.integers(len(labels), size=len(labels))
        metrics = multilabel_metrics(scores[rows], labels[rows], single_label=single_label)
        found.append(metrics)
        APs.append([entry.AP for entry in metrics.per_class])
    return found, np.array(APs)


def ends(values):
    defined = np.asarray(values)[~np.isnan(values)]
    return tuple(np.quantile(defined, [0.025, 0.975])) if len(defined) else None


@pytest.mark.parametrize("single_label", [False, True])
def test_the_ends_are_those_of_metrics_of_drawn_images(single_label):
    scores, labels = some(14, 4, unknown=0.0 if single_label else 0.15)
    labels[:, 3] = np.minimum(labels[:, 3], 0)
    if single_label:
        labels = np.eye(4, dtype=np.int8)[np.random.default_rng(4).integers(0, 3, len(labels))]
    found = intervals(scores, labels, single_label=single_label)
    metrics, APs = one_by_one(scores, labels, single_label=single_label)
    assert found.resamples == 1000
    named = set(multilabel_metrics(scores, labels).to_dict()) - {"samples", "known", "per_class"} - WITHOUT
    assert set(found.metrics) == (named if single_label else named - {"accuracy"})
    for name, interval in found.metrics.items():
        assert interval == pytest.approx(ends([getattr(one, name) for one in metrics]), abs=1e-9), name
    for interval, column in zip(found.AP, APs.T):
        assert interval == (None if np.isnan(column).all() else pytest.approx(ends(column), abs=1e-9))
    assert found.AP[3] is None


def test_resamples_in_several_blocks_are_those_of_one(monkeypatch):
    scores, labels = some(60, 3, unknown=0.1)
    whole = intervals(scores, labels)
    monkeypatch.setattr("mxml.evaluation.bootstrap._BLOCK_WEIGHTS", 60 * 33)
    parts = intervals(scores, labels)
    assert parts.metrics == whole.metrics and parts.AP == whole.AP


def test_an_interval_holds_the_metric_and_narrows_with_the_square_root_of_the_images():
    widths = []
    for count in (100, 1600):
        scores, labels = some(count, 5, seed=count)
        metrics, found = multilabel_metrics(scores, labels), intervals(scores, labels)
        for name in ("mAP", "CF1", "OF1", "hamming", "lrap", "loss"):
            low, high = found.metrics[name]
            assert low < getattr(metrics, name) < high, name
        widths.append(found.metrics["mAP"][1] - found.metrics["mAP"][0])
    assert 3 < widths[0] / widths[1] < 5.3


def test_fewer_than_two_known_images_have_no_intervals():
    for labels in (np.array([[1, 0]]), np.array([[1, 0], [-1, -1]]), np.empty((0, 2), np.int8)):
        found = intervals(np.full(labels.shape, 0.5), labels)
        assert (found.resamples, found.metrics, found.AP) == (0, {}, (None, None))
        assert found.to_dict() == {"level": 0.95, "resamples": 0, "seed": 0}


def test_many_images_and_labels_have_fewer_resamples():
    assert resample_count(5_000, 80) == 1000
    assert resample_count(40_504, 80) == 617
    assert resample_count(1_000_000, 100) == 200
