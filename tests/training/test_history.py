"""Which epoch a run's best one is, on histories made by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mxml.model.sidecar import Epoch
from mxml.training.history import best_epoch, takes_over


def epochs(*validations, **more):
    """Return epochs 1, 2, ... with these (metric, loss)."""
    name = more.pop("best_by", "mAP")
    return [
        Epoch(number, number, {"val": {name: metric, "loss": loss, **more}}, {})
        for number, (metric, loss) in enumerate(validations, start=1)
    ]


def best(*validations, **more):
    return best_epoch(epochs(*validations, **more), more.get("best_by", "mAP"))


def test_the_best_metric_picks_the_epoch_and_equal_ones_fall_to_the_lower_loss():
    assert best((0.5, 0.7), (0.9, 0.9), (0.8, 0.1)) == 2
    assert best((0.5, 0.7), (0.9, 0.9), (0.9, 0.4), (None, 1.0)) == 3
    assert best((0.9, 0.4), (0.9, 0.9)) == 1
    assert best((0.9, 0.4), (0.9, 0.4)) == 1
    assert best((None, 0.4), (None, 0.9)) == 2
    assert best_epoch([], "mAP") is None


def test_a_difference_that_is_noise_falls_to_the_lower_loss():
    # 0.1 / sqrt(400) = 0.005: the second is no better, and its threshold has gone astray, as its loss shows.
    collapsed = (0.930, 0.21), (0.934, 0.55)
    assert best(*collapsed, samples=400) == 1
    assert best(*collapsed, samples=10_000) == 2
    assert best(*collapsed) == 2
    assert best((0.934, 0.55), (0.930, 0.21), samples=400) == 2
    assert best((0.936, 0.55), (0.930, 0.21), samples=400) == 1


def test_a_loss_that_creeps_does_not_lead_away_from_the_best_metric():
    falling = [(0.934 - 0.003 * number, 0.5 - 0.1 * number) for number in range(4)]
    assert best(*falling, samples=400) == 2
    # Each is within 0.005 of the one before; the last is not of the first, and takes over although its loss is higher.
    assert best((0.930, 0.3), (0.934, 0.4), (0.938, 0.5), samples=400) == 3


def test_a_run_at_rest_does_not_get_better():
    assert best((0.9, 0.4), (0.9, 0.39999), (0.9, 0.39998)) == 1


def test_lower_is_better_for_some_metrics_and_they_are_compared_exactly():
    assert best((0.20, 0.5), (0.19, 0.6), (0.21, 0.1), best_by="hamming", samples=100) == 2
    assert best((0.19, 0.6), (0.19, 0.5), best_by="hamming", samples=100) == 2
    three = [Epoch(number, number, {"val": {"loss": loss}}, {}) for number, loss in enumerate((0.5, 0.4, 0.41))]
    assert best_epoch(three, "loss") == 1


validations = st.lists(st.tuples(st.one_of(st.none(), st.floats(0, 1)), st.floats(0, 2)), min_size=1, max_size=12)


@given(validations, st.sampled_from(["mAP", "hamming"]), st.integers(1, 10_000))
def test_the_choice_is_always_the_one_before_or_the_newest(history, best_by, samples):
    entries = epochs(*history, best_by=best_by, samples=samples)
    choices = [best_epoch(entries[:count], best_by) for count in range(1, len(entries) + 1)]
    for count, (before, after) in enumerate(zip(choices, choices[1:]), start=2):
        assert after in (before, count)
    metric = {entry.epoch: entry.metrics["val"][best_by] for entry in entries}
    known = [value for value in metric.values() if value is not None]
    chosen = metric[choices[-1]]
    if known and best_by == "mAP":
        assert chosen >= max(known) - 0.1 / samples**0.5 - 1e-12
    elif known:
        assert chosen == min(known)


@pytest.mark.parametrize(
    ("current", "averaged", "kept"),
    [
        ((0.90, 0.3), (0.90, 0.3), "averaged"),
        ((0.90, 0.2), (0.95, 0.3), "averaged"),
        ((0.92, 0.3), (0.915, 0.2), "averaged"),
        ((0.92, 0.3), (0.915, 0.4), "current"),
        ((0.95, 0.3), (0.90, 0.2), "current"),
        ((None, 0.1), (None, 0.2), "averaged"),
    ],
)
def test_averaged_weights_are_kept_when_they_validate_no_worse(current, averaged, kept):
    new, held = ({"mAP": mean_ap, "loss": loss, "samples": 200} for mean_ap, loss in (current, averaged))
    assert takes_over(new, held, "mAP") == (kept == "current")
