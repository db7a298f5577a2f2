"""A run that is to replace another one: what is there until the new one has something to go on from."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import tiny
from event_files import scalars
from told import StopAfter, Told

from mxml.errors import DeviceError, Interrupted, TrainingError
from mxml.model import params_file
from mxml.model.run_files import RunFiles
from mxml.progress import SILENT, ConsoleProgress
from mxml.training import fit as train
from mxml.training.signals import StopRequest

# Kills itself after the given number of steps of a forced run.
KILLED = """
import sys
from pathlib import Path
folder, steps, *paths = sys.argv[1:]
sys.path[:0] = paths
import tiny
from killer import Events
from mxml.progress import SILENT
from mxml.runtime.imports import load_mxnet
from mxml.training import fit
Events([["step", int(steps), 9]]).watch(load_mxnet())
fit.fit(tiny.config(Path(folder), lr=0.01, seed=5), SILENT, force=True)
"""


# A forced run that can write no file of a checkpoint's size, as on a full disk.
FULL_DISK = """
import resource, sys
from pathlib import Path
folder, method, tests = sys.argv[1:]
sys.path.insert(0, tests)
import tiny
from mxml import fit
from mxml.errors import StorageError
from mxml.progress import SILENT
resource.setrlimit(resource.RLIMIT_FSIZE, (1400, resource.RLIM_INFINITY))
given = {"optimizer": None, "lr": None} if method == "lp-ft" else {}
try:
    fit(tiny.config(Path(folder), method=method, seed=5, **given), SILENT, force=True)
except StorageError as error:
    print(error)
