"""A loss that is no longer finite: whose images are named, what is left on disk, and what the next run may do."""

from __future__ import annotations

import json
import re

import pytest
import tiny

from mxml.data import sampling
from mxml.errors import CheckpointError, ModelError, TrainingError
from mxml.model import checkpoint, params_file
from mxml.model.run_files import RunFiles
from mxml.progress import SILENT
from mxml.training import fit as train

TOO_HIGH = 1e10


@pytest.fixture
def folder(tmp_path):
    """Data, and a network whose features are so large that the first update at TOO_HIGH leaves float32's range.

    Until then the head is zero, and so are the logits: nothing that the first batch shows is out of order.
    """
    tiny.make_data(tmp_path)
    params = params_file.read_params(tmp_path / "net-0000.params")
    params["arg:bn0_gamma"] *= 1e30
    params_file.write_params(tmp_path / "net-0000.params", params)
    return tmp_path


def named(error):
    """Return the epoch, the batch and the images that the message names."""
    found = re.search(r"in epoch (\d+): the loss is not finite after batch (\d+) \(images (.*)\); start", str(error))
    assert found
    return int(found[1]), int(found[2]), found[3].split(", ")


def images_of_first_batch(folder, size):
    order = sampling.epoch_order(40, 0, 1, True)
    return [str(folder / "images" / f"1-{position}.png") for position in order[:size]]


def test_the_images_are_those_whose_gradient_did_it(folder):
    with pytest.raises(TrainingError) as caught:
        train.fit(tiny.config(folder, lr=TOO_HIGH), SILENT)
    assert named(caught.value) == (1, 1, images_of_first_batch(folder, 8))
    assert str(caught.value).endswith(
        "; start a new run from the pretrained network with `force` and a lower `lr`, such as 1e+09"
    )
    assert RunFiles(str(folder / "run")).epochs_on_disk() == []


def test_the_last_update_of_an_epoch_is_looked_at_before_anything_is_saved(folder):
    with pytest.raises(TrainingError) as caught:
        train.fit(tiny.config(folder, lr=TOO_HIGH, batch_size=40), SILENT)
    epoch, batch, images = named(caught.value)
    assert (epoch, batch) == (1, 1)
    assert images[:7] == images_of_first_batch(folder, 7)
    assert images[7].endswith(" and 32 more")
    assert RunFiles(str(folder / "run")).epochs_on_disk() == []


def test_finite_parameters_that_are_too_large_are_found_in_validation(folder):
    # The update makes weights of some 1e36, which the features bring beyond what a float32 holds.
    with pytest.raises(TrainingError, match=r"^training diverged in epoch 1: the loss is not finite in validation; "):
        train.fit(tiny.config(folder, lr=1e6, batch_size=40), SILENT)
    assert RunFiles(str(folder / "run")).epochs_on_disk() == []
    assert json.loads((folder / "run.json").read_text())["diverged"] == 1


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
    assert json.loads((folder / "run.json").read_text())["diverged"] is None


def test_a_pause_never_holds_what_is_not_finite(folder):
    stop = train.StopRequest()
    stop.number = 15
    with pytest.raises(TrainingError, match="diverged in epoch 1"):
        train.fit(tiny.config(folder, lr=TOO_HIGH), SILENT, stop=stop)
    assert not list(folder.glob("run-paused*"))


def test_a_diverged_run_is_not_resumed_and_a_new_one_needs_no_force(folder, capfd):
    with pytest.raises(TrainingError):
        train.fit(tiny.config(folder, lr=TOO_HIGH), SILENT)
    for go_on in (
        lambda: train.resume(folder / "run", progress=SILENT),
        lambda: train.fit(tiny.config(folder, lr=TOO_HIGH), SILENT, resume=True),
    ):
        with pytest.raises(
            TrainingError,
            match=r"^training diverged in epoch 1: .*repeat that; start a new run .* with `force` and a lower `lr`",
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
    assert json.loads((folder / "run.json").read_text())["diverged"] is None


def test_a_run_that_diverged_later_keeps_its_epochs_and_says_where_to_start(folder):
    tiny.make_network(folder / "net")
    train.fit(tiny.config(folder, num_epoch=2), SILENT)
    path = folder / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "diverged": 3}))
    with pytest.raises(
        TrainingError, match=r"in epoch 3: .*would repeat that; .* with `force` and a lower `lr`, such as 0\.005$"
    ):
        train.resume(folder / "run", {"num_epoch": 4}, SILENT)
    with pytest.raises(CheckpointError, match=r"run\.json: already exists"):
        train.fit(tiny.config(folder), SILENT)
    assert checkpoint.load(str(folder / "run")).epoch in (1, 2)
