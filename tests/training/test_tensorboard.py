"""The event files of a run, read back by an independent reader: what they hold, and resumed runs."""

from __future__ import annotations

import json
import resource
import sys
from typing import Any

import numpy as np
import pytest
import tiny
from event_files import scalars
from told import StopAfter, Told

from mxml.data.label_names import write_label_names
from mxml.errors import CheckpointError, Interrupted, SetupError, StorageError
from mxml.progress import SILENT
from mxml.training import fit as train
from mxml.training.history import COLUMNS
from mxml.training.signals import StopRequest
from mxml.training.tensorboard import EventLog, run_folder

NAMES = ("dark red", "dark_red", "Düne/1")


@pytest.fixture
def folder(folder):
    write_label_names(folder / "lists" / "labels.txt", NAMES)
    return folder


def close(one, other):
    """Compare series of (step, value); values are float32 in the files."""
    assert one.keys() == other.keys()
    for tag, points in one.items():
        assert [step for step, _ in points] == [step for step, _ in other[tag]], tag
        np.testing.assert_allclose([v for _, v in points], [v for _, v in other[tag]], rtol=1e-6, err_msg=tag)


def test_the_scalars_are_those_of_the_run(folder):
    rows: list[Any] = []
    train.fit(tiny.config(folder, tensorboard=str(folder / "tb"), num_epoch=5), SILENT, callbacks=[rows.append])
    found = scalars(folder / "tb" / "run")
    # Five steps per epoch; the loss of every tenth step.
    assert [step for step, _ in found["train/loss"]] == [0, 10, 20]
    assert [step for step, _ in found["train/lr"]] == [0, 10, 20]
    assert found["train/loss"][0][1] == pytest.approx(np.log(2), rel=1e-6), "the head starts at zero"
    epochs = [5, 10, 15, 20, 25]
    expected = {
        "validation/mAP": "mAP", "validation/loss": "val_loss", "epoch/train_loss": "train_loss",
        **{f"AP/{name}": f"AP {name}" for name in NAMES},
    }  # fmt: skip
    close(
        {tag: found[tag] for tag in expected},
        {tag: [(step, row[column]) for step, row in zip(epochs, rows)] for tag, column in expected.items()},
    )
    lr = [value for _, value in found["train/lr"]]
    assert lr == sorted(lr, reverse=True) and lr[0] == pytest.approx(0.05)


def without_rates(found):
    return {tag: points for tag, points in found.items() if "images_per_second" not in tag}


@pytest.mark.parametrize("steps", [2, 10, 13])
def test_a_stopped_run_goes_on_without_a_step_twice(folder, steps):
    """What the resumed run has computed again is there once, and all is as in the run that was never stopped."""
    options: dict[str, Any] = {"num_epoch": 4, "tensorboard": str(folder / "tb")}
    train.fit(tiny.config(folder, "whole", **options), SILENT)
    stop = StopRequest()
    with pytest.raises(Interrupted):
        train.fit(tiny.config(folder, **options), StopAfter(stop, steps), stop=stop)
    train.resume(folder / "run", progress=SILENT)
    assert len(list((folder / "tb" / "run").iterdir())) == 2
    close(without_rates(scalars(folder / "tb" / "run")), without_rates(scalars(folder / "tb" / "whole")))


def test_a_run_killed_after_its_sidecar_was_written_gets_that_epochs_scalars(folder):
    train.fit(tiny.config(folder, num_epoch=1, lr_schedule="constant"), SILENT)
    train.resume(folder / "run", {"num_epoch": 2, "tensorboard": str(folder / "tb")}, SILENT)
    found = scalars(folder / "tb" / "run")
    assert [step for step, _ in found["validation/mAP"]] == [5, 10]
    assert json.loads((folder / "run.json").read_text())["config"]["tensorboard"] == "tb"


