"""Training a named network from random weights, and classifiers of single labels."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import tiny

from mxml import Classifier, fit, resume
from mxml.data.image_list import ImageList
from mxml.data.lst_file import read_lst, write_lst
from mxml.errors import ListError, MxmlError, SettingError
from mxml.model import params_file, symbols
from mxml.model.losses import SOFTMAX_CROSS_ENTROPY
from mxml.model.networks.from_scratch import scratch_model
from mxml.model.symbol_file import load_symbol
from mxml.progress import SILENT
from mxml.runtime.imports import load_mxnet
from mxml.training.bound_module import BoundModule
from mxml.training.config import TrainConfig
from mxml.training.epoch_totals import EpochTotals
from mxml.training.optimizers import OptimizerSettings, Schedule
from mxml.training.recipe import with_recipe

mx = load_mxnet()

# The recipe of a network from scratch.
FROM_SCRATCH: dict[str, Any] = {
    "model": None,
    "network": "smallervgg",
    **dict.fromkeys(("method", "optimizer", "lr", "preset")),
}


def settings(folder, prefix, **changes):
    return tiny.config(folder, prefix, **{**FROM_SCRATCH, **changes})


@pytest.fixture
def folder(tmp_path):
    tiny.make_data(tmp_path, train=64, val=24)
    return tmp_path


def make_single(folder):
    """Write lists of the images that show exactly one label, under the names ``one-train.lst`` and ``one-val.lst``."""
    for name in ("train", "val"):
        images = read_lst(folder / "lists" / f"{name}.lst")
        chosen = np.flatnonzero(images.labels.sum(axis=1) == 1)
        names = [images.name(int(position)) for position in chosen]
        write_lst(folder / "lists" / f"one-{name}.lst", ImageList.from_rows(names, images.labels[chosen]))
    lists = {f"data_{name}": str(folder / "lists" / f"one-{name}.lst") for name in ("train", "val")}
    return {**lists, "single_label": True}


def test_a_network_from_scratch_learns_a_trivial_set(folder):
    result = fit(settings(folder, "run", num_epoch=12), SILENT)
    assert result.best["mAP"] > 0.95
    sidecar = json.loads((folder / "run.json").read_text())
    assert (sidecar["config"]["network"], sidecar["config"]["model"]) == ("smallervgg", None)
    classifier = Classifier.load(folder / "run")
    assert classifier.evaluate().metrics.mAP == pytest.approx(result.best["mAP"])


def test_a_resumed_run_from_scratch_equals_the_uninterrupted_one(folder):
    changes = {"network": "smallervgg", "lr_schedule": "inverse", "lr_decay": 0.01, "keep": "all"}
    fit(settings(folder, "whole", num_epoch=3, **changes), SILENT)
    fit(settings(folder, "parts", num_epoch=1, **changes), SILENT)
    resume(folder / "parts", {"num_epoch": 3}, SILENT)
    for ending in ("0003.params", "0003.states"):
        assert (folder / f"whole-{ending}").read_bytes() == (folder / f"parts-{ending}").read_bytes()


def test_a_classifier_of_single_labels_trains_evaluates_predicts_and_becomes_multi_label(folder):
    one = make_single(folder)
    result = fit(settings(folder, "one", num_epoch=12, **one), SILENT)
    assert result.best["accuracy"] > 0.9
    classifier = Classifier.load(folder / "one")
    assert classifier.single_label
    evaluation = classifier.evaluate()
    assert evaluation.metrics.accuracy == pytest.approx(result.best["accuracy"])
    assert evaluation.metrics.loss == pytest.approx(result.best["val_loss"], rel=1e-4)
    predictions = list(classifier.predict())
    assert all(len(prediction.labels) == 1 for prediction in predictions)
    assert sum(prediction.scores.sum() for prediction in predictions) == pytest.approx(len(predictions), rel=1e-5)
    assert len(next(iter(classifier.predict(top_k=2))).labels) == 2
    assert all(label.score >= 0.9 for label in next(iter(classifier.predict(threshold=0.9))).labels)
    with pytest.raises(SettingError, match="the one with the highest score is predicted"):
        classifier.evaluate(threshold=0.3)
    with pytest.raises(ListError, match=r"val\.lst:\d+: [023] labels are 1, should be one"):
        classifier.evaluate(folder / "lists" / "val.lst", folder / "images")
    multi = tiny.config(folder, "multi", model=str(folder / "one"), epoch=result.best_epoch, num_epoch=14, lr=0.001)
    assert fit(multi, SILENT).best["accuracy"] is None
    assert not Classifier.load(folder / "multi").single_label


def test_a_pretrained_network_can_get_a_softmax_too_and_its_resume_is_exact(folder):
    changes = {**make_single(folder), "lr_schedule": "constant", "keep": "all"}
    fit(tiny.config(folder, "whole", num_epoch=2, **changes), SILENT)
    fit(tiny.config(folder, "parts", num_epoch=1, **changes), SILENT)
    resume(folder / "parts", {"num_epoch": 2}, SILENT)
    assert (folder / "whole-0002.params").read_bytes() == (folder / "parts-0002.params").read_bytes()
    symbol = load_symbol(folder / "whole-symbol.json")
    assert symbols.describe_head(symbol, params_file.split_params(*named(folder / "whole-0002.params"))[0]).single_label
    first = json.loads((folder / "whole.json").read_text())["epochs"][0]["metrics"]
    assert 0 <= first["train_accuracy"] <= 1 and 0.3 < first["train_loss"] < 3


def named(path):
    return params_file.read_params(path), str(path)


def test_lists_with_other_than_one_label_per_line_are_refused_before_anything_is_written(folder):
    with pytest.raises(ListError, match=r"train\.lst:\d+: [023] labels are 1"):
        fit(settings(folder, "run", single_label=True), SILENT)
    assert not list(folder.glob("run-*"))


def test_images_that_are_too_small_for_a_network_are_refused(folder):
    with pytest.raises(MxmlError, match=r"inceptionv3: does not take .* designed for 299 x 299"):
        fit(settings(folder, "run", network="inceptionv3"), SILENT)
    assert not list(folder.glob("run-*"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"network": None}, "^missing `model` or `network`$"),
        ({"model": "net"}, "`network` smallervgg: should be left out: training begins at `model`"),
        ({"epoch": 2}, "`epoch` 2: should be left out: it is a pretrained network's"),
        ({"layer": "pool0"}, "`layer` pool0: should be left out: `network` knows"),
        ({"network": "resnet19"}, "`network` resnet19: should be one of smallervgg, "),
        ({"single_label": True, "loss": "bce"}, "`loss` bce: should be left out with `single_label`"),
        ({"single_label": True, "label_smoothing": 0.1}, "`label_smoothing` 0.1: should be left out with `single_"),
        ({"single_label": True, "pos_weight": "auto"}, "`pos_weight` auto: should be left out with `single_label`"),
        ({"single_label": True, "margin": 0.0}, "`margin` 0: should be left out with `single_label`"),
        ({"best_by": "accuracy"}, "`best_by` accuracy: should be another metric: only `single_label` has an accuracy"),
    ],
)
def test_senseless_settings_are_refused(tmp_path, changes, message):
    with pytest.raises(SettingError, match=message):
        settings(tmp_path, "run", **changes)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ("finetune", "adamw", 0.001, 0.01, 1.0, 1.0, "imagenet")),
        ({"lr": 0.002}, ("finetune", "adamw", 0.002, 0.01, 1.0, 1.0, "imagenet")),
        ({"mom": 0.8}, ("finetune", "sgd", 0.01, 0.0001, 0.0, 1.0, "imagenet")),
        ({"optimizer": "nag", "preset": "caffe"}, ("finetune", "nag", 0.01, 0.0001, 0.0, 1.0, "caffe")),
        ({"head_lr_mult": 3.0}, ("finetune", "adamw", 0.001, 0.01, 1.0, 3.0, "imagenet")),
        ({"network": None, "model": "net", "single_label": True}, ("finetune", "adamw", 0.0002, 0.01, 1.0, 10.0, None)),
    ],
    ids=str,
)
def test_the_recipe_of_a_network_from_scratch_and_of_single_labels(tmp_path, changes, expected):
    config = with_recipe(settings(tmp_path, "run", **changes))
    names = ("method", "optimizer", "lr", "wd", "warmup_epochs", "head_lr_mult", "preset")
    assert tuple(getattr(config, name) for name in names) == expected


@pytest.mark.parametrize("method", ["lp-ft", "features"])
def test_a_head_is_fitted_neither_to_random_weights_nor_for_a_softmax(tmp_path, method):
    with pytest.raises(SettingError, match=f"`method` {method}: should be finetune or left out: `network` has no feat"):
        with_recipe(settings(tmp_path, "run", method=method))
    pretrained = tiny.config(tmp_path, "run", method=method, optimizer=None, single_label=True)
    with pytest.raises(SettingError, match=f"`method` {method}: should be finetune or left out with `single_label`"):
        with_recipe(pretrained)


def test_mixed_single_labels_cost_and_count_as_their_parts():
    """Probabilities 1/2, 1/4, 1/4: -0.75 log(1/2) - 0.25 log(1/4); the label of the highest has three quarters."""
    totals = EpochTotals(SOFTMAX_CROSS_ENTROPY, {})
    logits = np.log(np.array([[2, 1, 1], [1, 5, 1], [9, 1, 1]], np.float32))
    labels = np.array([[0.75, 0.25, 0], [1, 0, 0], [-1, -1, -1]], np.float32)
    totals.add(logits, labels, 3)
    metrics = totals.metrics()
    assert metrics["train_accuracy"] == pytest.approx((0.75 + 0) / 2)
    assert metrics["train_loss"] == pytest.approx((1.25 * np.log(2) + np.log(7)) / 2, rel=1e-6)


def test_single_labels_are_mixed_in_training(folder):
    run = tiny.config(folder, "mixed", num_epoch=1, mixup=1.0, cutmix=1.0, **make_single(folder))
    metrics = fit(run, SILENT).best
    assert 0 < metrics["train_accuracy"] < 1 and metrics["accuracy"] is not None


@pytest.mark.parametrize(("network", "side"), [("smallervgg", 96), ("resnet18", 224), ("inceptionv3", 299)])
def test_a_network_brings_the_size_of_its_input(network, side):
    lists: dict[str, Any] = {"prefix": "run", "data_train": "a.lst", "data_val": "b.lst"}
    assert TrainConfig(network=network, **lists).image_shape == (3, side, side)
    assert TrainConfig(network=network, **lists, image_shape=(3, 64, 80)).image_shape == (3, 64, 80)
    assert TrainConfig(model="net", **lists).image_shape == (3, 224, 224)


def test_the_inverse_schedule_is_keras_decay():
    """In Keras' words: lr * 1 / (1 + decay * iterations)."""
    schedule = Schedule("inverse", 0.001, 30, 54, decay=0.001 / 30)
    assert [schedule.lr(step) for step in (0, 1, 1619)] == [
        0.001,
        0.001 * 1.0 / (1.0 + 0.001 / 30 * 1),
        0.001 * 1.0 / (1.0 + 0.001 / 30 * 1619),
    ]
    warmed = Schedule("inverse", 0.1, 10, 5, warmup_epochs=2, decay=0.5)
    assert (warmed.lr(9), warmed.lr(10), warmed.lr(12)) == (pytest.approx(0.1 * 10 / 11), 0.1, 0.05)


