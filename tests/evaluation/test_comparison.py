"""Two models on the same images."""

from __future__ import annotations

import numpy as np
import pytest

from mxml.errors import MxmlError
from mxml.evaluation.comparison import Answers, compare_answers
from mxml.evaluation.metrics import multilabel_metrics


def answers(scores):
    scores = np.asarray(scores, dtype=np.float32)
    return Answers(scores, scores >= 0.5)


def test_the_metrics_are_those_of_an_evaluation_and_the_better_model_is_found():
    generator = np.random.default_rng(0)
    labels = (generator.random((300, 4)) < 0.3).astype(np.int8)
    labels[::9, 1] = -1
    good, bad = (1 / (1 + np.exp(-(2 * labels - 1) * clear - generator.normal(0, 2, labels.shape))) for clear in (3, 1))
    found = compare_answers(answers(bad), answers(good), labels)
    plain = [multilabel_metrics(scores.astype(np.float32), labels) for scores in (bad, good)]
    for name, compared in found.metrics.items():
        assert (compared.first, compared.second) == pytest.approx([getattr(metrics, name) for metrics in plain])
        assert compared.difference.value == pytest.approx(compared.second - compared.first)
        assert compared.difference.low < compared.difference.value < compared.difference.high
        assert not compared.difference.is_noise
    assert [values.second for values in found.AP] == pytest.approx([entry.AP for entry in plain[1].per_class])
    assert found.positives == tuple((labels == 1).sum(axis=0))
    back = compare_answers(answers(good), answers(bad), labels).metrics["mAP"].difference
    there = found.metrics["mAP"].difference
    assert (back.value, back.low, back.high) == pytest.approx((-there.value, -there.high, -there.low))


def test_an_interval_of_the_difference_covers_it_as_often_as_it_says():
    """Two models of equal skill: about one comparison of twenty is wrong to find one better."""
    generator, wrong = np.random.default_rng(1), 0
    for _ in range(40):
        labels = (generator.random((80, 3)) < 0.4).astype(np.int8)
        first, second = (1 / (1 + np.exp(1 - 2 * labels - generator.normal(0, 1.5, labels.shape))) for _ in range(2))
        wrong += not compare_answers(answers(first), answers(second), labels).metrics["CF1"].difference.is_noise
    assert wrong <= 6


def test_a_model_is_as_good_as_itself():
    scores = np.random.default_rng(0).random((30, 2))
    found = compare_answers(answers(scores), answers(scores), (scores > 0.6).astype(np.int8))
    assert found.changed == ()
    for compared in (*found.metrics.values(), *found.AP):
        assert (compared.difference.value, compared.difference.low, compared.difference.high) == (0, 0, 0)
        assert compared.difference.is_noise


def test_images_whose_tags_differ_and_who_is_right_of_them():
    labels = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 1], [-1, 1, 0]])
    first = [[0.9, 0.1, 0.1], [0.9, 0.1, 0.9], [0.1, 0.1, 0.9], [0.9, 0.9, 0.1]]
    second = [[0.6, 0.2, 0.3], [0.1, 0.8, 0.1], [0.9, 0.9, 0.9], [0.1, 0.9, 0.1]]
    found = compare_answers(answers(first), answers(second), labels).changed
    assert [(tags.row, tags.only_first, tags.only_second, tags.better) for tags in found] == [
        (1, (0, 2), (1,), "B"),
        (2, (), (0, 1), "A"),
        # Nobody knows who is right of a label that is unknown.
        (3, (0,), (), ""),
    ]


def test_without_labels_there_is_nothing_to_compare():
    with pytest.raises(MxmlError, match="no image has a label"):
        compare_answers(answers([[0.5]]), answers([[0.4]]), np.array([[0]]))
