"""What a whole training shows on a terminal, and where there is none."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import threading

import pytest
import tiny
from commands import process

IMAGES = 1000
PATIENCE_SECONDS = 120


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("live")
    # The line is drawn every 0.3 seconds at most: an epoch has to take longer.
    tiny.make_data(folder, train=IMAGES)
    return folder


def on_terminal(folder, arguments, until):
    """Run ``mxml`` under a pseudo-terminal, interrupt it once it has shown ``until``, and return what it showed."""
    ours, theirs = pty.openpty()
    run = subprocess.Popen(
        [sys.executable, "-m", "mxml", *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=folder,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    os.close(theirs)
    shown, asked = "", False
    watch = threading.Timer(PATIENCE_SECONDS, run.kill)
    watch.start()
    with open(ours, "rb", buffering=0) as terminal:
        while True:
            try:
                part = terminal.read(4096)
            except OSError:  # the other end is closed
                break
            if not part:
                break
            shown += part.decode("utf-8")
            if not asked and re.search(until, shown):
                asked = True
                run.send_signal(signal.SIGINT)
    watch.cancel()
    assert asked, shown
    return run.wait(timeout=60), shown


def screen_of(shown):
    """Return the lines that a terminal ends with: what follows a carriage return replaces what was before it."""
    lines = []
    for line in shown.replace("\r\n", "\n").split("\n"):
        cells: list[str] = []
        for part in line.split("\r"):
            cells[: len(part)] = part
        lines.append("".join(cells).rstrip())
    return lines


def test_a_terminal_has_one_live_line_that_goes_and_the_lines_that_stay(folder):
    arguments = ["train", *tiny.arguments(folder, "terminal", num_epoch=1_000_000, lr=1e-6, batch_size=2)]
    # Rate, time left of the epoch and of the run, loss; before it the estimate of the rest, from the first steps.
    live = r"epoch \d+/1000000: +\d+%\|.+\| \S+ img/s, \d+ s left, run [\d.]+ \w+[^\r\n]*, loss 0\.\d{4}, lr 1e-06"
    code, shown = on_terminal(folder, arguments, rf"(?s)about .* for the rest.*epoch 1/1000000: loss.*{live}")
    assert code == 130, shown
    assert len(re.findall("for the rest", shown)) == 1
    lines = [line for line in screen_of(shown) if line]
    assert not any("%|" in line for line in lines), "the live line is gone when the command has ended"
    assert lines[0].startswith("training ") and lines[1].startswith(f"{IMAGES:,} images to train on")
    kinds = r"epoch \d+/1000000: loss|about .* for the rest|starting from|mxml: stopped by SIGINT|stopping: |\^C"
    assert all(re.match(kinds, line) for line in lines[2:]), lines
    assert any(re.fullmatch(r"epoch 1/1000000: .* img/s, best so far, .* left", line) for line in lines)


def test_without_a_terminal_there_are_only_lines(folder):
    run = process(folder, "train", *tiny.arguments(folder, "lines", num_epoch=3))
    _, err = run.communicate(timeout=120)
    assert run.returncode == 0, err
    assert "\r" not in err and "%|" not in err and "\x1b" not in err
    left = [re.search(r", (\S+ s) left$", line) for line in err.splitlines() if line.startswith("epoch ")]
    assert [found is not None for found in left] == [True, True, False]
