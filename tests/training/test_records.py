"""Training and evaluating straight from RecordIO files: as from the lists that they were packed from."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tiny
from told import Told

from mxml.data.formats import rec_file
from mxml.data.formats.options import DEFAULTS
from mxml.data.labelled_images import LabelledImages
from mxml.data.lst_file import read_lst
from mxml.data.record_list import RecordList
from mxml.errors import CheckpointError, ListError
from mxml.inference.classifier import Classifier
from mxml.model import params_file
from mxml.progress import SILENT
from mxml.training.fit import fit, resume


@pytest.fixture
def folder(folder):
    (folder / "records").mkdir()
    for name in ("train", "val"):
        images = read_lst(folder / "lists" / f"{name}.lst", folder / "images")
        rec_file.write(LabelledImages(images, tiny.LABELS), folder / "records" / f"{name}.rec", DEFAULTS)
        (folder / "records" / f"{name}.lst").unlink()
    # Nothing but the records is there to train on.
    shutil.copytree(folder / "images", folder / "kept")
    return folder


def from_records(folder, prefix="rec", **changes):
    given = {f"data_{name}": str(folder / "records" / f"{name}.rec") for name in ("train", "val")}
    return tiny.config(folder, prefix, **{"image_train": None, "image_val": None, **given, **changes})


def parameters(folder, prefix, epoch):
    params = params_file.read_params(str(folder / f"{prefix}-{epoch:04d}.params"))
    return {name: array.asnumpy().tobytes() for name, array in params.items()}


def damage(rec: Path, number: int, at: int, content: bytes) -> None:
    """Write over a record, ``at`` bytes after its beginning."""
    offset = int(rec.with_suffix(".idx").read_text().splitlines()[number].split()[1]) + at
    data = bytearray(rec.read_bytes())
    data[offset : offset + len(content)] = content
    rec.write_bytes(data)


@pytest.mark.parametrize("index", [True, False])
def test_a_run_on_records_is_the_run_on_the_files_that_they_hold(folder, index):
    if not index:
        (folder / "records" / "train.idx").unlink()
    fit(tiny.config(folder, "files", num_epoch=2), SILENT)
    shutil.rmtree(folder / "images")
    fit(from_records(folder, num_epoch=2), SILENT)
    assert parameters(folder, "rec", 2) == parameters(folder, "files", 2)
    sidecars = [json.loads((folder / f"{prefix}.json").read_text()) for prefix in ("rec", "files")]
    assert sidecars[0]["label_names"] == sidecars[1]["label_names"] == list(tiny.LABELS)
    assert sidecars[0]["epochs"][-1]["metrics"]["val"] == sidecars[1]["epochs"][-1]["metrics"]["val"]

    shutil.copytree(folder / "kept", folder / "images")
    classifier = Classifier.load(folder / "rec")
    of_list = classifier.evaluate(folder / "lists" / "val.lst", folder / "images").metrics
    assert classifier.evaluate(folder / "records" / "val.rec").metrics.to_dict() == of_list.to_dict()
    # By default the run's own.
    assert classifier.evaluate().metrics.to_dict() == of_list.to_dict()
    labels = [prediction.labels for prediction in classifier.predict()]
    listed = read_lst(folder / "lists" / "val.lst", folder / "images")
    assert labels == [prediction.labels for prediction in classifier.predict(listed)]


def test_a_resumed_run_refuses_records_that_have_changed(folder):
    config = from_records(folder, num_epoch=1)
    fit(config, SILENT)
    resume(config.prefix, {"num_epoch": 2}, SILENT)
    rec = folder / "records" / "train.rec"
    damage(rec, 3, 32, np.array([1 - RecordList(rec).labels[3, 0]], "<f4").tobytes())
    with pytest.raises(CheckpointError, match=r"train.rec: has changed since the run"):
        resume(config.prefix, {"num_epoch": 3}, SILENT)


def test_a_resumed_run_says_that_an_image_in_a_record_has_changed(folder):
    config = from_records(folder, num_epoch=1)
    fit(config, SILENT)
    rec = folder / "records" / "train.rec"
    damage(rec, 3, 60, b"no picture")
    told = Told()
    resume(config.prefix, {"num_epoch": 2}, told)
    [note] = told.about("its images have changed since the run")
    place = rec.with_suffix(".idx").read_text().splitlines()[3].split()[1]
    assert f"(1 of 40 images, the first is {rec}: record 4 at byte {int(place):,})" in note


@pytest.mark.parametrize("index", [True, False])
@pytest.mark.parametrize(
    ("at", "content"),
    [(0, b"what"), (4, b"\xff\xff\x00\x00"), (8, b"\xff\xff\xff\x00"), (60, b"no picture")],
    ids=["magic", "length", "label count", "image"],
)
def test_a_damaged_record_is_one_bad_image(folder, index, at, content):
    rec = folder / "records" / "train.rec"
    whole = RecordList(rec)
    damage(rec, 5, at, content)
    if not index:
        rec.with_suffix(".idx").unlink()
    result = fit(from_records(folder, num_epoch=1), SILENT)
    [bad] = result.bad
    assert bad.path == whole.name(5)
    images = RecordList(rec)
    others = np.arange(len(whole)) != 5
    assert (images.labels[others] == whole.labels[others]).all()
    assert (images.labels[5] == (-1 if images.damaged else whole.labels[5])).all()


def test_too_many_damaged_records_end_the_run_before_it_begins(folder):
    rec = folder / "records" / "train.rec"
    for number in range(0, 40, 10):
        damage(rec, number, 0, b"what")
    with pytest.raises(ListError, match=r"train.rec: 4 of 40 records are damaged.*record 1 at byte 0: begins with"):
        fit(from_records(folder), SILENT)
    assert not (folder / "rec.json").exists()


def test_labels_that_are_none_and_other_numbers_of_them_are_refused(folder):
    rec = folder / "records" / "train.rec"
    with pytest.raises(ListError, match="its records have 3 labels, should have 5"):
        RecordList(rec, 5)
    damage(rec, 7, 36, np.array([0.5], "<f4").tobytes())
    with pytest.raises(ListError, match=r"record 8 at byte [\d,]+: label 2 is 0.5, should be 0, 1 or -1 \(unknown\)"):
        fit(from_records(folder), SILENT)


def test_records_outside_of_the_runs_folder_are_trusted_by_their_sum(folder):
    (folder / "runs").mkdir()
    fit(from_records(folder, "runs/rec", num_epoch=1), SILENT)
    classifier = Classifier.load(folder / "runs" / "rec")
    assert classifier.evaluate().samples == 12
    rec = folder / "records" / "val.rec"
    damage(rec, 2, 32, np.array([1 - RecordList(rec).labels[2, 0]], "<f4").tobytes())
    with pytest.raises(CheckpointError, match=r"val.rec: .* is not the file that the run read"):
        classifier.evaluate()
