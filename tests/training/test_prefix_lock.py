"""One run at a time works on a prefix."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time

import pytest
import tiny

from mxml.errors import MxmlError, TrainingError
from mxml.model.prefix_lock import is_at_work, locked
from mxml.progress import SILENT
from mxml.training import fit as train


def test_a_second_run_on_a_prefix_is_refused_in_one_line_and_the_first_goes_on(folder):
    refused = []

    def second_run(row):
        assert (folder / "run.lock").exists()
        if row["epoch"] == 1:
            command = [sys.executable, "-m", "mxml", "train", "--prefix", "run", "--resume"]
            refused.append(subprocess.run(command, cwd=folder, capture_output=True, text=True))
        for again in (
            lambda: train.resume(folder / "run", progress=SILENT),
            lambda: train.fit(tiny.config(folder), SILENT, force=True),
        ):
            with pytest.raises(TrainingError, match=r"run\.lock: another run is at work on this prefix"):
                again()

    result = train.fit(tiny.config(folder, num_epoch=2), SILENT, callbacks=[second_run])
    assert result.epochs == 2
    assert refused[0].returncode == 1
    assert refused[0].stderr.splitlines()[-1].startswith("mxml: run.lock: another run is at work on this prefix")
    assert "Traceback" not in refused[0].stderr
    assert not (folder / "run.lock").exists()
    assert train.resume(folder / "run", progress=SILENT).epochs == 2


def test_the_file_of_a_killed_run_locks_nothing(folder):
    (folder / "run.lock").touch()
    assert train.fit(tiny.config(folder, num_epoch=1), SILENT).epochs == 1
    assert not (folder / "run.lock").exists()


def test_a_run_is_not_refused_because_somebody_looks_at_it(tmp_path, monkeypatch):
    looker = (tmp_path / "run.lock").open("w")
    fcntl.flock(looker, fcntl.LOCK_SH)
    # Looking is over by the time that the run tries again.
    monkeypatch.setattr(time, "sleep", lambda seconds: looker.close())
    with locked(str(tmp_path / "run"), SILENT):
        assert looker.closed and is_at_work(str(tmp_path / "run"))
    assert not is_at_work(str(tmp_path / "run"))


def test_looking_at_a_pipe_that_has_the_locks_name_does_not_wait(tmp_path):
    os.mkfifo(tmp_path / "run.lock")
    assert not is_at_work(str(tmp_path / "run"))


def test_a_run_that_cannot_begin_leaves_no_folder(folder):
    config = tiny.config(folder, "new/deep/run", model=str(folder / "missing"))
    with pytest.raises(MxmlError, match="missing-symbol"):
        train.fit(config, SILENT)
    assert not (folder / "new").exists()
