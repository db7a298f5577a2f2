"""``mxml runs``: what is found where, what the tables say, and that a stranger's sidecar does no harm."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from typing import Any

import pytest

from mxml.images.transforms import preset
from mxml.model.prefix_lock import locked
from mxml.model.sidecar import Divergence, Epoch, Sidecar, UsedList
from mxml.progress import SILENT
from mxml.training.config import TrainConfig
from mxml.training.runs import find_runs, read_run


def sidecar(prefix, mAP=0.5, epochs=2, **changes):
    """Return the sidecar of a run at ``prefix`` whose best epoch is the last."""
    fields: dict[str, Any] = {name: changes.pop(name) for name in ("finished", "diverged", "data") if name in changes}
    config = TrainConfig(
        prefix=str(prefix), model=str(prefix.parent / "net"), data_train="train.lst", data_val="val.lst", **changes
    )
    done = [
        Epoch(number, number * 5, {"seconds": 40.0, "val": {"mAP": mAP - (epochs - number) / 10, "loss": 0.25}}, {})
        for number in range(1, epochs + 1)
    ]
    data = {"val": UsedList(str(prefix.parent / "val.lst"), ".", 12, "0" * 64)}
    known: dict[str, Any] = {
        "label_names": ("a",),
        "preprocess": preset("original", (224, 224)),
        "thresholds": (0.5,),
        "versions": {},
    }
    return Sidecar(
        **{"config": config.to_dict(), "data": data, **known, "finished": True, "best_epoch": epochs, **fields},
        epochs=tuple(done),
    )


def write_run(prefix, mAP=0.5, **changes):
    prefix.parent.mkdir(parents=True, exist_ok=True)
    prefix.with_name(f"{prefix.name}.json").write_text(sidecar(prefix, mAP, **changes).to_json(str(prefix.parent)))
    prefix.with_name(f"{prefix.name}-symbol.json").write_text("{}")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Two runs, a pretrained network, and files of no run beside them."""
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path / "runs" / "first", 0.7)
    write_run(tmp_path / "runs" / "second", 0.9, lr=0.5, seed=3, num_epoch=2)
    for name in ("net-symbol.json", "net-0000.params", "train.log", "lists.json", "first-0002.params", "first.lock"):
        (tmp_path / "runs" / name).write_text("{}")
    return tmp_path


def cells(out):
    """Return the tables as dictionaries by prefix."""
    tables = []
    for block in out.strip().split("\n\n"):
        head, *rows = (line.split() for line in block.splitlines())
        tables.append({row[0]: dict(zip(head, row)) for row in rows})
    return tables


def test_the_tables_show_the_runs_and_in_what_they_differ(folder, mxml):
    code, out, err = mxml("runs", "runs/first", "runs/second")
    assert (code, err) == (0, "")
    runs, settings = cells(out)
    assert runs["runs/first"] == {
        "prefix": "runs/first", "state": "finished", "model": "net", "method": runs["runs/first"]["method"],
        "epochs": "2/10", "best": "2", "mAP": "0.7000", "CF1": "-", "OF1": "-", "loss": "0.2500",
        "lr": runs["runs/first"]["lr"], "optimizer": runs["runs/first"]["optimizer"], "batch": "32",
        "shape": "3,224,224", "training": "1",
    }  # fmt: skip
    assert "1 min 20 s" in out
    assert runs["runs/second"]["epochs"] == "2/2" and runs["runs/second"]["lr"] == "0.5"
    assert settings == {
        "runs/first": {"prefix": "runs/first", "seed": "0"},
        "runs/second": {"prefix": "runs/second", "seed": "3"},
    }


@pytest.mark.parametrize(
    "places",
    [
        ["runs"],
        ["runs/*"],
        ["**/*.json"],
        ["runs/first", "runs/second.json", "./runs/first-0002.params"],
        # What a shell makes of runs/*
        [f"runs/{name}" for name in ("first-0002.params", "first.json", "first.lock", "lists.json", "net-0000.params",
                                     "net-symbol.json", "second-symbol.json", "train.log")],
    ],
)  # fmt: skip
def test_folders_patterns_and_files_lead_to_runs_each_once(folder, places):
    assert find_runs(places) == ["runs/first", "runs/second"]


