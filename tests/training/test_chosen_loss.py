"""Runs with each loss and its settings: what they learn, what is recorded, how they resume, what is refused."""

import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import tiny
from sklearn.metrics import log_loss
from told import StopAfter, Told

import mxml
from mxml.data.image_list import ImageList
from mxml.data.lst_file import read_lst, write_lst
from mxml.errors import Interrupted, MxmlError, SettingError
from mxml.model import params_file
from mxml.progress import SILENT
from mxml.training import fit as train
from mxml.training.chosen_loss import counted_weights, loss_of
from mxml.training.config import TrainConfig
from mxml.training.signals import StopRequest

VARIANTS: list[dict[str, Any]] = [
    {"pos_weight": (0.5, 2.0, 3.0)},
    {"pos_weight": "auto", "label_smoothing": 0.1},
    {"loss": "asymmetric"},
    {"loss": "focal", "gamma": 1.0, "alpha": 0.4},
]


def sidecar(folder, name="run"):
    return json.loads((folder / f"{name}.json").read_text())


def params(folder, name, kind="params"):
    arrays = params_file.read_params(folder / f"{name}-0002.{kind}")
    return {key: array.asnumpy().tobytes() for key, array in arrays.items()}


@pytest.mark.parametrize("changes", VARIANTS, ids=str)
def test_a_run_learns_with_every_loss_and_validates_with_plain_cross_entropy(folder, changes):
    result = train.fit(tiny.config(folder, num_epoch=6, keep="all", **changes), SILENT)
    epochs = [epoch["metrics"] for epoch in sidecar(folder)["epochs"]]
    assert epochs[-1]["train_loss"] < epochs[0]["train_loss"]
    assert result.best["mAP"] > 0.95
    classifier = mxml.Classifier.load(str(folder / "run"), 6)
    images = read_lst(folder / "lists" / "val.lst", str(folder / "images"))
    scores = classifier.scores(images).probabilities.astype(np.float64)
    plain = np.mean([log_loss(images.labels[:, c], scores[:, c]) for c in range(3)])
    assert epochs[-1]["val"]["loss"] == pytest.approx(plain, rel=1e-5)


def test_the_first_step_has_the_loss_that_was_chosen(folder):
    """At the zero head every p is 1/2: present labels cost 1/2^g+ log 2, absent ones r^g- log 1/(1 - r), r = 0.45."""
    labels = read_lst(folder / "lists" / "train.lst", str(folder / "images")).labels
    share = float(labels.mean())
    small: dict[str, Any] = {"num_epoch": 1, "lr": 1e-12, "rand_crop": False}
    train.fit(tiny.config(folder, loss="asymmetric", gamma_pos=1.0, **small), SILENT)
    wanted = share * 0.5 * np.log(2) - (1 - share) * 0.45**4 * np.log(0.55)
    assert sidecar(folder)["epochs"][0]["metrics"]["train_loss"] == pytest.approx(wanted, rel=1e-5)
    smooth = tiny.config(folder, "other", loss="asymmetric", gamma_pos=1.0, label_smoothing=0.2, **small)
    train.fit(smooth, SILENT)
    share = share * 0.8 + 0.1
    wanted = share * 0.5 * np.log(2) - (1 - share) * 0.45**4 * np.log(0.55)
    assert sidecar(folder, "other")["epochs"][0]["metrics"]["train_loss"] == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize(
    "changes",
    [{"loss": "asymmetric", "label_smoothing": 0.1}, {"pos_weight": "auto", "optimizer": "adamw", "lr": 0.01}],
    ids=str,
)
@pytest.mark.parametrize("steps", [3, 5, 7])
def test_a_stopped_run_resumes_bit_for_bit_with_its_own_loss(folder, changes, steps):
    options: dict[str, Any] = {"num_epoch": 2, **changes}
    train.fit(tiny.config(folder, "whole", **options), SILENT)
    stop = StopRequest()
    with pytest.raises(Interrupted):
        train.fit(tiny.config(folder, "run", **options), StopAfter(stop, steps), stop=stop)
    # As by the same command with --resume added; auto stands for the numbers that the run has.
    train.fit(tiny.config(folder, "run", **options), SILENT, resume=True)
    for kind in ("params", "states"):
        assert params(folder, "run", kind) == params(folder, "whole", kind)
    for one, other in zip(sidecar(folder, "whole")["epochs"], sidecar(folder)["epochs"]):
        assert one["metrics"]["train_loss"] == other["metrics"]["train_loss"]
    plain = {**options, "loss": "bce", "pos_weight": None, "label_smoothing": 0.0}
    train.fit(tiny.config(folder, "plain", **plain), SILENT)
    assert params(folder, "run") != params(folder, "plain")


def test_the_sidecar_holds_numbers_and_an_epoch_more_needs_nothing_else(folder):
    progress = Told()
    train.fit(tiny.config(folder, num_epoch=1, pos_weight="auto"), progress)
    labels = read_lst(folder / "lists" / "train.lst", str(folder / "images")).labels
    weights = [float((column == 0).sum() / (column == 1).sum()) for column in labels.T]
    assert sidecar(folder)["config"]["pos_weight"] == weights
    assert f"weights of present labels: {min(weights):.3g} to {max(weights):.3g}, " in " ".join(progress.notes)
    assert train.resume(folder / "run", {"num_epoch": 2}, SILENT).epochs == 2
    train.fit(tiny.config(folder, "focal", num_epoch=1, loss="focal"), SILENT)
    assert (sidecar(folder, "focal")["config"]["gamma"], sidecar(folder, "focal")["config"]["alpha"]) == (2.0, None)


