"""Images unlike the training images: described at the end of a run or by a command, and marked by ``predict``."""

from __future__ import annotations

import csv
import json
import shutil

import cv2
import numpy as np
import pytest

from mxml.data.lst_file import read_lst
from mxml.model import described
from mxml.model.checkpoint import load, read_sidecar

PREDICT = ("predict", "--prefix", "saved/multi")


def best_epoch():
    sidecar = read_sidecar("saved/multi")
    assert sidecar is not None and sidecar.best_epoch is not None
    return sidecar.best_epoch


@pytest.fixture
def odd(folder):
    """An image as no training image is: white, without noise."""
    assert cv2.imwrite(str(folder / "odd.png"), np.full((40, 44, 3), 255, np.uint8))
    return "odd.png"


@pytest.fixture
def described_folder(folder, mxml):
    """The folder of the run, whose lists' images are named by their folder."""
    assert (folder / "saved" / "multi-described.params").is_file()
    return folder


def test_a_run_describes_its_training_images_and_predict_marks_what_is_unlike_them(described_folder, odd, mxml):
    code, out, err = mxml(*PREDICT, "images/2-0.png", odd, "--json")
    assert code == 0, err
    like, unlike = map(json.loads, out.splitlines())
    assert like["unlike"] is False and 0 < like["distance"] <= 1
    assert unlike["unlike"] is True and unlike["distance"] > 1
    assert "1 of 2 images is unlike the training images; of the validation images 0% would be marked" in err

    code, out, err = mxml(*PREDICT, "images/2-0.png", odd)
    like, unlike = out.splitlines()
    assert not like.endswith("unlike the training images")
    assert unlike.startswith("odd.png: ") and unlike.endswith("; unlike the training images")

    code, out, err = mxml(*PREDICT, "images/2-0.png", odd, "--unlike", "drop")
    assert out.splitlines() == [like, "odd.png: unlike the training images"]
    code, out, err = mxml(*PREDICT, odd, "--unlike", "drop", "--json", "--top-k", "1")
    assert json.loads(out)["label_names"] == [] and json.loads(out)["unlike"] is True

    code, out, err = mxml(*PREDICT, odd, "--unlike", "off", "--json")
    assert "unlike" not in out + err


def test_one_epoch_is_described_and_a_command_describes_another(described_folder, odd, mxml):
    folder = described_folder
    best = best_epoch()
    other = 3 - best
    ask = (*PREDICT, odd, "--epoch", str(other), "--json")
    code, out, err = mxml(*ask)
    assert (code, "unlike" in out) == (0, False)
    code, out, err = mxml(*ask, "--unlike", "mark")
    makes = f"mxml describe --prefix saved/multi --epoch {other}"
    assert code == 1 and f"epoch {other} has no description of its training images; {makes} makes it" in err

    code, out, err = mxml(*makes.split()[1:])
    assert code == 0, err
    assert "described 40 training images" in err
    code, out, err = mxml(*ask, "--unlike", "mark")
    assert (code, json.loads(out)["unlike"]) == (0, True)
    assert described.load(load("saved/multi", best)) is None

    shutil.move(folder / "images", folder / "moved")
    code, out, err = mxml("describe", "--prefix", "saved/multi", "--root", "moved")
    assert code == 0, err
    found = described.load(load("saved/multi", best))
    assert found is not None and found.train_images == 40


def test_images_prepared_in_another_way_are_not_compared(described_folder, odd, mxml):
    code, out, err = mxml(*PREDICT, odd, "--fit", "stretch", "--json")
    assert (code, "unlike" in out) == (0, False)
    assert err.count("no image is marked as unlike the training images: images are prepared otherwise than in") == 1
    code, out, err = mxml(*PREDICT, odd, "--fit", "stretch", "--csv")
    assert (code, "unlike" in out) == (0, False)
    code, out, err = mxml(*PREDICT, odd, "--fit", "stretch", "--unlike", "off")
    assert (code, "unlike" in err) == (0, False)
    code, out, err = mxml(*PREDICT, odd, "--fit", "stretch", "--unlike", "drop")
    assert code == 1 and "images are prepared otherwise than in its training" in err and "leave --unlike out" in err


def test_a_network_without_a_sidecar_has_nothing_to_compare_with(described_folder, odd, mxml):
    net = ("predict", "--prefix", "net", "--image-shape", "3,32,32", odd)
    for given in ((), ("--preset", "imagenet")):
        code, _, err = mxml(*net, *given, "--unlike", "drop")
        assert code == 1 and "net: has no sidecar, so nothing describes its training images" in err


