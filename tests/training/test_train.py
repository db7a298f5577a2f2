import contextlib
import csv
import json
import shutil
from typing import Any

import numpy as np
import pytest
import tiny
from sklearn.metrics import average_precision_score, f1_score, hamming_loss, log_loss
from told import StopAfter, Told

import mxml
from mxml.data.image_list import ImageList
from mxml.data.lst_file import read_lst, write_lst
from mxml.errors import CheckpointError, Interrupted, ListError, MxmlError, SettingError, TrainingError
from mxml.model import checkpoint, loss_operator, params_file
from mxml.model.run_files import RunFiles
from mxml.progress import SILENT
from mxml.runtime.imports import load_mxnet
from mxml.training import fit as train
from mxml.training.run_data import cache_bytes, open_data
from mxml.training.signals import StopRequest

mx = load_mxnet()


def same_params(first, second):
    first, second = params_file.read_params(first), params_file.read_params(second)
    assert first.keys() == second.keys()
    return all(first[name].asnumpy().tobytes() == second[name].asnumpy().tobytes() for name in first)


def test_a_run_learns_and_leaves_its_files(folder):
    recorder = Told()
    rows: list[Any] = []
    result = train.fit(tiny.config(folder, num_epoch=6, keep="all"), recorder, callbacks=[rows.append])
    assert recorder.steps == 6 * 5
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert rows[result.best_epoch - 1] == result.best
    looking = [("looking for the images", 40, 0), ("looking for the images", 12, 0), ("comparing both lists", 52, 0)]
    both = [("validation without averaging", 10, 0), ("validation", 12, 0)]
    sums = [("sums of images", 40, 0), ("sums of images", 12, 0)]
    assert recorder.parts[:8] == [*looking, *sums, ("epoch 1/6", 40, 0), *both]
    assert recorder.notes[:3] == [
        f"training {folder / 'run'} with mxml {mxml.__version__}",
        "40 images to train on, 12 to validate on, 3 labels",
        f"starting from {folder / 'net'}, epoch 0; features: flatten0",
    ]
    assert [note[:10] for note in recorder.notes[3:]] == [*(f"epoch {epoch}/6:" for epoch in range(1, 7)), "described "]
    assert result.best["mAP"] > 0.95
    for name in ("-symbol.json", "-0001.params", "-0006.states", ".json", "-history.csv", "-curves.png"):
        assert (folder / f"run{name}").stat().st_size > 0
    assert not list(folder.glob(".*.tmp"))
    rows = list(csv.DictReader((folder / "run-history.csv").read_text().splitlines()))
    assert [int(row["epoch"]) for row in rows] == [1, 2, 3, 4, 5, 6]
    assert float(rows[-1]["train_loss"]) < float(rows[0]["train_loss"])
    sidecar = json.loads((folder / "run.json").read_text())
    assert sidecar["label_names"] == ["red", "green", "blue"]
    assert sidecar["best_epoch"] == result.best_epoch
    assert sidecar["finished"] is True
    assert sidecar["data"]["train"]["path"] == "lists/train.lst"


@pytest.mark.parametrize(
    ("steps", "reached"),
    [
        (2, "has finished no epoch yet and ends with epoch 3, or a later one; leave it out, or give 3 or more$"),
        (7, "has finished epoch 1 and ends with epoch 3, or a later one; leave it out, or give 3 or more$"),
        (99, "has finished epoch 3, its last; leave it out, or give 4 or more to train on$"),
    ],
)
def test_fewer_epochs_on_resuming_are_refused_with_how_far_the_run_is(folder, steps, reached):
    stop = StopRequest()
    with contextlib.suppress(Interrupted):
        train.fit(tiny.config(folder, num_epoch=3), StopAfter(stop, steps), stop=stop)
    with pytest.raises(MxmlError, match=rf"^`num_epoch` 1: the run at {folder / 'run'} {reached}"):
        train.resume(folder / "run", {"num_epoch": 1}, SILENT)


def test_the_files_are_those_of_any_mxnet_program(folder):
    train.fit(tiny.config(folder, num_epoch=1))
    symbol, arg_params, aux_params = mx.model.load_checkpoint(str(folder / "run"), 1)
    assert symbol.list_outputs() == ["sig_output"]
    assert set(symbol.list_arguments()) == {*arg_params, "data"}
    assert arg_params["fc_weight"].shape == (3, 8)
    assert sorted(aux_params) == ["bn0_moving_mean", "bn0_moving_var"]


