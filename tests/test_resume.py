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


# A disk on which every flush takes a while, so that there is time to kill a process while it writes.
SLOW_DISK = """
import os, time
flush = os.fsync
os.fsync = lambda handle: (time.sleep(0.05), flush(handle))
"""


def train(folder, *options, search_path=""):
    command = [sys.executable, "-m", "mxml", "train", *options]
    environment = {**os.environ, "PYTHONPATH": f"{search_path}:{os.environ.get('PYTHONPATH', '')}"}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder, env=environment
    )


def finish(process):
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return out, err


def kill_when_there(process, folder, *patterns):
    """SIGKILL the process as soon as the folder has a file for each pattern."""
    wanted = [re.compile(pattern) for pattern in patterns]
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        names = os.listdir(folder)
        if all(any(map(pattern.fullmatch, names)) for pattern in wanted):
            process.kill()
            break
        time.sleep(0.002)
    process.communicate()
    return process.returncode == -signal.SIGKILL


# Before there is any checkpoint; while parameters are written; between them and the states; while the sidecar is.
MOMENTS = (
    (r"run\.json",),
    (r"\.run-0002\.params\..*\.tmp",),
    (r"run-0002\.params",),
    (r"run-0003\.states", r"\.run\.json\..*\.tmp"),
)


def test_a_run_killed_again_and_again_ends_as_one_never_killed(folder):
    options = {"num_epoch": 4, "optimizer": "adam", "lr": 0.01}
    finish(train(folder, *tiny.arguments(folder, "whole", **options)))
    slow = folder / "slow"
    slow.mkdir()
    (slow / "sitecustomize.py").write_text(SLOW_DISK)
    process = train(folder, *tiny.arguments(folder, "run", **options), search_path=slow)
    for moment in MOMENTS:
        assert kill_when_there(process, folder, *moment), f"was not there to be killed at {moment}"
        process = train(folder, "--prefix", "run", "--resume", search_path=slow)
    _, err = finish(process)
    assert "resuming after epoch 2" in err
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
        r"go on with: mxml train --prefix .*run --resume",
        last,
    )
    pause = json.loads((folder / "run.json").read_text())["pause"]
    assert (folder / "run-paused.params").stat().st_size == pause["files"]["params"]["bytes"]
    assert "Interrupted: stopped by" in (folder / "train.log").read_text()
