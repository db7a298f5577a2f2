"""What a person sees of a long task: a bar on a terminal, lines elsewhere, and a log."""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import pty
import re
import struct
import sys
import termios
import time

import pytest
from needs import lacking

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
        assert re.search(r"epoch 1/2: +25%\|", shown)
        assert re.search(r"\rtwo\\nlines\n\repoch 1/2: +75%\|.*\| \S+ img/s, \d+ s left, loss 0\.5000", shown)
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
        "epoch 1/2: 4,000 of 100,000 images, 286 img/s, 5 min 40 s left, loss 0.14",
    ]


def test_the_first_line_comes_soon_and_a_note_is_a_line_too(monkeypatch, clock):
    screen = io.StringIO()
    monkeypatch.setattr(sys, "stderr", screen)
    with ConsoleProgress() as progress:
        progress.start(900, "epoch 1/2")
        for seconds, note in ((1, ""), (3, ""), (12, "epoch 1 done"), (14, ""), (21, ""), (23, "")):
            clock[0] = 1000.0 + seconds
            progress.advance(30)
            if note:
                progress.note(note)
    assert screen.getvalue().splitlines() == [
        "epoch 1/2: 60 of 900 images, 20 img/s, 42 s left",
        "epoch 1 done",
        "epoch 1/2: 180 of 900 images, 7.8 img/s, 1 min 30 s left",
    ]


def test_a_log_of_ten_hours_is_no_longer_than_a_person_reads(monkeypatch, clock):
    """And no step of it is a long silence."""
    screen = io.StringIO()
    monkeypatch.setattr(sys, "stderr", screen)
    said = []
    with ConsoleProgress() as progress:
        for epoch in range(10):
            progress.start(3600, f"epoch {epoch + 1}/10")
            for _ in range(3600):
                clock[0] += 1
                before = screen.tell()
                progress.advance(1, "loss 0.1")
                if screen.tell() > before:
                    said.append(clock[0] - 1000.0)
    gaps = [after - before for before, after in zip([0.0, *said], said)]
    assert gaps[:4] == [2, 10, 10, 10] and max(gaps) <= 301
    assert 100 < len(said) < 250
    assert "\r" not in screen.getvalue()


def test_the_rate_is_that_of_the_last_seconds(monkeypatch, clock):
    screen = io.StringIO()
    monkeypatch.setattr(sys, "stderr", screen)
    with ConsoleProgress() as progress:
        progress.start(10_000, "epoch 1/1", 400)
        for seconds, images in ((100, 10), (120, 1000), (140, 1000), (151, 550)):
            clock[0] = 1000.0 + seconds
            progress.advance(images)
    assert screen.getvalue().splitlines()[-1] == "epoch 1/1: 2,960 of 10,000 images, 50 img/s, 2 min 20 s left"


def read_to_the_end(terminal):
    """Return all that was written to a terminal whose other end is closed; it arrives in parts."""
    parts = []
    with contextlib.suppress(OSError):
        while part := os.read(terminal, 1 << 16):
            parts.append(part)
    return b"".join(parts).decode("utf-8")


def test_a_line_is_no_wider_than_its_terminal(monkeypatch):
    """Else each update of it would begin a new one."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 60, 0, 0))
    with open(theirs, "w", encoding="utf-8") as screen:
        monkeypatch.setattr(sys, "stderr", screen)
        with ConsoleProgress() as progress:
            progress.start(3000, "epoch 10/10")
            progress.advance(1000, "run 6 min 10 s, loss 0.1234, lr 0.0002")
            progress.note("which draws the line again")
    shown = read_to_the_end(ours)
    os.close(ours)
    widths = [len(part) for part in re.split("[\r\n]+", shown)]
    assert 55 < max(widths) <= 60
    assert re.search(r"epoch 10/10: +33%\|.\| \S+ img/s, \d+ s left, run 6 min", shown) and shown.endswith("\r")


def test_a_log_that_can_no_longer_be_written_ends_nothing_and_goes_on_later(monkeypatch, tmp_path):
    if not os.path.exists("/dev/full"):
        lacking("needs /dev/full")
    screen = io.StringIO()
    monkeypatch.setattr(sys, "stderr", screen)
    log = tmp_path / "train.log"
    with ConsoleProgress(str(log)) as progress:
        progress.begin_log()
        progress.note("first")
        log.rename(tmp_path / "kept")
        log.symlink_to("/dev/full")
        progress.note("second")
        progress.note("third")
        log.unlink()
        (tmp_path / "kept").rename(log)
        progress.note("fourth")
    full = f"{log}: cannot be written: No space left on device; its lines are added once that is possible"
    assert screen.getvalue().splitlines() == ["first", full, "second", "third", "fourth"]
    assert [entry[20:] for entry in log.read_text().splitlines()] == ["first", "second", "third", "fourth"]


def test_the_log_ends_with_the_error_of_a_run_that_began(tmp_path):
    for name in ("never", "began"):
        with pytest.raises(ValueError), ConsoleProgress(str(tmp_path / name)) as progress:
            if name == "began":
                progress.begin_log()
            raise ValueError("wrong")
    assert os.listdir(tmp_path) == ["began"]
    assert (tmp_path / "began").read_text().endswith(" ValueError: wrong\n")