def test_the_metrics_are_scikit_learns(folder):
    train.fit(tiny.config(folder, num_epoch=2))
    classifier = mxml.Classifier.load(str(folder / "run"), 2)
    images = read_lst(folder / "lists" / "val.lst", str(folder / "images"))
    scores = classifier.scores(images, batch_size=5).probabilities.astype(np.float64)
    val = json.loads((folder / "run.json").read_text())["epochs"][1]["metrics"]["val"]
    labels, decided = images.labels, scores >= 0.5
    assert val["samples"] == 12
    assert val["mAP"] == pytest.approx(np.mean([average_precision_score(labels[:, c], scores[:, c]) for c in range(3)]))
    assert val["OF1"] == pytest.approx(f1_score(labels, decided, average="micro"))
    assert val["hamming"] == pytest.approx(hamming_loss(labels, decided))
    assert val["loss"] == pytest.approx(np.mean([log_loss(labels[:, c], scores[:, c]) for c in range(3)]), rel=1e-5)


def test_the_same_seed_gives_the_same_run_whatever_the_decoding_threads(folder):
    train.fit(tiny.config(folder, "a", num_epoch=2, decode_threads=1))
    train.fit(tiny.config(folder, "b", num_epoch=2, decode_threads=3, cache_mb=8))
    train.fit(tiny.config(folder, "c", num_epoch=2, seed=1))
    assert same_params(folder / "a-0002.params", folder / "b-0002.params")
    assert not same_params(folder / "a-0002.params", folder / "c-0002.params")


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("stopped", [(1,), (7,), (10,), (5, "validation")])
def test_a_stopped_run_resumes_bit_for_bit(folder, optimizer, stopped):
    check_that_it_resumes_bit_for_bit(folder, stopped, optimizer=optimizer, lr=0.01)


# Ten of the twelve images to validate on are compared.
@pytest.mark.parametrize(
    ("stopped", "lr"),
    [
        ((5, "validation without averaging"), 0.01),
        # So small a step changes so little that the average counts as no worse, and has the other two.
        ((5, "validation", 10), 0.001),
        ((5, "validation without averaging", 10), 0.01),
    ],
)
def test_a_run_stopped_in_any_part_of_its_validation_resumes_bit_for_bit(folder, stopped, lr):
    check_that_it_resumes_bit_for_bit(folder, stopped, lr=lr)


def check_that_it_resumes_bit_for_bit(folder, stopped, **changes):
    options: dict[str, Any] = {"num_epoch": 3, "keep": "all", **changes}
    train.fit(tiny.config(folder, "whole", **options))
    stop = StopRequest()
    with pytest.raises(Interrupted, match=r"stopped by SIGTERM .*, and saved; continue with `resume`$"):
        train.fit(tiny.config(folder, "run", **options), StopAfter(stop, *stopped), stop=stop)
    assert json.loads((folder / "run.json").read_text())["pause"] is not None
    train.fit(tiny.config(folder, "run", **options), resume=True)
    for epoch in (1, 2, 3):
        assert same_params(folder / f"whole-{epoch:04d}.params", folder / f"run-{epoch:04d}.params")
        assert same_params(folder / f"whole-{epoch:04d}.states", folder / f"run-{epoch:04d}.states")
    whole, run = (json.loads((folder / f"{name}.json").read_text())["epochs"] for name in ("whole", "run"))
    for one, other in zip(whole, run):
        assert one["metrics"]["val"] == other["metrics"]["val"]
        assert one["metrics"]["train_loss"] == other["metrics"]["train_loss"]
    assert not list(folder.glob("run-paused*"))