def test_tables_and_sorting_know_what_is_unlike_the_training_images(described_folder, odd, mxml):
    code, out, err = mxml(*PREDICT, "images/2-0.png", odd, "--csv")
    assert code == 0, err
    head, like, unlike = csv.reader(out.splitlines())
    assert head[-2:] == ["unlike", "distance"] and [like[-2], unlike[-2]] == ["false", "true"]
    code, out, err = mxml(*PREDICT, odd, "--csv", "--unlike", "off")
    assert code == 0 and "unlike" not in out

    sort = ("sort", "--prefix", "saved/multi", odd, "--top-k", "1", "--json")
    code, out, err = mxml(*sort, "--to", "marked")
    assert code == 0 and json.loads(out)["to"] == ["_unlike/odd.png"], err
    code, out, err = mxml(*sort, "--to", "by-label", "--unlike", "off")
    (label,) = json.loads(out)["label_names"]
    assert code == 0 and json.loads(out)["to"] == [f"{label}/odd.png"]


def test_a_damaged_description_costs_only_the_marks(described_folder, odd, mxml):
    path = described_folder / "saved" / "multi-described.params"
    content = bytearray(path.read_bytes())
    content[-40] ^= 1
    for damaged in (bytes(content), content[:-9], b""):
        path.write_bytes(damaged)
        code, out, err = mxml(*PREDICT, odd, "--json")
        assert (code, "unlike" in out) == (0, False)
        assert "saved/multi-described.params: cannot be used: it is damaged or not the run's; mxml describe" in err
        assert mxml(*PREDICT, odd, "--unlike", "mark")[0] == 1


def test_a_resume_makes_the_description_that_a_killed_run_has_not(described_folder, mxml):
    path = described_folder / "saved" / "multi-described.params"
    before = path.read_bytes(), read_sidecar("saved/multi")
    # The sidecar of a run that was killed before it: nothing names a description.
    sidecar = described_folder / "saved" / "multi.json"
    fields = json.loads(sidecar.read_text())
    del fields["described"]
    sidecar.write_text(json.dumps(fields))
    path.unlink()
    code, _out, err = mxml("train", "--prefix", "saved/multi", "--resume")
    assert code == 0, err
    assert (path.read_bytes(), read_sidecar("saved/multi")) == before
    assert "described 40" not in mxml("train", "--prefix", "saved/multi", "--resume")[2]


def test_a_description_that_cannot_be_written_ends_no_run(described_folder, mxml):
    path = described_folder / "saved" / "multi-described.params"
    path.unlink()
    path.mkdir()
    code, _out, err = mxml("train", "--prefix", "saved/multi", "--resume")
    assert code == 0
    assert "the training images are not described, so that no image is marked as unlike them: " in err


def test_a_description_counts_only_for_the_parameters_it_was_made_for(described_folder):
    sidecar = described_folder / "saved" / "multi.json"
    best = best_epoch()
    assert described.named(read_sidecar("saved/multi"), best) is not None
    fields = json.loads(sidecar.read_text())
    fields["described"]["params"] = "0" * 64
    sidecar.write_text(json.dumps(fields))
    assert described.named(read_sidecar("saved/multi"), best) is None


def test_describe_says_what_it_cannot_describe(described_folder, mxml):
    code, _, err = mxml("describe", "--prefix", "net")
    assert code == 2 and "--prefix net: should be a checkpoint that mxml trained" in err
    shutil.rmtree(described_folder / "images")
    code, _out, err = mxml("describe", "--prefix", "saved/multi")
    assert code == 1 and err.count("\n") < 20


def test_a_checkpoint_copied_elsewhere_is_described_by_images_that_are_given(described_folder, odd, mxml):
    images = read_lst("lists/train.lst", "images")
    (described_folder / "some").mkdir()
    for position in range(len(images)):
        shutil.copy(images.path(position), "some")
    for gone in ("lists", "images"):
        shutil.rmtree(described_folder / gone)
    for given in ((), ("--root", "some")):
        code, _, err = mxml("describe", "--prefix", "saved/multi", *given)
        assert code == 1 and "does not exist; give the training images as --data: any list or folder of them" in err
    code, _, err = mxml("describe", "--prefix", "saved/multi", "--data", "some")
    assert code == 0, err
    assert "the run's validation list cannot be used: 8 images of those given" in err
    assert "described 32 training images" in err
    code, out, err = mxml(*PREDICT, odd, "--json", "--unlike", "mark")
    assert (code, json.loads(out)["unlike"]) == (0, True)
    code, _, err = mxml("describe", "--prefix", "saved/multi", "--data", "nowhere.lst")
    assert code == 1 and len(err.splitlines()) == 1
