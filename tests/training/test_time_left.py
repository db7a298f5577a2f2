"""How long a run takes: hand-worked, with a clock that is set."""

from __future__ import annotations

import time

import pytest

from mxml.training.time_left import TimeLeft


@pytest.fixture
def clock(monkeypatch):
    now = [500.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def run_epoch(left, clock, steps, seconds, validation=0.0):
    for _ in range(steps):
        clock[0] += seconds
        left.step(10)
    clock[0] += validation
    left.validate(50)
    left.end_epoch()


def test_before_the_first_validation_its_time_is_a_third_of_the_steps(clock):
    left = TimeLeft(train_images=100, val_images=50, epochs=3)
    assert left.seconds() is None and left.of_run() == "" and left.after_epoch() == ""
    clock[0] += 60  # the first step prepares its computations
    left.step(10)
    assert left.seconds() is None
    for _ in range(4):
        clock[0] += 2.0
        left.step(10)
    # 250 images of 0.2 s, and three validations of 50 images of 0.2 s / 3.
    assert left.seconds() == pytest.approx(250 * 0.2 + 3 * 50 * 0.2 / 3)
    assert left.of_run() == "run 1 min"


def test_afterwards_it_is_what_the_last_epoch_took(clock):
    left = TimeLeft(train_images=100, val_images=50, epochs=3)
    run_epoch(left, clock, 10, 2.0, validation=30.0)
    assert left.seconds() == pytest.approx(2 * (100 * 0.2 + 30.0))
    assert left.after_epoch() == "1 min 40 s left"
    for _ in range(5):
        clock[0] += 2.0
        left.step(10)
    assert left.seconds() == pytest.approx(150 * 0.2 + 2 * 30.0)
    for _ in range(5):
        clock[0] += 2.0
        left.step(10)
    left.validate(25)
    assert left.seconds() == pytest.approx(100 * 0.2 + 1.5 * 30.0)


def test_at_the_end_nothing_is_left(clock):
    left = TimeLeft(train_images=100, val_images=50, epochs=2)
    run_epoch(left, clock, 10, 2.0, 5.0)
    run_epoch(left, clock, 10, 2.0, 5.0)
    assert left.seconds() == 0 and left.after_epoch() == ""


def test_a_rate_that_changes_is_followed(clock):
    left = TimeLeft(train_images=10_000, val_images=0, epochs=2)
    run_epoch(left, clock, 1000, 2.0)
    run_epoch_seconds = 10_000 * 0.2
    assert left.seconds() == pytest.approx(run_epoch_seconds)
    for _ in range(200):
        clock[0] += 0.5
        left.step(10)
    assert left.seconds() == pytest.approx(8000 * 0.05)


def test_a_run_that_goes_on_inside_an_epoch_has_done_a_part(clock):
    left = TimeLeft(train_images=100, val_images=0, epochs=1, done=60)
    for _ in range(2):
        clock[0] += 1.0
        left.step(10)
    assert left.seconds() == pytest.approx(20 * 0.1)


@pytest.mark.parametrize(("may_end_earlier", "about"), [(False, "about"), (True, "at most")])
def test_the_first_estimate_is_said_once_after_twenty_steps(clock, may_end_earlier, about):
    left = TimeLeft(1000, 0, epochs=10, may_end_earlier=may_end_earlier)
    said = []
    for _ in range(60):
        clock[0] += 0.4
        left.step(10)
        said.append(left.first_estimate())
    # 9,800 images of 0.04 s after the twentieth step.
    assert [text for text in said if text] == [f"{about} 6 min 30 s for the rest"] and said[19]


def test_a_run_of_seconds_gets_no_estimate(clock):
    left = TimeLeft(400, 0, epochs=1)
    for _ in range(40):
        clock[0] += 0.2
        left.step(10)
        assert left.first_estimate() == ""