"""


class FailsAt(ConsoleProgress):
    """Ends a run as a fault would, in a part whose name begins like this."""

    def __init__(self, log_path, part):
        super().__init__(log_path)
        self.part, self.what = part, ""

    def start(self, total, what, done=0):
        super().start(total, what, done)
        self.what = what

    def advance(self, count=1, detail=""):
        super().advance(count, detail)
        if self.what.startswith(self.part):
            raise MemoryError


class Failing(Told):
    """Ends a run in its second step as a fault would."""

    def advance(self, count=1, detail=""):
        super().advance(count, detail)
        if self.steps == 2:
            raise MemoryError


def files_of_run(folder):
    return {path.name: path.read_bytes() for path in folder.glob("run[.-]*") if path.suffix != ".lock"}


@pytest.fixture
def before(folder):
    """The files of a run that has ended."""
    train.fit(tiny.config(folder), SILENT)
    return files_of_run(folder)


def test_a_forced_run_that_fails_or_is_killed_in_its_first_epoch_leaves_the_run_before(folder, before, checkout):
    told = Failing()
    with pytest.raises(DeviceError):
        train.fit(tiny.config(folder, seed=5), told, force=True)
    assert files_of_run(folder) == before
    assert told.about("run: the run there stays until this one saves its first checkpoint")

    tests = (checkout / "tests", checkout / "tests" / "training")
    done = subprocess.run([sys.executable, "-c", KILLED, folder, "4", *tests])
    assert done.returncode == -signal.SIGKILL
    assert files_of_run(folder) == before
    # In its second epoch it has saved the first one.
    done = subprocess.run([sys.executable, "-c", KILLED, folder, "8", *tests])
    assert done.returncode == -signal.SIGKILL
    sidecar = json.loads((folder / "run.json").read_text())
    assert [epoch["epoch"] for epoch in sidecar["epochs"]] == [1] and sidecar["config"]["seed"] == 5
    assert not (folder / "run-0003.params").exists()


@pytest.mark.parametrize("method", ["finetune", "lp-ft"])
def test_a_forced_run_that_a_full_disk_ends_leaves_the_run_before(folder, before, checkout, method):
    script = [sys.executable, "-c", FULL_DISK, folder, method, checkout / "tests"]
    done = subprocess.run(script, capture_output=True, text=True)
    assert done.stdout == (
        f"{folder}/run: a checkpoint cannot be written: File too large; the run that is to be replaced is kept: make "
        "room, then start again as before\n"
    ), done.stderr
    assert before.items() <= files_of_run(folder).items()


@pytest.mark.parametrize(("method", "part"), [("finetune", "epoch 1/3"), ("lp-ft", "features")])
def test_a_forced_run_that_fails_leaves_the_log_and_the_events_of_the_run_before(folder, method, part):
    log, events = folder / "run.log", folder / "tb"
    given = {"tensorboard": str(events), "method": method}
    if method == "lp-ft":
        given |= {"optimizer": None, "lr": None}
    with ConsoleProgress(str(log)) as progress:
        train.fit(tiny.config(folder, **given), progress)
    told, shown = log.read_text(), scalars(events / "run")
    # Otherwise there are no vectors left to compute.
    Path(RunFiles(str(folder / "run")).features).unlink(missing_ok=True)
    with pytest.raises(DeviceError), FailsAt(str(log), part) as progress:
        train.fit(tiny.config(folder, **given, seed=5), progress, force=True)
    assert (log.read_text(), scalars(events / "run")) == (told, shown)
    # What is told before the first checkpoint is there once that is.
    with ConsoleProgress(str(log)) as progress:
        train.fit(tiny.config(folder, **{**given, "num_epoch": 2}, seed=5), progress, force=True)
    added = log.read_text().removeprefix(told)
    assert added.index("images to train on") < added.index("epoch 1/2")
    now = scalars(events / "run")
    assert [step for step, _ in now["train/loss"]] == [0] and now["train/loss"] != shown["train/loss"]


def test_a_forced_run_that_is_stopped_in_its_first_epoch_goes_on_as_if_nothing_had_happened(folder, before):
    stop = StopRequest()
    with pytest.raises(Interrupted, match=r"in epoch 1 after batch 2, and saved; continue with `resume`"):
        train.fit(tiny.config(folder, seed=5), StopAfter(stop, 2), force=True, stop=stop)
    assert not (folder / "run-0003.params").exists()
    train.resume(folder / "run", progress=SILENT)
    train.fit(tiny.config(folder, "whole", seed=5), SILENT)
    for ending in ("params", "states"):
        one, other = (params_file.read_params(str(folder / f"{name}-0003.{ending}")) for name in ("run", "whole"))
        assert {name: array.asnumpy().tobytes() for name, array in one.items()} == {
            name: array.asnumpy().tobytes() for name, array in other.items()
        }


def test_a_forced_run_that_diverges_leaves_the_run_before_unless_it_recovers(folder, before):
    with pytest.raises(TrainingError, match=r"diverged again in epoch 1.*no epoch was finished: start a new run with"):
        train.fit(tiny.config(folder, lr=1000.0), SILENT, force=True)
    assert files_of_run(folder) == before
    told = Told()
    train.fit(tiny.config(folder, lr=5.0, mom=0.5, num_epoch=2), told, force=True)
    [note] = told.about("training diverged in epoch 1")
    assert note.endswith("no epoch was saved, so it begins again, with `lr` 0.5 instead of 5")
    sidecar = json.loads((folder / "run.json").read_text())
    assert len(sidecar["diverged"]) == 1 and len(sidecar["epochs"]) == 2


def test_nothing_of_the_run_before_is_shown_once_a_forced_run_has_taken_its_place(folder, before):
    """Its picture is drawn at the end, or after half a minute; until then there is none."""
    seen = []
    train.fit(
        tiny.config(folder, seed=5),
        SILENT,
        force=True,
        callbacks=[lambda row: seen.append((row["epoch"], (folder / "run-curves.png").exists()))],
    )
    assert seen == [(1, False), (2, False), (3, True)]
    stop = StopRequest()
    with pytest.raises(Interrupted):
        train.fit(tiny.config(folder, seed=5), StopAfter(stop, 2), force=True, stop=stop)
    assert not (folder / "run-history.csv").exists() and not (folder / "run-curves.png").exists()
