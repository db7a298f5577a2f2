"""Averaged weights: the numbers against an average in NumPy, which of them are saved, and that training is unmoved."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from test_bound_module import batches, bind, content, network, train

import mxml
from mxml.data.lst_file import read_lst
from mxml.errors import ModelError
from mxml.model import params_file
from mxml.progress import SILENT
from mxml.training import averaging
from mxml.training import fit as training
from mxml.training.averaging import WeightAverage
from mxml.training.validation import positions_of_parts

CONFIG = tiny.config(Path())


def numpy_values(mapping):
    return {name: array.asnumpy() for name, array in mapping.items()}


def current_weights(module):
    return numpy_values(params_file.join_params(*module.parameters()))


@pytest.mark.parametrize("devices", [1, 2])
@pytest.mark.parametrize(("first", "updates"), [(0, (1, 2, 3, 4, 5)), (97, (98, 99, 100, 104)), (5000, (5004, 5008))])
def test_the_average_is_that_of_every_step_at_first_and_of_every_fourth_later(devices, first, updates):
    module = bind(*network(), "nag", devices, num_update=first)
    average = WeightAverage(module, 0.99)
    wanted = {name: value.astype(np.float64) for name, value in current_weights(module).items()}
    before = first
    for step, pair in enumerate(batches(updates[-1] - first), start=first + 1):
        train(module, [pair])
        average.update()
        if step in updates:
            keep = np.prod([min(0.99, (1 + t) / (4 + t)) for t in range(before + 1, step + 1)])
            before = step
            for name, value in current_weights(module).items():
                wanted[name] = keep * wanted[name] + (1 - keep) * value
    found = numpy_values(average.arrays())
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("stopped_at", [98, 99, 100, 101, 103])
def test_an_average_goes_on_where_it_stopped(stopped_at):
    symbol, args, aux = network()
    whole = bind(symbol, args, aux, num_update=96)
    average = WeightAverage(whole, 0.99)
    pairs = list(batches(10))
    for pair in pairs[: stopped_at - 96]:
        train(whole, [pair])
        average.update()
    resumed = bind(symbol, *whole.parameters(), num_update=stopped_at)
    resumed.restore({**whole.states(), **whole.statistics()}, "run-paused.states")
    again = WeightAverage(resumed, 0.99, average.arrays())
    for pair in pairs[stopped_at - 96 :]:
        for module, its in ((whole, average), (resumed, again)):
            train(module, [pair])
            its.update()
    assert content(again.arrays()) == content(average.arrays())


def test_what_is_frozen_is_not_averaged():
    module = bind(*network(), freeze=("conv0_*", "bn0_*"))
    average = WeightAverage(module, 0.999)
    assert not [name for name in average.arrays() if name.startswith(("arg:conv0", "arg:bn0", "aux:bn0"))]


def test_what_stays_the_same_is_the_same_to_the_last_bit():
    symbol, args, aux = network()
    module = bind(symbol, args, aux)
    average = WeightAverage(module, 0.999)
    for pair in batches(8):
        train(module, [pair], lr=0.0)
        average.update()
    arrays = average.arrays()
    for name, value in args.items():
        assert np.array_equal(arrays[f"arg:{name}"].asnumpy(), value.asnumpy())


@pytest.mark.parametrize("devices", [1, 2])
def test_a_look_at_the_average_moves_nothing(devices):
    plain, looked_at = (bind(*network(), "adam", devices) for _ in range(2))
    average = WeightAverage(looked_at, 0.9)
    for number, pair in enumerate(batches(9)):
        for module in (plain, looked_at):
            train(module, [pair])
        average.update()
        if number in (3, 5):
            for module in (plain, looked_at):
                module.sync()
            with average.in_module():
                found = current_weights(looked_at)
                looked_at.logits(pair[0])
            for name, array in average.arrays().items():
                assert np.array_equal(found[name], array.asnumpy())
    assert content(*looked_at.parameters()) == content(*plain.parameters())
    assert content(looked_at.states()) == content(plain.states())


def test_files_hold_both_and_are_parted_again():
    module = bind(*network())
    average = WeightAverage(module, 0.9)
    for pair in batches(4):
        train(module, [pair])
        average.update()
    current, states = params_file.join_params(*module.parameters()), module.states()
    for averaged in (False, True):
        params, saved = averaging.joined(current, average.arrays(), states, averaged)
        assert content(params) == content({**current, **average.arrays()} if averaged else current)
        for one, other in zip(averaging.parted(params, saved), (current, average.arrays(), states)):
            assert content(one) == content(other)
    # As mxml wrote them before it averaged.
    assert averaging.parted(current, states)[1] is None
    assert averaging.parted(current, None) == (current, None, None)


def epochs(folder, prefix="run"):
    return json.loads((folder / f"{prefix}.json").read_text())["epochs"]


def same(one, other):
    one, other = (numpy_values(params_file.read_params(path)) for path in (one, other))
    return one.keys() == other.keys() and all(np.array_equal(value, other[name]) for name, value in one.items())


# A quarter as long as the training list, as long as it, and longer.
@pytest.mark.parametrize(("val", "compared"), [(10, 10), (40, 10), (60, 15)])
def test_an_epochs_metrics_are_those_of_the_weights_that_are_saved(folder, val, compared):
    tiny.make_data(folder, train=40, val=val)
    training.fit(tiny.config(folder, num_epoch=6, keep="all", ema=0.9, lr=0.2, lr_schedule="constant"), SILENT)
    images = read_lst(folder / "lists" / "val.lst", str(folder / "images"))
    for epoch in epochs(folder):
        metrics = epoch["metrics"]
        names = params_file.read_params(folder / f"run-{epoch['epoch']:04d}.states")
        marks = {name.partition(":")[0] for name in names if name.count(":") == 2}
        assert marks == {"current" if metrics["averaged"] else "average"}
        scores = mxml.Classifier.load(str(folder / "run"), epoch["epoch"]).scores(images)
        known = np.logaddexp(0, np.where(images.labels == 1, -scores.logits, scores.logits).astype(np.float64))
        assert metrics["val"]["loss"] == pytest.approx(known.mean(), rel=1e-6)
        assert metrics["val"]["samples"] == val
        assert metrics["val_other"]["loss"] != metrics["val"]["loss"]
        assert metrics["val_other"]["samples"] == compared
    assert {epoch["metrics"]["averaged"] for epoch in epochs(folder)} == {False, True}


@pytest.mark.parametrize(("count", "train", "compared"), [(25, 100, 25), (26, 100, 25), (100, 100, 25), (301, 100, 76)])
def test_weights_are_compared_on_a_part_that_is_drawn_once(count, train, compared):
    first, *rest = positions_of_parts(count, train, CONFIG)
    assert len(first) == compared
    assert sorted([*first, *(position for part in rest for position in part)]) == list(range(count))
    again, *_ = positions_of_parts(count, train, CONFIG)
    assert again.tolist() == first.tolist()
    if rest:
        other, *_ = positions_of_parts(count, train, dataclasses.replace(CONFIG, seed=1))
        # Neither one end of the list, nor every so many-th.
        assert len({tuple(first), tuple(other), tuple(range(compared)), tuple(range(0, count, count // compared))}) == 4
    (everything,) = positions_of_parts(count, train, dataclasses.replace(CONFIG, ema=0.0))
    assert everything.tolist() == list(range(count))


def test_training_goes_on_from_the_current_weights_whatever_is_saved(folder):
    training.fit(tiny.config(folder, "plain", num_epoch=3, ema=0.0), SILENT)
    training.fit(tiny.config(folder, "run", num_epoch=3, ema=0.999), SILENT)
    plain = params_file.read_params(folder / "plain-0003.params")
    params = params_file.read_params(folder / "run-0003.params")
    states = params_file.read_params(folder / "run-0003.states")
    for name, array in plain.items():
        found = states[f"current:{name}"] if f"current:{name}" in states else params[name]
        assert np.array_equal(found.asnumpy(), array.asnumpy()), name
    assert [epoch["metrics"]["train_loss"] for epoch in epochs(folder)] == [
        epoch["metrics"]["train_loss"] for epoch in epochs(folder, "plain")
    ]
    assert "averaged" in epochs(folder, "plain")[0]["metrics"]


@pytest.mark.parametrize("device", ["cpu", "cpu:0,1"])
def test_a_run_that_resumes_after_an_epoch_is_the_same(folder, device):
    options: dict[str, Any] = {"device": device, "lr_schedule": "constant", "ema": 0.9}
    training.fit(tiny.config(folder, "whole", num_epoch=4, **options), SILENT)
    for last in (1, 2, 4):
        training.fit(tiny.config(folder, "run", num_epoch=last, **options), SILENT, resume=True)
    assert same(folder / "whole-0004.params", folder / "run-0004.params")
    assert same(folder / "whole-0004.states", folder / "run-0004.states")


def test_a_run_from_before_averaging_goes_on_and_is_averaged_from_there(folder):
    training.fit(tiny.config(folder, num_epoch=1, ema=0.0, lr_schedule="constant"), SILENT)
    sidecar = json.loads((folder / "run.json").read_text())
    del sidecar["config"]["ema"], sidecar["epochs"][0]["metrics"]["averaged"]
    (folder / "run.json").write_text(json.dumps(sidecar))
    training.resume(folder / "run", {"num_epoch": 2}, SILENT)
    training.fit(tiny.config(folder, "plain", num_epoch=2, ema=0.0, lr_schedule="constant"), SILENT)
    assert epochs(folder)[1]["metrics"]["train_loss"] == epochs(folder, "plain")[1]["metrics"]["train_loss"]


def test_averaged_weights_of_another_network_are_refused(folder):
    training.fit(tiny.config(folder, num_epoch=1), SILENT)
    states = params_file.read_params(folder / "run-0001.states")
    mark = "current" if epochs(folder)[0]["metrics"]["averaged"] else "average"
    states[f"{mark}:arg:fc_weight"] = states[f"{mark}:arg:fc_weight"].reshape((8, 3))
    params_file.write_params(folder / "run-0001.states", states)
    sidecar = json.loads((folder / "run.json").read_text())
    stamp = mxml.model.sidecar.Stamp.of(folder / "run-0001.states")
    sidecar["epochs"][0]["files"]["states"] = {"size": stamp.size, "sha256": stamp.sha256}
    (folder / "run.json").write_text(json.dumps(sidecar))
    with pytest.raises(ModelError, match="fc_weight"):
        training.resume(folder / "run", {"num_epoch": 2}, SILENT)
