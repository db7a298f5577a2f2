"""A run that is to replace another one: what is there until the new one has something to go on from."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest
import tiny
from told import StopAfter, Told

from mxml.errors import DeviceError, Interrupted, TrainingError
from mxml.model import params_file
from mxml.progress import SILENT
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
        train.fit(tiny.config(folder, lr=1e30), SILENT, force=True)
    assert files_of_run(folder) == before
    told = Told()
    train.fit(tiny.config(folder, lr=5.0, mom=0.5, num_epoch=2), told, force=True)
    [note] = told.about("training diverged in epoch 1")
    assert note.endswith("no epoch was saved, so it begins again, with `lr` 0.5 instead of 5")
    sidecar = json.loads((folder / "run.json").read_text())
    assert len(sidecar["diverged"]) == 1 and len(sidecar["epochs"]) == 2
