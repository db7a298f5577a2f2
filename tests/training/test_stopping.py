"""Runs that save inside an epoch, and runs with a time limit: nothing of them is lost, and nothing differs."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from typing import Any

import pytest
import tiny
from told import StopIn

from mxml.errors import Interrupted, OutOfTime, TrainingError
from mxml.model import checkpoint, params_file
from mxml.progress import SILENT
from mxml.training import fit as train
from mxml.training.signals import StopRequest

AT_EVERY_STEP = 1e-9


class Crash(Exception):
    """What ends a process without warning, as far as the run is concerned."""


class Watch:
    """Keeps the notes and what lies on disk after each step, and crashes in a step, counted over the whole run."""

    def __init__(self, folder, crash=None):
        self.folder, self.crash = folder, crash
        self.notes, self.places, self.steps = [], [], 0

    def start(self, total, what, done=0):
        self.training = what.startswith("epoch")

    def advance(self, count=1, detail=""):
        if not self.training:
            return
        self.steps += 1
        pause = json.loads((self.folder / "run.json").read_text())["pause"]
        files = sorted(path.name for path in self.folder.glob("run-paused*"))
        self.places.append((pause and (pause["epoch"], pause["batch"], pause["slot"]), files))
        if self.steps == self.crash:
            raise Crash

    def note(self, text):
        self.notes.append(text)


def assert_same_end(folder, epoch):
    whole, run = (json.loads((folder / f"{name}.json").read_text()) for name in ("whole", "run"))
    for one, other in zip(whole["epochs"], run["epochs"]):
        assert one["files"] == other["files"]
        assert one["metrics"]["val"] == other["metrics"]["val"]
        assert one["metrics"]["train_loss"] == other["metrics"]["train_loss"]
    for ending in ("params", "states"):
        name = f"{epoch:04d}.{ending}"
        assert (folder / f"run-{name}").read_bytes() == (folder / f"whole-{name}").read_bytes()
    assert not list(folder.glob("run-paused*"))


@pytest.mark.parametrize("device", ["cpu", "cpu:0,1"])
def test_a_run_that_saves_at_every_step_goes_on_from_the_last_one(folder, device):
    options: dict[str, Any] = {"num_epoch": 2, "device": device, "optimizer": "nag"}
    train.fit(tiny.config(folder, "whole", save_every=0.0, **options), SILENT)
    watch = Watch(folder, crash=4)
    with pytest.raises(Crash):
        train.fit(tiny.config(folder, save_every=AT_EVERY_STEP, **options), watch)
    one, other = (["run-paused.params", "run-paused.states"], ["run-paused1.params", "run-paused1.states"])
    assert watch.places == [(None, []), ((1, 1, 0), one), ((1, 2, 1), other), ((1, 3, 0), one)]
    watch = Watch(folder, crash=4)
    with pytest.raises(Crash):
        train.resume(folder / "run", {"save_every": AT_EVERY_STEP}, watch)
    assert "resuming in epoch 1 after batch 3" in watch.notes
    assert watch.places == [((1, 3, 0), one), ((1, 4, 1), other), (None, []), ((2, 1, 0), one)]
    train.resume(folder / "run", progress=SILENT)
    assert_same_end(folder, 2)


def test_a_place_that_cannot_be_saved_is_said_and_the_one_before_stays(folder):
    (folder / "run-paused1.states").mkdir()
    watch = Watch(folder, crash=4)
    with pytest.raises(Crash):
        train.fit(tiny.config(folder, num_epoch=1, save_every=AT_EVERY_STEP), watch)
    assert [place for place, _ in watch.places] == [None, (1, 1, 0), (1, 1, 0), (1, 1, 0)]
    # What could be written of the second takes no room.
    assert watch.places[-1][1] == ["run-paused.params", "run-paused.states", "run-paused1.states"]
    faults = [note for note in watch.notes if note.startswith("not saved inside epoch 1: ")]
    assert len(faults) == 2
    assert all("run-paused1.states" in fault and fault.endswith("; the run goes on") for fault in faults)
    (folder / "run-paused1.states").rmdir()
    train.resume(folder / "run", progress=SILENT)
    train.fit(tiny.config(folder, "whole", num_epoch=1), SILENT)
    assert_same_end(folder, 1)


def test_a_damaged_place_costs_the_epoch_so_far(folder):
    train.fit(tiny.config(folder, "whole", num_epoch=2), SILENT)
    with pytest.raises(Crash):
        train.fit(tiny.config(folder, num_epoch=2, save_every=AT_EVERY_STEP), Watch(folder, crash=8))
    (folder / "run-paused1.params").write_bytes(b"")
    watch = Watch(folder)
    train.resume(folder / "run", progress=watch)
    assert any("run-paused1.params: is damaged" in note for note in watch.notes)
    assert "resuming after epoch 1" in watch.notes
    assert_same_end(folder, 2)


def test_a_time_limit_ends_a_run_as_a_signal_does(folder):
    train.fit(tiny.config(folder, "whole", num_epoch=2), SILENT)
    limit: dict[str, Any] = {"time_limit": AT_EVERY_STEP}
    stopped = (
        r"^stopped by its time limit of 1e-09 minutes in epoch 1 after batch 1, and saved; continue with `resume`$"
    )
    with pytest.raises(TrainingError, match=stopped):
        train.fit(tiny.config(folder, num_epoch=2, **limit), SILENT)
    for _ in range(3):  # each takes one step more
        with pytest.raises(TrainingError, match="stopped by its time limit"):
            train.resume(folder / "run", limit, SILENT)
    assert json.loads((folder / "run.json").read_text())["pause"]["batch"] == 4
    with pytest.raises(TrainingError, match="after batch 5"):
        train.resume(folder / "run", limit, SILENT)
    # Only the validation is left of the epoch. It cannot be saved half done, so that a limit would always end it again.
    result = train.resume(folder / "run", limit, SILENT)
    assert (result.epochs, result.finished) == (1, False)
    # A single start does no more than a step or a validation, and all starts together the whole run.
    starts = 0
    while not result.finished and starts < 20:
        result, starts = train.resume(folder / "run", limit, SILENT), starts + 1
    assert starts == 6
    assert_same_end(folder, 2)


def test_a_time_limit_before_the_head_is_fitted_says_what_is_kept(folder):
    limited = tiny.config(folder, method="lp-ft", optimizer=None, lr=None, time_limit=AT_EVERY_STEP)
    for _ in range(2):
        message = "before the head was fitted; the feature vectors so far are kept; continue with `resume`$"
        with pytest.raises(OutOfTime, match=message):
            train.fit(limited, SILENT, resume=True)
    (folder / "features.sqlite").unlink()
    (folder / "features.sqlite").mkdir()
    message = "; the feature vectors so far could not be kept, and all have to be computed in one run; continue"
    with pytest.raises(TrainingError, match=message):
        train.fit(limited, SILENT, resume=True)


@pytest.mark.parametrize("method", ["lp-ft", "finetune"])
def test_a_time_limit_before_the_first_epoch_is_no_failure_and_says_what_to_type(folder, method):
    optimizer = {"optimizer": "adamw"} if method == "lp-ft" else {}
    arguments = tiny.arguments(folder, method=method, time_limit=AT_EVERY_STEP, **optimizer)
    done = subprocess.run([sys.executable, "-m", "mxml", "train", *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "stopped by its time limit of 1e-09 minutes " in done.stderr
    assert done.stdout == f"not finished; continue with: mxml train --prefix {folder / 'run'} --resume\n"


# Computes in C for hours, as MXNet may for seconds: no handler of Python's runs meanwhile.
BUSY = """
import hashlib
from mxml.training.signals import AnsweredStop
with AnsweredStop(lambda line: print(line, flush=True)):
    print("busy", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 1 << 30)