def test_steps_of_a_killed_run_that_are_computed_again_count_once(tmp_path):
    """The process is killed after step 40; its last epoch ended at step 25."""
    none = dict.fromkeys(COLUMNS)
    rows = {25: {**none, "mAP": 0.5, "AP a": None}, 10: {**none, "mAP": 0.25, "AP a": 0.125}}
    with EventLog(str(tmp_path / "tb"), str(tmp_path / "run"), SILENT) as log:
        log.begin(0, {})
        log.begin_file()
        for step in range(40):
            log.step(step, step / 10, 0.5)
            if step + 1 in rows:
                log.epoch(step + 1, rows[step + 1])
    for value in (2.0, 3.0):
        with EventLog(str(tmp_path / "tb"), str(tmp_path / "run"), SILENT) as log:
            log.begin(25, rows)
            log.begin_file()
            log.step(30, value, 0.25)
    assert scalars(tmp_path / "tb" / "run") == {
        "train/loss": [(0, 0.0), (10, 1.0), (20, 2.0), (30, 3.0)],
        "train/lr": [(0, 0.5), (10, 0.5), (20, 0.5), (30, 0.25)],
        "validation/mAP": [(10, 0.25), (25, 0.5)],
        "AP/a": [(10, 0.125)],
    }


def test_a_new_run_on_the_prefix_replaces_the_scalars_of_the_old_one(folder):
    options: dict[str, Any] = {"tensorboard": str(folder / "tb"), "num_epoch": 2}
    train.fit(tiny.config(folder, **{**options, "num_epoch": 3}), SILENT)
    train.fit(tiny.config(folder, **options, seed=1), SILENT, force=True)
    assert [step for step, _ in scalars(folder / "tb" / "run")["validation/mAP"]] == [5, 10]


def test_each_run_has_a_folder_of_its_own():
    assert run_folder("/x/tb", "/x/runs/a/model") == "/x/tb/runs/a/model"
    assert run_folder("/x/runs/a/tb", "/x/runs/a/model") == "/x/runs/a/tb/model"
    assert run_folder("/x/tb", "/y/model") == "/x/tb/y/model"


def snapshot(folder):
    return sorted(str(path) for path in folder.rglob("*"))


def test_a_missing_library_or_a_folder_that_is_none_is_said_before_anything_is_written(folder, monkeypatch):
    (folder / "file").touch()
    before = snapshot(folder)
    with pytest.raises(StorageError, match=r"/file: cannot hold folders or files; choose another `tensorboard`"):
        train.fit(tiny.config(folder, tensorboard=str(folder / "file" / "tb")), SILENT)
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(SetupError, match=r"`tensorboard` needs the package tensorboardX .*: pip install"):
        train.fit(tiny.config(folder, tensorboard=str(folder / "tb")), SILENT)
    told = Told()
    with pytest.raises(SetupError):
        train.fit(tiny.config(folder, tensorboard=str(folder / "tb"), preset=None), told)
    assert not told.parts, "nothing slow comes before it"
    assert snapshot(folder) == before


def test_a_full_disk_costs_the_events_and_not_the_run(tmp_path):
    progress = Told()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with EventLog(str(tmp_path / "tb"), str(tmp_path / "run"), progress) as log:
        log.begin(0, {})
        log.begin_file()
        try:
            # Python ignores the signal, and the write fails as on a full disk.
            resource.setrlimit(resource.RLIMIT_FSIZE, (60, limits[1]))
            for epoch in range(3):
                log.epoch(epoch, {**dict.fromkeys(COLUMNS), "mAP": 0.5})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    (note,) = progress.notes
    assert note.startswith(f"{tmp_path}/tb/run: cannot be written: ")
    assert note.endswith("; the run goes on without TensorBoard")


def test_a_sidecar_cannot_send_the_events_elsewhere(folder):
    elsewhere = folder.parent / f"{folder.name}-elsewhere"
    train.fit(tiny.config(folder, num_epoch=1, tensorboard=str(elsewhere), lr_schedule="constant"), SILENT)
    with pytest.raises(CheckpointError, match=r"TensorBoard folder lies outside .*`resume` .*`tensorboard` "):
        train.resume(folder / "run", {"num_epoch": 2}, SILENT)
    train.resume(folder / "run", {"num_epoch": 2, "tensorboard": str(elsewhere)}, SILENT)
    (events,) = {path.parent for path in elsewhere.rglob("*tfevents*")}
    assert [step for step, _ in scalars(events)["validation/mAP"]] == [5, 10]
