"""A run's files under its prefix: found whatever is typed, held against their stamps, offered where they are whole."""

from __future__ import annotations

import dataclasses
import os
import re
from pathlib import Path

import numpy as np
import pytest

from mxml.errors import CheckpointError, ModelError, SettingError
from mxml.images.transforms import Preprocess
from mxml.model import checkpoint, params_file
from mxml.model.run_files import RunFiles
from mxml.model.sidecar import MOST_BYTES, Epoch, Pause, Sidecar, Stamp
from mxml.runtime.imports import load_mxnet

mx = load_mxnet()


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run of four epochs of which the second and the last are kept; return its sidecar."""
    monkeypatch.chdir(tmp_path)
    data = mx.sym.Variable("data")
    symbol = mx.sym.sigmoid(mx.sym.FullyConnected(mx.sym.Flatten(data), num_hidden=2, name="fc"), name="sig")
    stamp = checkpoint.save_symbol("run", symbol)
    epochs = []
    for epoch in range(1, 5):
        params = {"fc_weight": mx.nd.ones((2, 3)) * epoch, "fc_bias": mx.nd.zeros(2)}
        files = {}
        if epoch in (2, 4):
            names = RunFiles("run").params(epoch), RunFiles("run").states(epoch)
            files = checkpoint.save_arrays(*names, params, {}, {"fc_weight:0": mx.nd.zeros((2, 3))})
        epochs.append(Epoch(epoch, epoch, {}, files))
    sidecar = Sidecar(
        ("a", "b"), Preprocess(), (0.5, 0.5), {}, {}, {}, symbol=stamp, best_epoch=2, epochs=tuple(epochs)
    )
    checkpoint.save_sidecar("run", sidecar)
    return sidecar


@pytest.mark.usefixtures("run")
@pytest.mark.parametrize(
    ("typed", "epoch"),
    [
        ("run", 2),
        ("run.json", 2),
        ("run-symbol.json", 2),
        ("run-0004.params", 4),
        ("run-0004.states", 4),
        ("./run-history.csv", 2),
    ],
)
def test_a_file_of_the_run_stands_for_its_prefix(typed, epoch):
    loaded = checkpoint.load(typed)
    assert (os.path.normpath(loaded.prefix), loaded.epoch) == ("run", epoch)
    assert loaded.arg_params["fc_weight"].asnumpy()[0, 0] == epoch


@pytest.mark.usefixtures("run")
def test_two_epochs_at_once_are_refused():
    assert checkpoint.load("run-0004.params", 4).epoch == 4
    with pytest.raises(SettingError, match=r"`epoch` 2: should be 4, as run-0004\.params says"):
        checkpoint.load("run-0004.params", 2)


@pytest.mark.parametrize(
    ("text", "prefix", "epoch"),
    [
        ("a/b", "a/b", None),
        ("a/b-12.params", "a/b-12.params", None),
        ("a/b-0012.params", "a/b", 12),
        ("a-0001-0002.params", "a-0001", 2),
        ("a/.json", "a/.json", None),
        ("b-symbol.json", "b", None),
        ("b-curves.png", "b", None),
    ],
)
def test_a_prefix_and_an_epoch_are_parsed_out_of_what_is_typed(text, prefix, epoch):
    assert RunFiles.parse(text) == (RunFiles(prefix), epoch)


def test_a_prefix_that_looks_like_a_file_is_taken_as_it_is(tmp_path):
    odd = f"{tmp_path}/odd.json"
    (tmp_path / "odd.json-symbol.json").touch()
    assert RunFiles.parse(odd) == (RunFiles(odd), None)


def test_of_the_other_prefixes_the_nearest_are_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("alpha", "beta", "clothes-2", "clothes-3", "delta", "dress", "eps", "zeta"):
        (tmp_path / f"{name}-symbol.json").touch()
    with pytest.raises(
        CheckpointError, match=r"^cloths-2-symbol\.json: does not exist; .* prefixes: clothes-2, clothes-3, "
    ):
        checkpoint.load("cloths-2")
    with pytest.raises(CheckpointError, match=r"prefixes: zeta, beta, "):
        checkpoint.load("zetta")
    with pytest.raises(CheckpointError, match=r"no/such-symbol\.json: does not exist, and neither does its folder"):
        checkpoint.load("no/such")
    (tmp_path / "models").mkdir()
    for name in ("second", "first"):
        (tmp_path / "models" / f"{name}-symbol.json").touch()
    with pytest.raises(CheckpointError, match=r"models is a folder, with the prefixes: models/first, models/second$"):
        checkpoint.find_epoch("models")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match=r"has no other PREFIX-symbol\.json"):
        checkpoint.load("empty/run")


def test_what_is_no_prefix_for_training_is_told_the_prefix(run):
    with pytest.raises(CheckpointError, match=r"does not exist; the prefix of that file is run, its epoch 4"):
        checkpoint.find_epoch("run-0004.params", 0)
    assert checkpoint.find_epoch("run") == 4


def test_an_epoch_that_was_not_kept_is_refused_with_those_that_are(run):
    with pytest.raises(
        CheckpointError, match=r"run-0003\.params: does not exist; existing epochs: 2, 4; give `epoch` 4$"
    ):
        checkpoint.load("run", 3)
    with pytest.raises(CheckpointError, match=r"run-0003\.params: does not exist; .*; give run-0004\.params$"):
        checkpoint.load("run-0003.params")
    os.link("run-0004.params", "run-0003.params")
    kept = "did not keep; the newest whole checkpoint is of epoch 4; also whole: 2"
    with pytest.raises(
        CheckpointError, match=rf"run-0003\.params: belongs to an epoch that the run in run\.json {kept}"
    ):
        checkpoint.load("run", 3)
    with pytest.raises(CheckpointError, match=r"run-0009\.params: does not belong to a finished epoch"):
        checkpoint.check_files("run", 9, run, ("params",))


def test_damaged_files_are_passed_over_and_named_and_those_not_kept_only_passed_over(run):
    assert checkpoint.newest_whole_epoch("run", run) == (run.epochs[3], [])
    with open("run-0004.states", "r+b") as file:
        file.seek(30)
        file.write(b"\xff")
    found, faults = checkpoint.newest_whole_epoch("run", run)
    assert found == run.epochs[1]
    assert faults == ["run-0004.states: is damaged or not the run's (its content has changed)"]
    os.truncate("run-0002.params", 50)
    with pytest.raises(CheckpointError, match=r"run-0002\.params: is damaged or not the run's \(50 bytes, .*epoch 4$"):
        checkpoint.load("run")
    assert checkpoint.newest_whole_epoch("run", run)[0] is None


def test_a_file_without_a_stamp_is_not_taken_for_whole(run):
    first = dataclasses.replace(run.epochs[3], files={"params": run.epochs[3].files["params"]})
    sidecar = dataclasses.replace(run, epochs=(*run.epochs[:3], first))
    assert checkpoint.newest_whole_epoch("run", sidecar)[0] == run.epochs[1]
    assert "is not one of the files that the run kept" in checkpoint.pause_fault("run", Pause(1, 1, 1, {}, {}))


def test_a_symbol_that_was_replaced_is_refused(run):
    with open("run-symbol.json", "a") as file:
        file.write(" ")
    with pytest.raises(CheckpointError, match=r"run-symbol\.json: is damaged or not the run's .*own symbol back"):
        checkpoint.load("run")
    os.remove("run.json")
    assert checkpoint.load("run").epoch == 4


def test_a_sidecar_larger_than_any_run_makes_is_not_read(run):
    os.truncate("run.json", MOST_BYTES + 1)
    with pytest.raises(CheckpointError, match=r"run\.json: is larger than 64 MiB"):
        checkpoint.load("run")


def test_a_sidecar_that_nothing_could_read_is_not_written(run):
    before = Path("run.json").read_bytes()
    config = {"labels": "x" * MOST_BYTES}
    with pytest.raises(CheckpointError, match=r"run\.json: would have 64\.0 MiB, of which mxml reads 64: .* is kept"):
        checkpoint.save_sidecar("run", dataclasses.replace(run, config=config))
    assert Path("run.json").read_bytes() == before


@pytest.mark.parametrize("name", ["run.json", "run-symbol.json", "run-0002.params"])
def test_a_pipe_in_place_of_a_file_is_refused_and_not_waited_for(run, name):
    os.remove(name)
    os.mkfifo(name)
    with pytest.raises(CheckpointError, match=rf"^{name}: .*is not a regular file"):
        checkpoint.load("run")


def test_a_run_is_discarded_with_all_that_its_sidecar_names(run):
    open("run-0007.params", "w").close()
    checkpoint.discard_run("run")
    assert sorted(os.listdir()) == ["run-0007.params", "run-symbol.json"]


def test_a_stamp_is_the_size_and_the_sum_of_the_content(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    # FIPS 180-2, appendix B.1.
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert Stamp.of(tmp_path / "abc") == Stamp(3, digest)


@pytest.mark.parametrize(
    ("array", "value", "fault"),
    [
        ("arg:fc_weight", np.nan, "not a finite number in arg:fc_weight"),
        ("arg:fc_bias", np.inf, "not a finite number in arg:fc_bias"),
        ("aux:norm_moving_var", -1.0, "a variance below 0 in norm_moving_var"),
    ],
)
def test_parameters_that_give_no_scores_are_refused_by_their_names(tmp_path, array, value, fault):
    # A ReLU behind such a layer would turn NaN into 0, and every image would get the same tags.
    data = mx.sym.BatchNorm(mx.sym.Variable("data"), name="norm")
    net = mx.sym.FullyConnected(mx.sym.relu(data), num_hidden=2, name="fc")
    prefix = str(tmp_path / "net")
    checkpoint.save_symbol(prefix, mx.sym.sigmoid(net, name="sig"))
    params = {
        "arg:fc_weight": mx.nd.ones((2, 3)),
        "arg:fc_bias": mx.nd.zeros(2),
        "arg:norm_gamma": mx.nd.ones(3),
        "arg:norm_beta": mx.nd.zeros(3),
        "aux:norm_moving_mean": mx.nd.zeros(3),
        "aux:norm_moving_var": mx.nd.zeros(3),
    }
    path = RunFiles(prefix).params(0)
    params_file.write_params(path, params)
    assert checkpoint.load(prefix).epoch == 0
    params[array][1] = value
    params_file.write_params(path, params)
    with pytest.raises(ModelError, match=re.escape(f"{path}: {fault}; take")):
        checkpoint.load(prefix)


def test_arrays_without_a_kind_are_refused_with_their_file(tmp_path):
    prefix = str(tmp_path / "net")
    checkpoint.save_symbol(prefix, mx.sym.sigmoid(mx.sym.Variable("data"), name="sig"))
    params_file.write_params(RunFiles(prefix).params(0), {"conv0_weight": mx.nd.ones(2)})
    with pytest.raises(ModelError, match=r"net-0000\.params: holds 'conv0_weight'"):
        checkpoint.load(prefix)