@pytest.mark.parametrize(
    ("by", "first"), [("mAP", "runs/second"), ("seconds", "runs/first"), ("loss", "runs/first"), ("CF1", "runs/first")]
)
def test_the_best_is_first(folder, mxml, by, first):
    write_run(folder / "runs" / "second", 0.9, epochs=3)
    (folder / "runs" / "broken.json").write_text("{")
    code, out, _ = mxml("runs", "runs/broken", "runs/first", "runs/second", "--sort", by)
    order = [line.split()[0] for line in out.splitlines()[1:4]]
    assert code == 1
    assert order[0] == first and order[2] == "runs/broken"


def test_a_broken_sidecar_is_one_row_and_the_command_fails(folder, mxml):
    (folder / "runs" / "second.json").write_text((folder / "runs" / "second.json").read_text()[:300])
    code, out, err = mxml("runs", "runs", "nowhere")
    assert code == 1
    assert [line.split()[:2] for line in out.splitlines()[1:]] == [
        ["runs/first", "finished"], ["runs/second", "broken"]
    ]  # fmt: skip
    first, second = err.splitlines()
    assert first.startswith("mxml: runs/second.json: is not JSON")
    assert second == "mxml: nowhere.json: does not exist; there is no run of mxml"


def test_a_run_that_is_not_there_has_no_row(folder, mxml):
    assert mxml("runs", "ic") == (1, "", "mxml: ic.json: does not exist; there is no run of mxml\n")


def test_a_place_without_runs_is_an_error(folder, mxml):
    (folder / "empty").mkdir()
    assert mxml("runs", "empty") == (1, "", "mxml: empty: has no run of mxml\n")


def test_the_state_says_how_a_run_stands(folder, mxml):
    write_run(folder / "stopped", finished=False)
    write_run(folder / "diverged", finished=False, diverged=(Divergence(2, 7, "the loss is not finite", 0.1),) * 2)
    write_run(folder / "survived", diverged=(Divergence(2, 7, "the loss is not finite", 0.1),))
    write_run(folder / "running", finished=False)
    with locked("running", SILENT):
        _, out, _ = mxml("runs", "stopped", "diverged", "running", "survived")
    assert [line.split()[:2] for line in out.splitlines()[1:5]] == [
        ["stopped", "stopped"], ["diverged", "diverged"], ["running", "running"],
        ["survived", "finished"],
    ]  # fmt: skip
    (folder / "running.lock").touch()  # a killed run leaves it
    assert read_run("running").state == "stopped"


def test_the_epochs_are_counted_of_those_that_the_run_will_have(folder, mxml):
    write_run(folder / "features" / "whole", epochs=1, method="features")
    write_run(folder / "later" / "whole", epochs=2, epoch=3, num_epoch=9)
    runs = cells(mxml("runs", "features", "later")[1])[0]
    assert {name: row["epochs"] for name, row in runs.items()} == {"features/whole": "1/1", "later/whole": "2/6"}


def test_json_has_all_of_it(folder, mxml):
    code, out, _ = mxml("runs", "runs", "nowhere", "--json")
    assert code == 1
    found = json.loads(out)
    first, second, nowhere = found["runs"]
    assert first["metrics"] == {"mAP": 0.7, "loss": 0.25} and first["seconds"] == 80
    assert first["settings"]["model"] == "runs/net" and first["best_epoch"] == 2
    assert (second["settings"]["lr"], second["settings"]["seed"]) == (0.5, 3)
    assert found["settings_that_differ"] == ["num_epoch", "lr", "seed"]
    assert nowhere["error"].startswith("nowhere.json: does not exist")


def test_different_validation_lists_are_said(folder, mxml):
    other = {"val": UsedList("other.lst", ".", 12, "1" * 64)}
    write_run(folder / "runs" / "second", 0.9, data=other)
    assert "validated on different lists" in mxml("runs", "runs")[1]
    write_run(folder / "runs" / "second", 0.9)
    assert "validated on different lists" not in mxml("runs", "runs")[1]


