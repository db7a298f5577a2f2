"""A loss that is no longer finite: whose images are named, what is left on disk, and what the next run may do."""

from __future__ import annotations

import contextlib
import json
import re
from typing import Any

import numpy as np
import pytest
import tiny
from told import StopAfter, Told

from mxml.data import sampling
from mxml.errors import CheckpointError, Interrupted, ModelError, TrainingError
from mxml.model import checkpoint, losses, params_file
from mxml.model.run_files import RunFiles
from mxml.model.sidecar import Epoch
from mxml.progress import SILENT
from mxml.training import divergence
from mxml.training import fit as train
from mxml.training.divergence import LossLimit

TOO_HIGH: dict[str, Any] = {"lr": 1000.0, "head_lr_mult": 1000.0}
# For the tiny network as it is: a tenth of it is a high rate, yet trains.
SURVIVABLE: dict[str, Any] = {"lr": 5.0, "mom": 0.5}


@pytest.fixture
def folder(folder):
    """Data, and a network whose features are so large that the first update at TOO_HIGH leaves float32's range.

    Until then the head is zero, and so are the logits: nothing that the first batch shows is out of order.
    """
    params = params_file.read_params(folder / "net-0000.params")
    params["arg:bn0_gamma"] *= 1e35
    params_file.write_params(folder / "net-0000.params", params)
    return folder


def named(text):
    """Return the epoch, the batch and the images that a message names."""
    found = re.search(
        r"diverged (?:again )?in epoch (\d+).*: the loss is not finite after batch (\d+) \(images (.*?)\);", text
    )
    assert found, text
    return int(found[1]), int(found[2]), found[3].split(", ")


def images_of_first_batch(folder, size):
    order = sampling.epoch_order(40, 0, 1, True)
    return [str(folder / "images" / f"1-{position}.png") for position in order[:size]]


def records(folder):
    return json.loads((folder / "run.json").read_text())["diverged"]


def test_the_images_are_those_whose_gradient_did_it(folder):
    told = Told()
    with pytest.raises(TrainingError) as caught:
        train.fit(tiny.config(folder, **TOO_HIGH), told)
    (first,) = (note for note in told.notes if "diverged" in note)
    for message in (first, str(caught.value)):
        assert named(message) == (1, 1, images_of_first_batch(folder, 8))
    assert first.endswith("; no epoch was saved, so it begins again, with `lr` 100 instead of 1000")
    assert str(caught.value).startswith("training diverged again in epoch 1, with `lr` 100: ")
    assert str(caught.value).endswith("; no epoch was finished: start a new run with a lower `lr`, such as 10")
    assert RunFiles(str(folder / "run")).epochs_on_disk() == []


def test_the_last_update_of_an_epoch_is_looked_at_before_anything_is_saved(folder):
    with pytest.raises(TrainingError) as caught:
        train.fit(tiny.config(folder, **TOO_HIGH, batch_size=40), SILENT)
    epoch, batch, images = named(str(caught.value))
    assert (epoch, batch) == (1, 1)
    assert images[:7] == images_of_first_batch(folder, 7)
    assert images[7].endswith(" and 32 more")
    assert RunFiles(str(folder / "run")).epochs_on_disk() == []


def test_finite_parameters_that_are_too_large_are_found_in_validation(folder):
    # The update makes weights of some 1e35, which the features bring beyond what a float32 holds.
    told = Told()
    with pytest.raises(TrainingError, match=r"^training diverged again in epoch 1, .* finite in validation; "):
        train.fit(tiny.config(folder, lr=1.0, batch_size=40), told)
    assert any(
        "diverged in epoch 1: the loss is not finite in validation; no epoch was saved" in note for note in told.notes
    )
    assert RunFiles(str(folder / "run")).epochs_on_disk() == []
    assert [entry["epoch"] for entry in records(folder)] == [1, 1]


def test_another_fault_in_validation_is_no_divergence(folder):
    class Failing:
        def start(self, total, what, done=0):
            self.what = what

        def advance(self, count=1, detail=""):
            if self.what == "validation":
                raise ModelError("MXNet cannot run the network")

        def note(self, text):
            pass

    tiny.make_network(folder / "net")
    with pytest.raises(ModelError, match="cannot run"):
        train.fit(tiny.config(folder), Failing())
    assert records(folder) == []


def test_a_pause_never_holds_what_is_not_finite(folder):
    stop = train.StopRequest()
    with pytest.raises(TrainingError, match="diverged again in epoch 1"):
        train.fit(tiny.config(folder, **TOO_HIGH), StopAfter(stop, 1), stop=stop)
    assert not list(folder.glob("run-paused*"))