@pytest.mark.parametrize("network", ["squeezenet1.1", "mobilenetv2", "resnet18_v2", "densenet121"])
def test_two_steps_change_every_parameter_of_a_network(network):
    """The head is zero, so that the first step moves it alone."""
    shape = (3, 64, 64)
    model = scratch_model(network, 3, shape, 0)
    module = BoundModule(
        model.symbol,
        model.arg_params,
        model.aux_params,
        devices=[mx.cpu()],
        provide_data=[mx.io.DataDesc("data", (4, *shape))],
        provide_label=[mx.io.DataDesc("softmax_label", (4, 3))],
        optimizer=OptimizerSettings("adam"),
    )
    generator = np.random.default_rng(0)
    data = mx.nd.array(generator.normal(0, 1, (4, *shape)))
    batch = mx.io.DataBatch([data], [mx.nd.array(np.eye(4, 3))], pad=0)
    for _ in range(2):
        assert np.isfinite(module.step(batch, 0.001)).all()
    arguments, states = module.parameters()
    still = [
        name
        for found, begun in ((arguments, model.arg_params), (states, model.aux_params))
        for name, value in found.items()
        if (value.asnumpy() == begun[name].asnumpy()).all()
    ]
    # The BatchNorm on the images of version 2 has a fixed gamma.
    assert still == (["resnet18_v2_batchnorm0_gamma"] if network == "resnet18_v2" else [])