def test_two_devices_train_as_one(folder):
    # Without what differs between devices by design: dropout's noise, and BatchNorm's statistics of half a batch.
    tiny.make_network(folder / "net", dropout=0.0)
    common = {"num_epoch": 2, "freeze": ("bn0_*",)}
    train.fit(tiny.config(folder, "one", **common))
    train.fit(tiny.config(folder, "two", device="cpu:0,1", **common))
    one, two = (params_file.read_params(folder / f"{name}-0002.params") for name in ("one", "two"))
    for name in one:
        np.testing.assert_allclose(one[name].asnumpy(), two[name].asnumpy(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("device", ["cpu:0,1", "cpu:0,1,2"])
def test_several_devices_stopped_inside_an_epoch_resume_bit_for_bit(folder, device):
    options: dict[str, Any] = {"num_epoch": 2, "device": device}
    train.fit(tiny.config(folder, "whole", **options))
    stop = StopRequest()
    with pytest.raises(Interrupted):
        train.fit(tiny.config(folder, "run", **options), StopAfter(stop, 3), stop=stop)
    train.fit(tiny.config(folder, "run", **options), resume=True)
    assert same_params(folder / "whole-0002.params", folder / "run-0002.params")
    assert same_params(folder / "whole-0002.states", folder / "run-0002.states")


def test_fit_itself_refuses_a_resume_with_other_settings(folder):
    train.fit(tiny.config(folder, num_epoch=1, cache_mb=1))
    before = (folder / "run.json").read_bytes()
    refused: list[tuple[dict[str, Any], str]] = [
        ({"lr": 0.2}, r"`lr` 0\.2: the run to resume has 0\.05, and has to continue with it"),
        ({"num_epoch": 2, "freeze": ("bn0_*",)}, r"`freeze` bn0_\*: the run to resume has none"),
    ]
    for changes, message in refused:
        with pytest.raises(MxmlError, match=message):
            train.fit(tiny.config(folder, **{"num_epoch": 1, **changes}), resume=True)
    with pytest.raises(MxmlError, match=r"`lr` 0\.2: the run to resume has 0\.05"):
        train.resume(folder / "run", {"lr": 0.2})
    with pytest.raises(SettingError, match=r"`lrr` 0\.2: should be left out"):
        train.resume(folder / "run", {"lrr": 0.2})
    assert (folder / "run.json").read_bytes() == before
    assert train.resume(folder / "run", {"num_epoch": 2, "decode_threads": 1}).epochs == 2
    kept = json.loads((folder / "run.json").read_text())["config"]
    assert (kept["lr"], kept["cache_mb"], kept["decode_threads"], kept["num_epoch"]) == (0.05, 1, 1, 2)


def test_a_run_that_never_began_is_begun_by_resume_or_says_what_it_lacks(folder):
    with pytest.raises(SettingError, match=r"missing `model` or `network`, .*; there is no run at .*run to resume"):
        train.resume(folder / "run", {"lr": 0.1})
    settings = {name: value for name, value in tiny.settings(folder, num_epoch=1).items() if name != "prefix"}
    assert train.resume(folder / "run", settings).epochs == 1


def test_another_device_on_resume_is_told(folder):
    train.fit(tiny.config(folder, num_epoch=1, lr_schedule="constant", device="cpu"))
    recorder = Told()
    train.resume(folder / "run", {"num_epoch": 2, "device": "cpu:0,1"}, recorder)
    assert (
        "the run began with device cpu and continues with device cpu:0,1: its parameters will differ by rounding"
    ) in recorder.notes
    recorder = Told()
    train.resume(folder / "run", {"num_epoch": 3}, recorder)
    assert not any("rounding" in note for note in recorder.notes)


def test_another_mxnet_or_number_of_threads_on_resume_is_told(folder):
    train.fit(tiny.config(folder, num_epoch=1), SILENT)
    sidecar = json.loads((folder / "run.json").read_text())
    now = {name: sidecar["versions"][name] for name in ("mxnet", "threads")}
    sidecar["versions"].update(mxnet="1.8.0", threads="77")
    (folder / "run.json").write_text(json.dumps(sidecar))
    recorder = Told()
    train.resume(folder / "run", {"num_epoch": 2}, recorder)
    for name, before in (("mxnet", "1.8.0"), ("threads", "77")):
        said = f"the run began with {name} {before} and continues with {name} {now[name]}: its parameters will differ"
        assert any(note.startswith(said) for note in recorder.notes)


def test_fit_shows_how_it_goes_unless_it_is_told_to_be_silent(folder, capfd):
    train.fit(tiny.config(folder, num_epoch=1), SILENT)
    assert capfd.readouterr() == ("", "")
    assert not (folder / "train.log").exists()
    train.fit(tiny.config(folder, num_epoch=1), force=True)
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith(f"training {folder / 'run'} with mxml {mxml.__version__}\n")
    assert [line[20:] for line in (folder / "train.log").read_text().splitlines()] == err.splitlines()


def test_the_cache_holds_all_the_megabytes_that_it_was_given(folder):
    config = tiny.config(folder, cache_mb=52)
    train_bytes, val_bytes = cache_bytes(config, open_data(config, SILENT))
    assert train_bytes + val_bytes == 52 << 20
    assert train_bytes == 40 << 20


def test_a_replaced_symbol_is_noticed(folder):
    train.fit(tiny.config(folder, num_epoch=1))
    path = folder / "run-symbol.json"
    path.write_text(path.read_text().replace('"relu"', '"tanh"'))
    with pytest.raises(
        CheckpointError, match=r"run-symbol\.json: is damaged or not the run's .*put the run's own symbol back"
    ):
        checkpoint.load(str(folder / "run"))
    with pytest.raises(CheckpointError, match=r"run-symbol\.json: is damaged or not the run's"):
        train.fit(tiny.config(folder, num_epoch=2), resume=True)


def test_a_run_goes_on_without_the_pretrained_network(folder):
    train.fit(tiny.config(folder, num_epoch=1, lr_schedule="constant"))
    (folder / "net-0000.params").unlink()
    (folder / "net-symbol.json").unlink()
    train.fit(tiny.config(folder, num_epoch=2, lr_schedule="constant"), resume=True)
    assert RunFiles(str(folder / "run")).epochs_on_disk() == [2]


def test_force_replaces_a_run_whose_sidecar_is_damaged(folder):
    train.fit(tiny.config(folder, num_epoch=1))
    (folder / "run.json").write_text("{")
    train.fit(tiny.config(folder, num_epoch=1), force=True)
    assert checkpoint.load(str(folder / "run")).epoch == 1


def test_two_devices_resume_bit_for_bit(folder):
    train.fit(tiny.config(folder, "whole", device="cpu:0,1", num_epoch=3, lr_schedule="constant"))
    train.fit(tiny.config(folder, "run", device="cpu:0,1", num_epoch=1, lr_schedule="constant"))
    resumed = tiny.config(folder, "run", device="cpu:0,1", num_epoch=3, lr_schedule="constant")
    train.fit(resumed, resume=True)
    assert same_params(folder / "whole-0003.states", folder / "run-0003.states")
    assert same_params(folder / "whole-0003.params", folder / "run-0003.params")


def test_two_devices_are_validated_with_the_parameters_that_are_saved(folder):
    train.fit(tiny.config(folder, device="cpu:0,1", num_epoch=1))
    written = json.loads((folder / "run.json").read_text())["epochs"][0]["metrics"]["val"]["loss"]
    images = read_lst(folder / "lists" / "val.lst", str(folder / "images"))
    scores = mxml.Classifier.load(str(folder / "run"), 1).scores(images)
    known = np.logaddexp(0, np.where(images.labels == 1, -scores.logits, scores.logits).astype(np.float64))
    assert written == pytest.approx(known.mean(), rel=1e-6)


def test_frozen_layers_stay_as_they_were_and_the_rest_moves(folder):
    train.fit(tiny.config(folder, num_epoch=1, freeze=("conv0_*", "bn0_*")))
    before = params_file.read_params(folder / "net-0000.params")
    after = params_file.read_params(folder / "run-0001.params")
    kept = [
        name
        for name in before
        if after[name].shape == before[name].shape
        and after[name].asnumpy().tobytes() == before[name].asnumpy().tobytes()
    ]
    assert sorted(kept) == sorted(name for name in before if "conv0" in name or "bn0" in name)
    with pytest.raises(MxmlError, match=r"`freeze` convx\*: names no parameter; parameters are conv0_weight"):
        train.fit(tiny.config(folder, "other", freeze=("convx*",)))


@pytest.mark.parametrize("norm", ["BatchNorm", "BatchNorm_v1"])
@pytest.mark.parametrize("method", ["finetune", "lp-ft"])
def test_lp_ft_keeps_the_statistics_that_the_head_was_fitted_with(folder, method, norm):
    tiny.make_network(folder / "net", dropout=0)
    symbol = (folder / "net-symbol.json").read_text()
    assert symbol.count('"op": "BatchNorm"') == 1
    (folder / "net-symbol.json").write_text(symbol.replace('"BatchNorm"', f'"{norm}"'))
    params = params_file.read_params(folder / "net-0000.params")
    params["aux:bn0_moving_var"] *= 9
    params_file.write_params(str(folder / "net-0000.params"), params)
    given: dict[str, Any] = {"method": method, "optimizer": None, "lr": 1e-30, "ema": 0.0, "preset": None}
    train.fit(tiny.config(folder, num_epoch=2, keep="all", rand_crop=False, rand_mirror=False, **given))
    before = params["aux:bn0_moving_var"].asnumpy()
    after = params_file.read_params(folder / "run-0002.params")["aux:bn0_moving_var"].asnumpy()
    assert (after.tobytes() == before.tobytes()) == (method == "lp-ft")
    if method == "lp-ft":
        # Steps of no length: fine-tuning begins where the fit ended.
        fitted, tuned = csv.DictReader((folder / "run-history.csv").read_text().splitlines())
        assert float(tuned["train_loss"]) == pytest.approx(float(fitted["train_loss"]), rel=1e-3)


def test_the_head_has_a_learning_rate_of_its_own(folder):
    heads = []
    for multiple in (0.0, 1.0, 20.0):
        train.fit(tiny.config(folder, f"head{multiple}", num_epoch=1, lr=0.001, head_lr_mult=multiple))
        heads.append(params_file.read_params(folder / f"head{multiple}-0001.params")["arg:fc_weight"].asnumpy())
    assert not heads[0].any()
    assert np.abs(heads[2]).mean() > 5 * np.abs(heads[1]).mean() > 0


@pytest.mark.parametrize("call", [2, 5])  # in the middle, and in the last step before validation
def test_a_failure_in_the_losss_callback_ends_the_run_with_its_message(folder, monkeypatch, call):
    gradients, calls = loss_operator._LossOperator._gradients, []

    def fail_once(self, *inputs):
        calls.append(inputs[0].shape)
        if len(calls) == call:
            raise KeyError("no such weight")
        return gradients(self, *inputs)

    monkeypatch.setattr(loss_operator._LossOperator, "_gradients", fail_once)
    with pytest.raises(
        TrainingError, match=r"the loss failed in CrossEntropyLoss\.backward: KeyError: 'no such weight'"
    ):
        train.fit(tiny.config(folder))
    assert RunFiles(str(folder / "run")).epochs_on_disk() == []


def test_a_run_stops_when_it_no_longer_gets_better(folder):
    options: dict[str, Any] = {"num_epoch": 30, "patience": 2, "best_by": "hamming", "head_lr_mult": 0.0}
    result = train.fit(tiny.config(folder, **options))
    assert (result.best_epoch, result.epochs) == (1, 3)
    assert train.fit(tiny.config(folder, **options), resume=True).epochs == 3


def test_patience_begins_after_the_warm_up(folder):
    # Steps of nothing: no epoch is better than the first.
    options: dict[str, Any] = {"num_epoch": 30, "patience": 1, "lr": 1e-30, "ema": 0.0, "method": "lp-ft"}
    for optimizer, warmup_epochs, epochs in (("sgd", 0.0, 2), ("scaled-adamw", 1.0, 3), ("adamw", 2.5, 5)):
        changes = {**options, "optimizer": optimizer, "warmup_epochs": warmup_epochs}
        result = train.fit(tiny.config(folder, optimizer, **changes))
        assert (result.best_epoch, result.epochs) == (1, epochs)
        assert train.fit(tiny.config(folder, optimizer, **changes), resume=True).epochs == epochs


def test_the_step_schedule_counts_the_epoch_that_fits_the_head(folder):
    options: dict[str, Any] = {"lr": 0.001, "lr_schedule": "step", "lr_steps": (2,), "lr_factor": 0.5, "ema": 0.0}

    def rates(prefix, **changes):
        config = tiny.config(folder, prefix, **{**options, "optimizer": "sgd", "num_epoch": 4, **changes})
        train.fit(config, SILENT)
        epochs = json.loads((folder / f"{prefix}.json").read_text())["epochs"]
        return [entry["metrics"]["lr"] for entry in epochs]

    assert rates("whole", method="lp-ft") == [None, 0.001, 0.0005, 0.0005]
    assert rates("finetune") == [0.001, 0.001, 0.0005, 0.0005]
    assert rates("first", method="lp-ft", lr_steps=(1,), num_epoch=2) == [None, 0.0005]


@pytest.mark.parametrize(
    ("optimizer", "ends"),
    [("sgd", "time and memory, and padding shortens the steps of sgd"), ("adam", "time and memory")],
)
def test_a_batch_with_more_rows_than_images_is_noted_with_what_it_does_to_the_steps(folder, optimizer, ends):
    told = Told()
    train.fit(tiny.config(folder, num_epoch=1, batch_size=64, optimizer=optimizer), told)
    (note,) = told.about("is padded")
    assert note.startswith("each batch of 64 has 40 images and is padded: ") and note.endswith(ends)


def test_a_training_list_without_a_known_label_is_refused(folder):
    path = folder / "lists" / "train.lst"
    listed = read_lst(path, str(folder / "images"))
    names = listed.names()
    write_lst(path, ImageList.from_rows(names, np.full((len(names), 3), -1, np.int8), root=listed.root))
    with pytest.raises(ListError, match=r"train\.lst: no label of any image is known \(all are -1\)"):
        train.fit(tiny.config(folder))
    assert RunFiles(str(folder / "run")).epochs_on_disk() == []


def test_unreadable_images_are_skipped_and_named_up_to_a_share(folder):
    broken = folder / "images" / "1-3.png"
    broken.write_bytes(broken.read_bytes()[:200])
    result = train.fit(tiny.config(folder, num_epoch=1))
    assert [image.path for image in result.bad] == [str(broken)]
    for position in range(4, 9):
        (folder / "images" / f"1-{position}.png").write_bytes(b"")
    with pytest.raises(TrainingError, match=r"1-\d\.png"):
        train.fit(tiny.config(folder, "more", num_epoch=1))


def test_missing_images_stop_the_run_before_it_starts(folder):
    with pytest.raises(MxmlError, match=r"train\.lst: 40 of 40 images do not exist, .*; `image_train` says"):
        train.fit(tiny.config(folder, image_train=str(folder)))
    assert not (folder / "run.json").exists()
    assert not (folder / "train.log").exists()


def test_an_earlier_run_is_kept_unless_told(folder):
    train.fit(tiny.config(folder, num_epoch=2))
    before = (folder / "run-0002.params").read_bytes()
    with pytest.raises(MxmlError, match=r"run\.json: already exists; continue with `resume`, replace it with `force`"):
        train.fit(tiny.config(folder, num_epoch=1))
    assert (folder / "run-0002.params").read_bytes() == before
    train.fit(tiny.config(folder, num_epoch=1), force=True)
    assert RunFiles(str(folder / "run")).epochs_on_disk() == [1]
    with pytest.raises(MxmlError, match=r"`prefix` .*net: should be another prefix than the pretrained model's"):
        train.fit(tiny.config(folder, "net"), force=True)


def test_a_damaged_checkpoint_is_named_and_the_newest_whole_one_used(folder):
    options: dict[str, Any] = {"num_epoch": 3, "keep": "all"}
    train.fit(tiny.config(folder, **options))
    wanted = (folder / "run-0003.params").read_bytes()
    damaged = bytearray(wanted)
    damaged[-300] ^= 1
    (folder / "run-0003.params").write_bytes(damaged)
    with pytest.raises(
        CheckpointError, match=r"run-0003\.params: is damaged or not the run's .*newest whole .*epoch 2"
    ):
        checkpoint.load(str(folder / "run"), 3)
    recorder = Told()
    train.fit(tiny.config(folder, **options), recorder, resume=True)
    assert any("run-0003.params: is damaged" in note for note in recorder.notes)
    assert "resuming after epoch 2" in recorder.notes
    assert (folder / "run-0003.params").read_bytes() == wanted


def test_after_damage_the_best_epoch_is_one_of_those_left(folder):
    train.fit(tiny.config(folder, num_epoch=3, keep="all"))
    sidecar = json.loads((folder / "run.json").read_text())
    for epoch, mean_ap in zip(sidecar["epochs"], (0.1, 0.2, 0.9)):
        epoch["metrics"]["val"]["mAP"] = mean_ap
    (folder / "run.json").write_text(json.dumps({**sidecar, "best_epoch": 3}))
    (folder / "run-0003.params").write_bytes(b"")
    stop = StopRequest()
    with pytest.raises(Interrupted):
        train.fit(tiny.config(folder, num_epoch=3), StopAfter(stop, 1), resume=True, stop=stop)
    assert checkpoint.load(str(folder / "run")).epoch == 2


def test_a_run_whose_data_has_moved_is_resumed_and_remembers_where_it_is(folder):
    train.fit(tiny.config(folder, num_epoch=1))
    for name in ("lists", "images"):
        (folder / name).rename(folder / f"new-{name}")
    moved = {
        f"{kind}_{part}": str(folder / name)
        for part in ("train", "val")
        for kind, name in (("data", f"new-lists/{part}.lst"), ("image", "new-images"))
    }
    train.fit(tiny.config(folder, num_epoch=2, **moved), resume=True)
    data = json.loads((folder / "run.json").read_text())["data"]
    assert (data["val"]["path"], data["val"]["root"]) == ("new-lists/val.lst", "new-images")


def test_an_epoch_that_the_run_never_finished_is_refused(folder):
    train.fit(tiny.config(folder, num_epoch=1))
    shutil.copy(folder / "run-0001.params", folder / "run-0009.params")
    with pytest.raises(
        CheckpointError, match=r"run-0009\.params: does not belong to a finished epoch .*newest whole .*epoch 1"
    ):
        checkpoint.load(str(folder / "run"), 9)


def test_a_changed_list_cannot_be_resumed(folder):
    train.fit(tiny.config(folder, num_epoch=1))
    path = folder / "lists" / "train.lst"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(CheckpointError, match=r"train\.lst: has changed since the run"):
        train.fit(tiny.config(folder, num_epoch=2), resume=True)


@pytest.mark.parametrize("method", ["features", "finetune"])
def test_a_run_that_has_ended_records_what_a_resume_was_given(folder, method):
    given = {"method": method, "num_epoch": 1, "optimizer": None, "lr": None}
    train.fit(tiny.config(folder, **given), SILENT)
    before = json.loads((folder / "run.json").read_text())
    train.resume(folder / "run", progress=SILENT)
    assert json.loads((folder / "run.json").read_text()) == before
    train.resume(folder / "run", {"patience": 3, "keep": "all", "save_every": 7}, SILENT)
    after = json.loads((folder / "run.json").read_text())
    assert after["config"] == {**before["config"], "patience": 3, "keep": "all", "save_every": 7.0}
    assert {**after, "config": before["config"]} == before


def test_training_goes_on_from_an_own_checkpoint_with_other_classes(folder):
    train.fit(tiny.config(folder, num_epoch=1))
    lines = (folder / "lists" / "train.lst").read_text().splitlines()
    for name in ("train", "val"):
        path = folder / "lists" / f"{name}.lst"
        lines = [line.split("\t") for line in path.read_text().splitlines()]
        path.write_text("".join("\t".join([line[0], *line[1:3], line[-1]]) + "\n" for line in lines))
    (folder / "lists" / "labels.txt").write_text("red\ngreen\n")
    train.fit(tiny.config(folder, "two", model=str(folder / "run"), epoch=1, num_epoch=2))
    assert checkpoint.load(str(folder / "two")).arg_params["fc_weight"].shape == (2, 8)
    assert RunFiles(str(folder / "two")).epochs_on_disk() == [2]


def test_a_validation_list_with_other_label_names_is_refused(folder):
    (folder / "lists" / "labels.txt").write_text("red\ngreen\nblue\n")
    (folder / "other").mkdir()
    (folder / "other" / "val.lst").write_bytes((folder / "lists" / "val.lst").read_bytes())
    (folder / "other" / "labels.txt").write_text("red\nblue\ngreen\n")
    with pytest.raises(ListError, match=r"other/labels\.txt: names other labels than .*: number 2 is 'blue' here"):
        train.fit(tiny.config(folder, num_epoch=1, data_val=str(folder / "other" / "val.lst")))


# ---- which lists and images a run may open


def test_lists_that_remember_their_image_folder_need_no_other_word(folder):
    (folder / "lists" / "lists.json").write_text('{"root": "../images"}')
    settings = tiny.settings(folder, num_epoch=1)
    del settings["image_train"], settings["image_val"]
    train.fit(mxml.TrainConfig(**settings), SILENT)
    assert mxml.Classifier.load(str(folder / "run")).evaluate(folder / "lists" / "val.lst").metrics.samples == 12


SECRET = "0\ttoken-of-somebody\n"


def stranger(folder, **config):
    """Train a run, and edit its sidecar as a stranger could."""
    train.fit(tiny.config(folder, num_epoch=1), SILENT)
    sidecar = json.loads((folder / "run.json").read_text())
    sidecar["config"].update(config)
    (folder / "run.json").write_text(json.dumps(sidecar))


def test_a_resume_reads_no_list_that_only_a_stranger_names(folder, tmp_path):
    (tmp_path / "secret").write_text(SECRET)
    stranger(folder, data_val="../secret", allow_absolute=True)
    message = r"lies outside of the checkpoint's folder.*: mxml train .*`resume` `num_epoch` 4 `data_val` "
    with pytest.raises(CheckpointError, match=message) as caught:
        train.resume(str(folder / "run"), {"num_epoch": 4}, SILENT)
    assert "token" not in str(caught.value)


@pytest.mark.parametrize("path", ["lists\0", "\ud800"])
@pytest.mark.parametrize("name", ["data_train", "image_val", "labels"])
def test_a_path_that_no_file_can_have_is_refused_by_its_setting(folder, name, path):
    stranger(folder, **{name: path})
    with pytest.raises(CheckpointError, match=rf"run\.json: config: `{name}` .*: should be a path that a file"):
        train.resume(str(folder / "run"), {"num_epoch": 4}, SILENT)


def test_a_resume_reads_its_own_list_wherever_it_is_while_it_is_the_same(folder, tmp_path):
    for name in ("lists", "images"):
        shutil.move(folder / name, tmp_path / name)
    settings = {
        "data_train": str(tmp_path / "lists" / "train.lst"),
        "data_val": str(tmp_path / "lists" / "val.lst"),
        "image_train": str(tmp_path / "images"),
        "image_val": str(tmp_path / "images"),
    }
    train.fit(tiny.config(folder, num_epoch=1, **settings), SILENT)
    assert train.resume(str(folder / "run"), {"num_epoch": 2}, SILENT).epochs == 2
    with open(settings["data_val"], "a") as file:
        file.write(SECRET)
    with pytest.raises(CheckpointError, match="is not the file that the run read") as caught:
        train.resume(str(folder / "run"), {"num_epoch": 3}, SILENT)
    assert "token" not in str(caught.value)


def test_absolute_paths_are_allowed_again_by_the_reader_alone(folder):
    stranger(folder, allow_absolute=True)
    notes = Told()
    train.resume(str(folder / "run"), {"num_epoch": 2}, notes)
    assert any("only if you set `allow_absolute`" in note for note in notes.notes)


def test_a_resume_needs_no_file_of_label_names(folder, tmp_path):
    (tmp_path / "names.txt").write_text("red\ngreen\nblue\n")
    train.fit(tiny.config(folder, num_epoch=1, labels=str(tmp_path / "names.txt")), SILENT)
    (tmp_path / "names.txt").unlink()
    assert train.resume(str(folder / "run"), {"num_epoch": 2}, SILENT).epochs == 2


def test_a_signal_saves_a_run_of_a_script_too(folder):
    import os
    import signal

    def interrupt(row):
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted, match="stopped by SIGINT in epoch 2"):
        train.fit(tiny.config(folder, num_epoch=3), SILENT, callbacks=[interrupt])
    assert train.resume(str(folder / "run"), {}, SILENT).epochs == 3


@pytest.mark.parametrize("method", ["finetune", "lp-ft", "features"])
def test_a_finished_run_that_is_resumed_is_finished(folder, method):
    config = tiny.config(folder, f"done-{method}", method=method, num_epoch=2)
    assert train.fit(config, SILENT).finished
    assert train.resume(config.prefix, {}, SILENT).finished