def same_files(folder, one, other, epoch):
    return all(
        (folder / f"{one}-{epoch:04d}.{ending}").read_bytes() == (folder / f"{other}-{epoch:04d}.{ending}").read_bytes()
        for ending in ("params", "states")
    )


def test_a_run_survives_one_and_goes_on_as_one_that_had_a_tenth_of_the_rate(folder):
    tiny.make_network(folder / "net")
    told = Told()
    train.fit(tiny.config(folder, num_epoch=2, **SURVIVABLE), told)
    (entry,) = records(folder)
    assert (entry["epoch"], entry["lr_factor"]) == (1, pytest.approx(0.1))
    assert "the loss" in entry["what"]
    train.fit(tiny.config(folder, "lower", num_epoch=2, **{**SURVIVABLE, "lr": SURVIVABLE["lr"] * 0.1}), SILENT)
    assert same_files(folder, "run", "lower", 2)
    notes = [note for note in told.notes if note.startswith(("training diverged", "starting from", "epoch"))]
    assert [note.split()[0] for note in notes] == ["starting", "training", "starting", "epoch", "epoch"]
    sidecar = json.loads((folder / "run.json").read_text())
    assert sidecar["finished"] is True
    assert checkpoint.load(str(folder / "run")).epoch == sidecar["best_epoch"]


def test_a_run_killed_after_it_survived_resumes_at_the_lower_rate(folder):
    def stop_at_once(row):
        stop.number = 15

    tiny.make_network(folder / "net")
    stop = train.StopRequest()
    with pytest.raises(Interrupted):
        train.fit(tiny.config(folder, num_epoch=3, **SURVIVABLE), SILENT, stop=stop, callbacks=[stop_at_once])
    assert len(records(folder)) == 1
    train.resume(folder / "run", progress=SILENT)
    train.fit(tiny.config(folder, "whole", num_epoch=3, **SURVIVABLE), SILENT)
    assert same_files(folder, "run", "whole", 3)
    assert len(records(folder)) == 1
    # A new run on the prefix has nothing of that.
    train.fit(tiny.config(folder, num_epoch=1), SILENT, force=True)
    assert records(folder) == []


def test_a_run_that_ended_is_not_resumed_and_a_new_one_needs_no_force(folder, capfd):
    with pytest.raises(TrainingError):
        train.fit(tiny.config(folder, **TOO_HIGH), SILENT)
    for go_on in (
        lambda: train.resume(folder / "run", progress=SILENT),
        lambda: train.fit(tiny.config(folder, **TOO_HIGH), SILENT, resume=True),
    ):
        with pytest.raises(
            TrainingError,
            match=r"run diverged in epochs 1 and 1, .*repeat that; no epoch .* a lower `lr`, such as 10$",
        ):
            go_on()
    tiny.make_network(folder / "net")
    capfd.readouterr()
    train.fit(tiny.config(folder, num_epoch=1))
    assert (
        f"{folder / 'run.json'}: belongs to a run that finished no epoch; the new run replaces it\n"
        in capfd.readouterr().err
    )
    assert checkpoint.load(str(folder / "run")).epoch == 1
    assert records(folder) == []


def test_a_run_that_ended_later_keeps_its_best_epoch_and_says_where_to_start(folder):
    tiny.make_network(folder / "net")
    train.fit(tiny.config(folder, num_epoch=2), SILENT)
    path = folder / "run.json"
    entries = [
        {"epoch": 3, "step": 12, "what": "the loss is not finite", "lr_factor": factor} for factor in (0.1, 0.01)
    ]
    path.write_text(json.dumps({**json.loads(path.read_text()), "diverged": entries}))
    best = checkpoint.load(str(folder / "run")).epoch
    with pytest.raises(
        TrainingError,
        match=rf"epochs 3 and 3, .*best epoch so far, {best}, .* `model` .*run, `epoch` {best}, .*, such as 0\.0005,",
    ):
        train.resume(folder / "run", {"num_epoch": 4}, SILENT)
    with pytest.raises(CheckpointError, match=r"run\.json: already exists"):
        train.fit(tiny.config(folder), SILENT)
    more = tiny.config(folder, "more", model=str(folder / "run"), epoch=best, num_epoch=best + 1, lr=0.0005)
    assert train.fit(more, SILENT).best_epoch == best + 1


