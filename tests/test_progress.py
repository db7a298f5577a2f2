"""What a person sees of a long task: a bar on a terminal, lines elsewhere, and a log."""

from __future__ import annotations

import io
import os
import re
import sys
import time

import pytest

from mxml.progress import ConsoleProgress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until it is set."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


@pytest.mark.parametrize("screen", [Terminal(), io.StringIO()])
def test_a_terminal_gets_a_bar_and_notes_are_lines_everywhere(monkeypatch, tmp_path, screen):
    monkeypatch.setattr(sys, "stderr", screen)
    log = tmp_path / "train.log"
    with ConsoleProgress(str(log)) as progress:
        progress.log("mxml train")
        progress.note("before")
        assert not log.exists()
        progress.start(64, "looking")
        assert not log.exists()
        progress.begin_log()
        progress.start(64, "epoch 1/2", 16)
        progress.advance(32, "loss 0.5000")
        progress.note("two\nlines")
    shown = screen.getvalue()
    assert shown.startswith("before\n")
    if screen.isatty():
        assert re.search(r"epoch 1/2: +25%.* 16/64 \[", shown)
        assert re.search(r"\rtwo\\nlines\n\repoch 1/2: +75%.* 48/64 \[.* img/s, loss 0\.5000\]", shown)
    else:
        assert shown == "before\ntwo\\nlines\n"
    assert [entry[20:] for entry in log.read_text().splitlines()] == ["mxml train", "before", "two\\nlines"]


def test_without_a_terminal_a_line_says_how_far_it_is_within_seconds(monkeypatch, clock):
    screen = io.StringIO()
    monkeypatch.setattr(sys, "stderr", screen)
    with ConsoleProgress() as progress:
        progress.start(100_000, "epoch 1/2")
        for seconds in (1, 3, 9, 14):
            clock[0] = 1000.0 + seconds
            progress.advance(1000, f"loss 0.{seconds}")
        progress.start(50, "validation")
        progress.advance(50)
    assert screen.getvalue().splitlines() == [
        "epoch 1/2: 0 of 100,000 images",
        "epoch 1/2: 2,000 of 100,000 images, loss 0.3",
        "epoch 1/2: 4,000 of 100,000 images, loss 0.14",
    ]


def test_the_log_ends_with_the_error_of_a_run_that_began(tmp_path):
    for name in ("never", "began"):
        with pytest.raises(ValueError), ConsoleProgress(str(tmp_path / name)) as progress:
            if name == "began":
                progress.begin_log()
            raise ValueError("wrong")
    assert os.listdir(tmp_path) == ["began"]
    assert (tmp_path / "began").read_text().endswith(" ValueError: wrong\n")