def test_a_strangers_values_are_shown_as_text_or_not_at_all(folder, mxml):
    made = sidecar(folder / "strange")
    config = {**made.config, "lr": {"a": 1}, "model": 3, "optimizer": "x" * 500 + "\x1b[2J", "unheard": [1, [2]]}
    for name, metrics in (
        ("strange", {"seconds": "long", "val": {"mAP": "high", "CF1": True, "loss": "INFINITE", "OF1": 0.5}}),
        ("odd", {"val": 7}),
    ):
        text = dataclasses.replace(made, config=config, epochs=(Epoch(2, 1, metrics, {}),)).to_json("")
        (folder / f"{name}.json").write_text(text.replace('"INFINITE"', "1e308"))
    code, out, err = mxml("runs", "strange", "odd", "runs")
    assert (code, err) == (0, "")
    assert cells(out)[0]["strange"]["state"] == "finished" and " 0.5000 " in out.splitlines()[1]
    assert "\x1b" not in out and "inf" not in out and max(map(len, out.splitlines())) < 500


def test_only_sidecars_are_read(folder):
    code = (
        "import sys, mxml.cli.runs\nsys.exit(str(sorted({'mxnet', 'cv2', 'sklearn', 'matplotlib'} & set(sys.modules))))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.stderr == "[]\n"


def test_the_working_directory_is_looked_in_where_none_is_named(folder, mxml, monkeypatch):
    assert mxml("runs") == (
        1, "", "mxml: .: has no run of mxml itself, but runs (2 runs): mxml runs runs\n"
    )  # fmt: skip
    monkeypatch.chdir(folder / "runs")
    code, out, _ = mxml("runs")
    assert code == 0 and set(cells(out)[0]) == {"first", "second"}


def test_a_pattern_that_matches_nothing_is_said(folder, mxml):
    code, _, err = mxml("runs", "runs", "none/*")
    assert (code, err) == (1, "mxml: none/*: no run of mxml matches\n")


def test_what_long_paths_have_in_common_is_shown_once(folder, mxml):
    place = folder / ("experiments-of-a-year-" * 3) / "clothes"
    for name in ("first", "deeper/second"):
        write_run(place / name, 0.5, labels=str(place / name / "labels.txt"))
    (folder / "broken.json").write_text("{")
    code, out, err = mxml("runs", place / "first", place / "deeper", folder / "broken")
    assert (code, err.count("\n")) == (1, 1)
    lines = out.splitlines()
    assert lines[0] == f"{folder}:" and [line.split()[0] for line in lines[2:4]] == [
        f"...{str(place / name)[-57:]}" for name in ("first", "deeper/second")
    ]  # fmt: skip

    code, out, _ = mxml("runs", place / "first", place / "deeper")

    first, *rest = out.splitlines()
    assert (code, first) == (0, f"{place}:")
    runs, settings = cells("\n".join(rest))
    assert set(runs) == set(settings) == {"first", "deeper/second"}
    assert settings["first"]["labels"] == ".../first/labels.txt"
    assert json.loads(mxml("runs", place, "--json")[1])["runs"][0]["prefix"] == str(place / "first")


def test_runs_one_folder_below_are_named(folder, mxml):
    assert mxml("runs", str(folder))[2].endswith(f": mxml runs {folder}/runs\n")


def test_paths_far_away_are_shown_absolute(folder, mxml, monkeypatch):
    (folder / "deep/deeper").mkdir(parents=True)
    (folder / "beside").mkdir()
    monkeypatch.chdir(folder / "beside")
    (near,) = find_runs(["../runs/first"])
    assert read_run(near).settings["model"] == "../runs/net"
    monkeypatch.chdir(folder / "deep/deeper")
    described = read_run("../../runs/first")
    assert described.settings["model"] == str(folder / "runs/net")
    assert described.settings["data_train"] == str(folder / "train.lst")


@pytest.mark.parametrize(("times", "rates"), [(1, "0.5, then 0.05"), (2, "0.5, then 0.05")])
def test_a_run_that_diverged_has_the_rates_it_was_trained_with(folder, mxml, times, rates):
    entries = tuple(Divergence(2, 10, "the loss is not finite", 0.1**number) for number in range(1, times + 1))
    write_run(folder / "runs" / "third", lr=0.5, diverged=entries)
    code, out, err = mxml("runs", "runs/third")
    assert code == 0, err
    assert f"  {rates}  " in out
    assert read_run("runs/third").rates == pytest.approx((0.5, 0.05))
    assert read_run("runs/second").rates == (0.5,)