"""


def test_signals_are_answered_while_something_is_computed_and_a_second_one_ends_it():
    with subprocess.Popen([sys.executable, "-c", BUSY], stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        lines = []
        for line in run.stdout:
            lines.append(line)
            run.send_signal(signal.SIGTERM)
    assert run.returncode == 128 + signal.SIGTERM
    assert [line.split(":")[0] for line in lines] == ["busy\n", "stopping", "ended at once"]
    assert "SIGTERM again ends at once" in lines[1]


def test_starts_with_a_time_limit_fit_the_head_once_the_features_are_there(folder):
    limited = tiny.config(folder, method="features", optimizer=None, lr=None, time_limit=AT_EVERY_STEP)
    stops = 0
    while not (folder / "run-0001.params").exists():
        with contextlib.suppress(TrainingError):
            train.fit(limited, SILENT, resume=True)
        stops += 1
        assert stops < 40
    train.fit(tiny.config(folder, "whole", method="features", optimizer=None, lr=None), SILENT)
    assert (folder / "run-0001.params").read_bytes() == (folder / "whole-0001.params").read_bytes()


@pytest.mark.parametrize(
    "part", ["looking for the images", "comparing with the first BatchNorm", "trying the preset caffe"]
)
def test_a_signal_before_a_run_begins_ends_it_within_a_batch(folder, part):
    if "BatchNorm" in part:
        params = params_file.read_params(folder / "net-0000.params")
        params["aux:bn0_moving_mean"] += 1
        params_file.write_params(folder / "net-0000.params", params)
    stop = StopRequest()
    told = StopIn(stop, part)
    message = r"^stopped by SIGINT before the run began; to go on, start it again as before$"
    with pytest.raises(Interrupted, match=message) as caught:
        train.fit(tiny.config(folder, preset=None), told, stop=stop)
    assert (caught.value.signal_number, caught.value.can_resume, told.batches) == (signal.SIGINT, False, 1)
    assert not list(folder.glob("run*"))


def test_a_time_limit_after_an_epoch_gives_its_result_and_what_to_type(folder):
    command = [sys.executable, "-m", "mxml", "train", "--prefix", str(folder / "run"), "--resume"]
    train.fit(tiny.config(folder, num_epoch=1, lr_schedule="constant"), SILENT)
    result = train.resume(folder / "run", {"num_epoch": 2, "time_limit": AT_EVERY_STEP}, SILENT)
    assert (result.best_epoch, result.epochs, result.finished) == (1, 1, False)
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "stopped by its time limit of 1e-09 minutes in epoch 2 after batch 2, and saved" in done.stderr
    assert f"not finished; continue with: mxml train --prefix {folder / 'run'} --resume\n" in done.stdout
    assert checkpoint.load(str(folder / "run")).epoch == 1
    done = subprocess.run([*command, "--time-limit", "1000"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "not finished" not in done.stdout
    train.fit(tiny.config(folder, "whole", num_epoch=2, lr_schedule="constant"), SILENT)
    assert_same_end(folder, 2)


def test_images_that_have_changed_are_said_and_moved_ones_are_not(folder):
    train.fit(tiny.config(folder, num_epoch=1), SILENT)
    (folder / "images").rename(folder / "moved")
    watch = Watch(folder)
    moved = {"image_train": str(folder / "moved"), "image_val": str(folder / "moved")}
    train.resume(folder / "run", {"num_epoch": 2, **moved}, watch)
    assert not any("have changed" in note for note in watch.notes)
    (folder / "moved" / "1-7.png").write_bytes((folder / "moved" / "1-8.png").read_bytes() + b"more")
    watch = Watch(folder)
    train.resume(folder / "run", {"num_epoch": 3}, watch)
    (note,) = (note for note in watch.notes if "have changed" in note)
    assert note.startswith(f"{folder / 'lists' / 'train.lst'}: its images have changed since the run at ")
    assert note.endswith(": it goes on with them, not exactly as it would have")
    # From now on these are the run's images.
    watch = Watch(folder)
    train.resume(folder / "run", progress=watch)
    assert not any("have changed" in note for note in watch.notes)
