from __future__ import annotations

import numpy as np
import pytest

from mxml.model.losses import BINARY_CROSS_ENTROPY
from mxml.training.epoch_totals import EpochTotals


def accuracy(logits, labels):
    totals = EpochTotals(BINARY_CROSS_ENTROPY, {})
    totals.add(np.array(logits, np.float32), np.array(labels, np.float32), len(logits))
    return totals.metrics()["train_accuracy"]


def test_accuracy_is_the_share_of_right_answers_among_known_labels():
    assert accuracy([[2, -1, 0, 3]], [[1, 0, 0, -1]]) == pytest.approx(2 / 3)


def test_of_a_soft_label_as_much_is_right_as_it_gives_to_the_answer():
    assert accuracy([[1, -1, 1, -1]], [[0.75, 0.75, 0.5, 0.5]]) == pytest.approx((0.75 + 0.25 + 0.5 + 0.5) / 4)
    assert accuracy([[1.0, -1.0]], [[0.75, -1]]) == pytest.approx(0.75)