def test_a_run_that_ends_so_after_an_epoch_has_its_picture(folder):
    tiny.make_network(folder / "net")
    train.fit(tiny.config(folder, num_epoch=1), SILENT)
    (folder / "run-curves.png").unlink()
    path = folder / "run.json"
    saved = json.loads(path.read_text())
    saved["config"].update(TOO_HIGH)
    first = {"epoch": 2, "step": 5, "what": "the loss is not finite", "lr_factor": 0.1}
    path.write_text(json.dumps({**saved, "diverged": [first]}))
    with pytest.raises(TrainingError, match="diverged again in epoch 2, with `lr` 100: "):
        train.resume(folder / "run", {"num_epoch": 3}, SILENT)
    assert (folder / "run-curves.png").exists()


def test_a_run_that_an_earlier_mxml_gave_up_goes_on_at_a_tenth_of_the_rate(folder):
    tiny.make_network(folder / "net")
    train.fit(tiny.config(folder, num_epoch=2, lr_schedule="constant"), SILENT)
    path = folder / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "diverged": 3}))
    train.resume(folder / "run", {"num_epoch": 3}, SILENT)
    epochs = json.loads(path.read_text())["epochs"]
    assert [epoch["metrics"]["lr"] for epoch in epochs] == pytest.approx([0.05, 0.05, 0.005])
    assert records(folder) == [{"epoch": 3, "step": 0, "what": "the loss is not finite", "lr_factor": 0.1}]


def entry(epoch, loss):
    return Epoch(epoch, epoch, {"val": {"loss": loss}}, {})


def test_epochs_on_the_way_to_a_divergence_are_left_out():
    run = [entry(1, 0.6), entry(2, 0.3), entry(3, 0.5), entry(4, 0.9)]

    def good(best, last):
        return [kept.epoch for kept in divergence.good_epochs(run[:last], best)]

    assert good(2, 4) == [1, 2, 3]
    assert good(4, 4) == [1, 2, 3, 4]
    assert good(2, 2) == [1, 2]
    assert good(None, 0) == []


def test_a_run_goes_back_before_the_epochs_on_the_way(folder):
    """The head is at rest at first, so that the first epoch is good; a warm-up then makes the rate far too high."""
    tiny.make_network(folder / "net")
    told = Told()
    options: dict[str, Any] = {"num_epoch": 6, "warmup_epochs": 5.0, "lr": 1.0, "ema": 0.0}
    with contextlib.suppress(TrainingError):
        train.fit(tiny.config(folder, **options), told)
    first = next(number for number, note in enumerate(told.notes) if note.startswith("training diverged in"))
    back = int(told.notes[first + 1].removeprefix("resuming after epoch "))
    seen = [float(loss) for loss in re.findall(r"val loss ([\d.]+)", "\n".join(told.notes[:first]))]
    assert f"; it goes back to the end of epoch {back}, with `lr` 0.1 instead of 1" in told.notes[first]
    assert back < len(seen) and seen[-1] > 2 * min(seen)
    assert all(loss <= 2 * min(seen) for loss in seen[back - 1 : back])


BCE = losses.BINARY_CROSS_ENTROPY


def test_far_above_guessing_is_worse_than_all_or_none_of_the_labels_at_95_percent():
    rare = np.zeros((100, 4), np.float32)
    rare[:5] = 1
    # -log(1 - sigmoid(3)) = 3.0486 for 95 of 100, -log(sigmoid(3)) = 0.0486 for the rest.
    assert LossLimit(BCE, {}, rare).limit == pytest.approx(0.95 * 3.0486 + 0.05 * 0.0486, abs=1e-3)
    balanced = np.tile(np.array([[0, 1]], np.float32), (50, 1))
    assert LossLimit(BCE, {}, balanced).limit == pytest.approx(3 * np.log(2))
    unknown = np.where(rare == 0, -1, rare)
    assert LossLimit(BCE, {}, unknown).limit == pytest.approx(3.0486, abs=1e-3)


def test_images_without_a_known_label_do_not_hide_those_that_have_one():
    labels = np.full((5000, 2), -1, np.float32)
    labels[1::5] = 1
    assert LossLimit(BCE, {}, labels).limit == pytest.approx(3.0486, abs=1e-3)


def test_the_recent_loss_reaches_the_limit_by_many_batches_only():
    limit = LossLimit(BCE, {}, np.tile(np.array([[0, 1]], np.float32), (50, 1)))

    def batches_until_above(loss):
        recent, count = 0.0, 0
        while recent <= limit.limit and count < 1000:
            recent, count = limit.recent(recent, loss), count + 1
        return count

    assert batches_until_above(float("1e30")) == 6
    assert 30 < batches_until_above(2 * limit.limit) < 40
    assert batches_until_above(0.99 * limit.limit) == 1000
