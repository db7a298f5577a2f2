"""The best threshold of a label: by hand, and against every threshold that there is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mxml.errors import SettingError
from mxml.evaluation.cuts import SortedScores
from mxml.evaluation.objectives import Objective

FOUR = SortedScores(np.array([0.125, 0.375, 0.625, 0.875], np.float32), np.array([False, True, False, True]))


@pytest.mark.parametrize(
    ("objective", "threshold", "reached"),
    [
        # Above 1/4 are two of two with one false: F1 4/5, where above 3/4 there is one of two: F1 2/3.
        ("f1", 0.25, True),
        # F0.5 weighs recall a quarter: 1.25 / (0.25 * 1 + 1.25) = 5/6 above 3/4, 2.5 / 3.5 above 1/4.
        ("f-beta=0.5", 0.75, True),
        ("precision=0.6", 0.25, True),
        ("precision=0.9", 0.75, True),
        ("recall=0.95", 0.25, True),
        ("recall=0.5", 0.75, True),
    ],
)
def test_by_hand(objective, threshold, reached):
    assert FOUR.best(Objective.parse(objective), 0.5) == (threshold, reached)


def test_what_cannot_be_reached_is_said_and_comes_as_near_as_it_can():
    scores = SortedScores(np.array([0.75, 0.25], np.float32), np.array([False, True]))
    assert scores.best(Objective.parse("precision=0.9"), 0.5) == (0.125, False)
    nothing = SortedScores(np.array([0.75, 0.25], np.float32), np.array([False, False]))
    assert nothing.best(Objective.parse("precision=0.9"), 0.4) == (0.4, False)
    assert nothing.best(Objective.parse("f1"), 0.4) == (0.4, True)


def test_of_equally_good_thresholds_it_is_the_nearest_to_the_common_one():
    scores = SortedScores(np.array([0.9, 0.5, 0.1], np.float32), np.array([True, False, True]))
    # One of one is F1 2/3; so is nothing else; all is 4/5, and the only best.
    assert scores.best(Objective.parse("f1"), 0.9)[0] == pytest.approx(0.05)
    plateau = SortedScores(np.array([0.8, 0.6, 0.4], np.float32), np.array([True, False, False]))
    assert plateau.best(Objective.parse("f1"), 0.1)[0] == pytest.approx(0.7)
    even = SortedScores(np.array([0.8, 0.6, 0.4, 0.2], np.float32), np.array([True, False, False, True]))
    weights = np.array([1, 0, 0, 0])
    assert [even.best(Objective.parse("f1"), near, weights)[0] for near in (0.0, 0.9)] == pytest.approx([0.1, 0.7])


sets = st.lists(
    st.tuples(st.sampled_from([0.0, 0.1, 0.3, 0.30000001, 0.99999994, 1.0]), st.booleans()),
    min_size=1,
    max_size=12,
)


@given(sets, st.sampled_from(["f1", "f-beta=2", "f-beta=0.5", "precision=0.8", "recall=0.6"]))
def test_no_other_threshold_is_better_and_it_is_on_no_score(pairs, text):
    scores, present = np.array([pair[0] for pair in pairs], np.float32), np.array([pair[1] for pair in pairs])
    objective = Objective.parse(text)
    threshold, reached = SortedScores(scores, present).best(objective, 0.5)

    def measured(at):
        predicted = scores.astype(np.float64) >= at
        hits, positives = (predicted & present).sum(), present.sum()
        precision, recall = hits / max(predicted.sum(), 1), hits / max(positives, 1)
        if not objective.is_target:
            squared = objective.value**2
            return (1 + squared) * precision * recall / max(squared * precision + recall, 1e-30)
        aim, other = (precision, recall) if objective.kind == "precision" else (recall, precision)
        return (1, other) if aim >= objective.value and hits else (0, aim)

    assert 0 <= threshold <= 1
    if not present.any():
        assert threshold == 0.5
        return
    every = [0.0, 1.0, *np.unique(np.append(scores, np.nextafter(scores, np.float32(2)))).astype(np.float64)]
    best = max(measured(at) for at in every if at <= 1)
    assert measured(threshold) == pytest.approx(best)
    if objective.is_target:
        assert reached == (best[0] == 1)
    assert threshold not in scores.astype(np.float64) or threshold in (0, 1)


def test_a_mean_of_bootstrap_thresholds_moves_less_than_the_best_one():
    generator = np.random.default_rng(0)
    best, bagged = [], []
    for _ in range(30):
        present = generator.random(60) < 0.4
        scores = 1 / (1 + np.exp(-generator.normal(2 * present - 1, 1))).astype(np.float32)
        label = SortedScores(scores.astype(np.float32), present)
        best.append(label.best(Objective.parse("f1"), 0.5)[0])
        bagged.append(label.bagged(Objective.parse("f1"), 0.5, 25, generator))
        assert not (scores.astype(np.float32) == bagged[-1]).any()
    assert np.std(bagged) < 0.85 * np.std(best)


@pytest.mark.parametrize(
    "text", ["", "f2", "f1=2", "f-beta", "f-beta=0", "f-beta=nan", "precision=1.1", "precision=0", "recall=x", "AP=0.5"]
)
def test_what_is_no_objective_is_refused(text):
    with pytest.raises(SettingError, match=r"`objective` .*should be"):
        Objective.parse(text)


def test_objectives_come_back_as_they_are_typed():
    for text in ("f1", "f-beta=2", "f-beta=0.5", "precision=0.9", "recall=0.95"):
        assert str(Objective.parse(text)) == text
