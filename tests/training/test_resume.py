"""Whole runs in processes of their own, killed and stopped by real signals."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest
import tiny


@pytest.fixture
def folder(tmp_path):
    tiny.make_data(tmp_path, train=64)
    return tmp_path


# Kills the process at its n-th flush to disk, of which every file that it writes takes two: one before the rename that
# makes it appear, one after.
KILLER = """
import os, signal
left = int(os.environ["KILL_AT_FLUSH"])
flush = os.fsync
def flush_or_die(handle):
    global left
    left -= 1
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
    flush(handle)
os.fsync = flush_or_die
"""


def train(folder, *options, **environment):
    command = [sys.executable, "-m", "mxml", "train", *options]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env={**os.environ, **environment},
    )


def finish(process):
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return out, err


# A new run flushes its symbol and sidecar (4), an epoch its parameters, states, history and sidecar (8), the last one
# its curves too. So these kill: before the first sidecar is whole; while the first parameters are written; between
# parameters and states; while a sidecar is written; in the second epoch after that, before its history.
KILLS = (3, 5, 7, 7, 13)


def test_a_run_killed_again_and_again_ends_as_one_never_killed(folder):
    options = {"num_epoch": 4, "optimizer": "adam", "lr": 0.01, "keep": "all"}
    finish(train(folder, *tiny.arguments(folder, "whole", **options)))
    (folder / "killer").mkdir()
    (folder / "killer" / "sitecustomize.py").write_text(KILLER)
    path = f"{folder / 'killer'}:{os.environ.get('PYTHONPATH', '')}"
    for flush in KILLS:
        process = train(
            folder, *tiny.arguments(folder, "run", **options), "--resume", PYTHONPATH=path, KILL_AT_FLUSH=str(flush)
        )
        process.communicate(timeout=120)
        assert process.returncode == -signal.SIGKILL, flush
        assert list(folder.glob(".run*.tmp")) or flush % 2 == 0, flush
    _, err = finish(train(folder, "--prefix", "run", "--resume"))
    assert "resuming after epoch" in err
    assert not list(folder.glob(".*.tmp"))
    for epoch in range(1, 5):
        for kind in ("params", "states"):
            name = f"{epoch:04d}.{kind}"
            assert (folder / f"run-{name}").read_bytes() == (folder / f"whole-{name}").read_bytes(), name
    whole, run = (json.loads((folder / f"{name}.json").read_text()) for name in ("whole", "run"))
    assert run["best_epoch"] == whole["best_epoch"]
    assert [epoch["files"] for epoch in run["epochs"]] == [epoch["files"] for epoch in whole["epochs"]]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_and_says_how_to_go_on(folder, number, code):
    process = train(folder, *tiny.arguments(folder, "run", num_epoch=500, patience=400))
    while not (folder / "run-0001.params").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    last = err.strip().splitlines()[-1]
    assert re.fullmatch(
        rf"mxml: stopped by {number.name} in epoch \d+ after batch \d+, and saved; "
        r"go on with --resume: mxml train --prefix .*run --resume",
        last,
    )
    pause = json.loads((folder / "run.json").read_text())["pause"]
    assert (folder / "run-paused.params").stat().st_size == pause["files"]["params"]["size"]
    assert "Interrupted: stopped by" in (folder / "train.log").read_text()