def test_a_resume_with_another_loss_is_refused(folder):
    train.fit(tiny.config(folder, num_epoch=1, pos_weight=(2.0,)), SILENT)
    refused: list[tuple[dict[str, Any], str]] = [
        ({"pos_weight": "auto"}, "`pos_weight` auto: the run to resume has other weights"),
        ({"pos_weight": (3.0,)}, "`pos_weight` 3: the run to resume has 2"),
        ({"loss": "focal"}, "`loss` focal: the run to resume has bce"),
        ({"gamma": 2.0}, "`gamma` 2: the run to resume has none"),
        ({"label_smoothing": 0.1}, r"`label_smoothing` 0\.1: the run to resume has 0"),
    ]
    for changes, message in refused:
        with pytest.raises(MxmlError, match=message):
            train.resume(folder / "run", {"num_epoch": 2, **changes}, SILENT)
    assert train.resume(folder / "run", {"num_epoch": 2, "pos_weight": (2.0,)}, SILENT).epochs == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gamma_neg": 4.0}, "`gamma_neg` 4: should be left out: it belongs to `loss` asymmetric, and `loss` is bce"),
        ({"loss": "focal", "margin": 0.1}, r"`margin` 0\.1: should be left out: it belongs to `loss` asymmetric"),
        ({"loss": "asymmetric", "alpha": 0.3}, r"`alpha` 0\.3: should be left out: it belongs to `loss` focal"),
        ({"loss": "focal", "pos_weight": "auto"}, "`pos_weight` auto: should be left out: it belongs to `loss` bce"),
        ({"loss": "hinge"}, "`loss` hinge: should be one of bce, asymmetric, focal"),
        ({"loss": "focal", "gamma": -1.0}, "`gamma` -1: should be a number from 0 to 20"),
        ({"loss": "focal", "gamma": float("nan")}, "`gamma` nan: should be a number from 0 to 20"),
        ({"loss": "asymmetric", "margin": 1.0}, r"`margin` 1: should be a number from 0 to 0\.99"),
        ({"label_smoothing": 1.0}, r"`label_smoothing` 1: should be a number from 0 to 0\.99"),
        ({"pos_weight": "automatic"}, "`pos_weight` automatic: should be 1 to 10,000 numbers from 0.001 to 1000"),
        ({"pos_weight": (1.0, 0.0)}, "`pos_weight` 1,0: should be 1 to 10,000 numbers from 0.001 to 1000"),
        ({"pos_weight": ()}, "`pos_weight` .*: should be 1 to 10,000 numbers"),
    ],
)
def test_a_setting_that_is_wrong_or_of_another_loss_is_refused_in_one_line(tmp_path, changes, message):
    with pytest.raises(SettingError, match=message) as raised:
        TrainConfig(**tiny.settings(tmp_path, **changes))
    assert "\n" not in str(raised.value)


def test_weights_have_to_be_one_or_as_many_as_labels(folder):
    with pytest.raises(SettingError, match="`pos_weight` of 2 numbers: should be one number, or 3, one for each label"):
        train.fit(tiny.config(folder, pos_weight=(1.0, 2.0)), SILENT)
    assert not (folder / "run.json").exists()


def test_the_command_line_takes_numbers_or_auto(folder):
    def train_with(*options):
        arguments = tiny.arguments(folder, num_epoch=1)
        command = [sys.executable, "-m", "mxml", "train", *arguments, *options]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    done = train_with("--pos-weight", "auto")
    assert done.returncode == 0, done.stderr
    assert len(sidecar(folder)["config"]["pos_weight"]) == 3
    refused = (
        (["--pos-weight", "high"], "'high' is not auto, or numbers separated by commas"),
        (["--gamma", "3"], "mxml: --gamma 3: should be left out: it belongs to --loss focal, and --loss is bce"),
    )
    for options, message in refused:
        done = train_with(*options)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
        assert message in done.stderr


def test_weights_are_counted_from_known_labels_within_bounds():
    """Columns: 1 of 4 present; unknown ones left out; 1 of 40; 39 of 40; none present; none known."""
    labels = np.zeros((40, 6), np.int8)
    labels[:10, 0] = 1
    labels[:, 1] = [1] * 10 + [0] * 20 + [-1] * 10
    labels[:1, 2] = 1
    labels[:39, 3] = 1
    labels[:, 5] = -1
    assert counted_weights(labels) == (3.0, 2.0, 10.0, 0.1, 10.0, 1.0)


def test_unknown_labels_train_as_if_they_were_not_there(folder):
    """A column of which nothing is known leaves its row of the head at zero, whatever the loss."""
    for name in ("train", "val"):
        path = folder / "lists" / f"{name}.lst"
        images = read_lst(path, str(folder / "images"))
        labels = images.labels.copy()
        labels[:, 1] = -1
        write_lst(path, ImageList.from_rows(list(images.names()), labels, root=images.root))
    for number, changes in enumerate(VARIANTS):
        if len(changes.get("pos_weight", "")) != 3:
            train.fit(tiny.config(folder, f"run{number}", num_epoch=1, **changes), SILENT)
            head = params_file.read_params(folder / f"run{number}-0001.params")["arg:fc_weight"].asnumpy()
            assert not head[1].any()
            assert head[0].any()


def test_the_loss_of_a_config_has_its_own_settings_alone(tmp_path):
    loss, settings = loss_of(tiny.config(tmp_path, loss="asymmetric", gamma_neg=3.0, label_smoothing=0.1))
    assert (loss.name, settings) == (
        "asymmetric",
        {"gamma_pos": 0.0, "gamma_neg": 3.0, "margin": 0.05, "label_smoothing": 0.1},
    )
    loss, settings = loss_of(tiny.config(tmp_path, pos_weight=2))
    assert (loss.name, settings) == ("bce", {"pos_weight": (2.0,)})
