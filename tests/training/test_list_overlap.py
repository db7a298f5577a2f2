"""Images that are in both lists: found by their paths, and said in a line."""

import os
import shutil

import pytest
import tiny
from told import StopIn, Told

from mxml.data.formats import rec_file
from mxml.data.formats.options import DEFAULTS
from mxml.data.labelled_images import LabelledImages
from mxml.data.lst_file import read_lst
from mxml.errors import Interrupted
from mxml.progress import SILENT
from mxml.training.fit import fit
from mxml.training.list_overlap import note_overlap
from mxml.training.run_data import open_data
from mxml.training.signals import StopRequest


@pytest.fixture
def folder(folder, monkeypatch):
    monkeypatch.chdir(folder)
    return folder


def said(folder, **changes):
    lists = {f"data_{name}": f"lists/{name}.lst" for name in ("train", "val")}
    config = tiny.config(folder, **{**lists, **changes})
    told = Told()
    note_overlap(config.lists, open_data(config, SILENT), told)
    return told.notes


def test_lists_without_a_common_image_need_no_word(folder):
    assert said(folder) == []


def test_the_same_list_twice_is_said(folder):
    os.symlink("lists/train.lst", "again.lst")
    for val in ("lists/train.lst", "again.lst"):
        assert said(folder, data_val=val, image_val="images", labels="lists/labels.txt") == [
            f"{val}: 40 of its 40 images are in lists/train.lst too; the network trains on them, so the validation "
            "metrics flatter it"
        ]


def test_a_run_says_it_before_it_trains(folder):
    told = Told()
    fit(tiny.config(folder, data_val=str(folder / "lists/train.lst"), num_epoch=1), told)
    first_epoch = next(number for number, line in enumerate(told.notes) if line.startswith("epoch 1/1"))
    (said_at,) = (number for number, line in enumerate(told.notes) if "40 of its 40 images are in " in line)
    assert said_at < first_epoch


def test_images_count_whatever_way_their_paths_take(folder):
    lines = (folder / "lists" / "val.lst").read_text().splitlines()
    os.symlink("images", "photos")
    os.symlink("../images/1-5.png", "images/link.png")
    shutil.copy("images/1-6.png", "images/copy.png")
    others = ["./1-3.png", "../photos/1-4.png", "link.png", "copy.png", str(folder / "images" / "1-7.png")]
    changed = [f"{line.rpartition(chr(9))[0]}\t{name}" for line, name in zip(lines, others)]
    (folder / "lists" / "val.lst").write_text("\n".join([*changed, *lines[5:]]) + "\n")
    (line,) = said(folder, allow_absolute=True)
    assert line.startswith("lists/val.lst: 4 of its 12 images are in lists/train.lst too; ")


def test_records_are_the_same_in_the_same_file_alone(folder):
    for name in ("train", "val"):
        images = read_lst(f"lists/{name}.lst", "images")
        rec_file.write(LabelledImages(images, tiny.LABELS), folder / f"{name}.rec", DEFAULTS)
    given = {"image_train": None, "image_val": None, "data_train": "train.rec"}
    assert said(folder, **given, data_val="val.rec") == []
    (line,) = said(folder, **given, data_val="./train.rec")
    assert line.startswith("./train.rec: 40 of its 40 images are in train.rec too; ")
    # Half of them by an index of its own.
    os.symlink("train.rec", "half.rec")
    lines = (folder / "train.idx").read_text().splitlines(keepends=True)
    (folder / "half.idx").write_text("".join(lines[20:]))
    (line,) = said(folder, **given, data_val="half.rec")
    assert line.startswith("half.rec: 20 of its 20 images are in train.rec too; ")


def test_links_of_the_training_list_are_followed(folder):
    os.symlink("2-3.png", "images/link.png")
    os.symlink("images", "photos")
    lines = (folder / "lists" / "train.lst").read_text().splitlines()
    for index, name in enumerate(["link.png", "../photos/2-4.png", "../photos/link.png"]):
        lines[index] = f"{lines[index].rpartition(chr(9))[0]}\t{name}"
    (folder / "lists" / "train.lst").write_text("\n".join(lines) + "\n")
    (line,) = said(folder, allow_absolute=True)
    assert line.startswith("lists/val.lst: 2 of its 12 images are in lists/train.lst too; ")
    # So many more entries that the folder is not read whole.
    for number in range(1000):
        (folder / "images" / f"more-{number}").touch()
    assert said(folder, allow_absolute=True) == [line]


def test_the_images_of_a_folder_are_not_asked_about_one_by_one(folder, monkeypatch):
    data = open_data(tiny.config(folder), SILENT)
    asked, lstat = [], os.lstat

    def counting(path, **options):
        asked.append(path)
        return lstat(path, **options)

    monkeypatch.setattr(os, "lstat", counting)
    note_overlap(("train", "val"), data, SILENT)
    assert [path for path in asked if str(path).endswith(".png")] == []


def test_a_signal_ends_the_comparison(folder):
    config, stop = tiny.config(folder), StopRequest()
    notes = StopIn(stop, "comparing both lists")
    with pytest.raises(Interrupted, match="stopped by SIGINT before the run began"):
        fit(config, notes, stop=stop)
    assert not (folder / "run.json").exists()
