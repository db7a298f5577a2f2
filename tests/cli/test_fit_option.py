"""``--fit``: what ``mxml train`` is told, ``mxml predict`` and ``mxml evaluate`` do."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
import tiny
from commands import process

from mxml import Classifier, Preprocess
from mxml.images.decode import load
from mxml.images.network_input import prepare

TALL = "tall.png"


@pytest.fixture(scope="module")
def letterboxed(tmp_path_factory):
    """A folder with a run that letterboxes, trained by the whole command, and a tall image whose ends alone are red."""
    folder = tmp_path_factory.mktemp("fit")
    tiny.make_data(folder)
    options = tiny.arguments(folder, num_epoch=1, lr=0.5, fit="letterbox")
    run = process(folder, "train", *options)
    _, err = run.communicate(timeout=120)
    assert run.returncode == 0, err
    image = np.full((120, 40, 3), 60, np.uint8)
    image[:40, :, 2] = image[80:, :, 2] = 250
    assert cv2.imwrite(str(folder / TALL), image)
    return folder


def scores(mxml, *options):
    code, out, err = mxml("predict", "--prefix", "run", "--json", "--threshold", "0", *options, TALL)
    assert code == 0, err
    (record,) = map(json.loads, out.splitlines())
    return dict(zip(record["label_names"], record["scores"]))


def in_python(folder, preprocess):
    """Score the tall image with pixels that are fitted here."""
    ready = prepare(load(folder / TALL), preprocess)
    # Undone, and as large as the input, so that the classifier has nothing left to fit.
    pixels = ready.transpose(1, 2, 0) * preprocess.std + preprocess.mean
    plain = Preprocess(preprocess.size, None, preprocess.mean, preprocess.std)
    classifier = Classifier.load(folder / "run", preprocess=plain)
    (prediction,) = classifier.predict(np.rint(pixels).astype(np.uint8))
    return dict(zip(classifier.label_names, map(float, prediction.scores)))


def test_predict_fits_images_as_the_training_did_unless_told(letterboxed, mxml, monkeypatch):
    monkeypatch.chdir(letterboxed)
    sidecar = json.loads((letterboxed / "run.json").read_text())
    assert (sidecar["preprocess"]["fit"], sidecar["preprocess"]["short_side"]) == ("letterbox", None)
    assert sidecar["config"]["fit"] == "letterbox"
    found = {
        fit: scores(mxml, *options)
        for fit, options in (
            ("letterbox", ()),
            ("crop", ("--fit", "crop")),
            ("stretch", ("--fit", "stretch")),
        )
    }
    for fit, short_side in (("letterbox", None), ("crop", 32), ("stretch", None)):
        expected = in_python(letterboxed, Preprocess((32, 32), short_side, fit=fit))
        assert found[fit] == pytest.approx(expected, abs=0.01), fit
    for one, other in (("letterbox", "crop"), ("letterbox", "stretch"), ("crop", "stretch")):
        assert found[one] != pytest.approx(found[other], abs=0.03), "the fits can be told apart"


def test_evaluate_finds_the_metrics_of_the_letterboxed_training(letterboxed, mxml, monkeypatch):
    monkeypatch.chdir(letterboxed)
    (epoch,) = json.loads((letterboxed / "run.json").read_text())["epochs"]
    code, out, err = mxml("evaluate", "--prefix", "run", "--json")
    assert code == 0, err
    found = json.loads(out)
    for name in ("mAP", "loss", "hamming"):
        assert found[name] == pytest.approx(epoch["metrics"]["val"][name], rel=1e-5), name
    code, out, err = mxml("evaluate", "--prefix", "run", "--json", "--fit", "crop")
    assert code == 0, err
    assert json.loads(out)["loss"] != pytest.approx(found["loss"], rel=1e-5)


def test_a_run_goes_on_with_its_own_fit_and_no_other(letterboxed, mxml):
    prefix = letterboxed / "run"
    before = prefix.with_suffix(".json").read_text()
    code, _, err = mxml("train", "--prefix", prefix, "--resume", "--fit", "stretch", "--num-epoch", "2")
    assert code == 1 and "--fit stretch: the run to resume has letterbox" in err
    assert prefix.with_suffix(".json").read_text() == before
    code, _, err = mxml("train", *tiny.arguments(letterboxed, "other", fit="pad"))
    assert code == 2 and "'--fit': 'pad' is not one of" in err


def test_a_run_from_before_there_was_a_fit_crops_and_goes_on(folder, mxml):
    path = folder / "saved" / "multi.json"
    sidecar = json.loads(path.read_text())
    whole = mxml("predict", "--prefix", "saved/multi", "--json")
    del sidecar["preprocess"]["fit"], sidecar["config"]["fit"]
    path.write_text(json.dumps(sidecar))
    assert mxml("predict", "--prefix", "saved/multi", "--json") == whole
    assert Classifier.load("saved/multi").preprocess == Preprocess((32, 32), 32)
    code, _, err = mxml("train", "--prefix", "saved/multi", "--resume", "--num-epoch", "3")
    assert code == 0, err
    assert json.loads(path.read_text())["preprocess"]["fit"] == "crop"
