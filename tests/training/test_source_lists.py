"""A run that makes its lists of labelled images: what it leaves, what it says, and how it goes on."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import tiny
from told import StopIn, Told

from mxml.data.formats import FORMATS
from mxml.data.formats.options import FormatOptions
from mxml.data.formats.sources import LabelSources
from mxml.data.image_list import ImageList
from mxml.data.label_names import read_label_names
from mxml.data.lst_file import read_lst
from mxml.errors import CheckpointError, Interrupted, ListError, MxmlError, SettingError, StorageError
from mxml.inference.checkpoint_data import tags_its_own_images
from mxml.inference.classifier import Classifier
from mxml.model import checkpoint
from mxml.model.sidecar import Stamp
from mxml.prepare.check import check_lists, check_made
from mxml.prepare.make_lists import make_lists
from mxml.progress import SILENT
from mxml.training import changed_images, resuming
from mxml.training import fit as train
from mxml.training.features.folds import cross_validate_folds
from mxml.training.run_data import open_data
from mxml.training.signals import StopRequest
from mxml.training.source_lists import with_lists


def write_images(folder, rows, first=0):
    """Write an image with random cells for each row of labels, and return their names."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"{number}.png" for number in range(first, first + len(rows))]
    for number, name in enumerate(names, first):
        cells = np.random.default_rng(number).integers(0, 256, (6, 6, 3), np.uint8)
        cv2.imwrite(str(folder / name), cv2.resize(cells, (48, 48), interpolation=cv2.INTER_CUBIC))
    return names


def write_table(path, names, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([["image", *tiny.LABELS], *([name, *row] for name, row in zip(names, rows))])


def labelled(folder, rows, table="photos/labels.csv"):
    write_table(folder / table, write_images((folder / table).parent, rows), rows)


def every_kind(count):
    """Return rows of labels in which each combination of three occurs in turn."""
    return [[number >> bit & 1 for bit in range(3)] for number in range(1, count + 1)]


def config(folder, prefix="runs/a", **changes):
    given = {"data": ("photos/labels.csv",), "data_train": None, "data_val": None, "image_train": None}
    return tiny.config(folder, **{**given, "image_val": None, "prefix": prefix, "num_epoch": 1, **changes})


def sidecar_of(prefix):
    sidecar = checkpoint.read_sidecar(prefix)
    assert sidecar is not None
    return sidecar


def split_of(folder):
    return {name: part for part in ("train", "val") for name in read_lst(Path(folder) / f"{part}.lst").names()}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working directory: a network, and forty images with a table beside them."""
    monkeypatch.chdir(tmp_path)
    tiny.make_network(tmp_path / "net")
    labelled(tmp_path, every_kind(40))
    return tmp_path


# ---- the lists


def test_the_lists_are_those_of_make_lst_and_the_sidecar_names_them(folder):
    train.fit(config(folder, seed=7), SILENT)
    make_lists(LabelSources((Path("photos/labels.csv"),)), Path("runs/b-lists"))
    for name in ("train.lst", "val.lst", "labels.txt", "lists.json"):
        assert Path("runs/a-lists", name).read_bytes() == Path("runs/b-lists", name).read_bytes(), name
    sidecar = sidecar_of("runs/a")
    assert sidecar.label_names == tiny.LABELS
    assert (sidecar.config["data"], sidecar.config["data_root"]) == (["../photos/labels.csv"], "../photos")
    used = sidecar.data["val"]
    assert (used.path, used.root, used.images) == ("runs/a-lists/val.lst", "photos", 8)


@pytest.mark.parametrize("name", ["csv", "tags", "coco", "voc", "folders", "jsonl", "lst"])
def test_every_format_gives_the_same_lists(folder, name):
    (format,) = (format for format in FORMATS if name == format.NAME)
    source = LabelSources((Path("photos/labels.csv"),))
    target = folder / "labels" / ("set" + (format.SUFFIXES[0] if format.SUFFIXES else ""))
    target.parent.mkdir()
    format.write(source.read()[0], target, FormatOptions())
    if name == "voc":
        shutil.copytree("photos", target / "JPEGImages", dirs_exist_ok=True)
    elif name != "folders":
        shutil.copytree("photos", target.parent, dirs_exist_ok=True)
    made = with_lists(config(folder, data=(target,)), SILENT, force=False)
    data = open_data(made, SILENT)
    expected = {path: tuple(row) for path, row in zip(*_read("photos/labels.csv"))}
    got: dict[str, tuple[int, ...]] = {}
    for images in (data.train, data.val):
        assert isinstance(images, ImageList)
        assert all(os.path.isfile(images.path(position)) for position in range(len(images)))
        rows = [tuple(row[data.label_names.index(label)] for label in tiny.LABELS) for row in images.labels.tolist()]
        got.update(zip(map(os.path.basename, images.names()), rows))
    assert got == expected
    assert (len(data.train), len(data.val)) == (32, 8)


@pytest.mark.parametrize("source", ["set", "set/labels.csv"])
def test_images_in_the_folder_images_beside_their_table_need_no_root(folder, source):
    os.makedirs("set")
    os.rename("photos/labels.csv", "set/labels.csv")
    os.rename("photos", "set/images")
    notes = Told()
    result = train.fit(config(folder, data=(source,)), notes)
    assert result.epochs == 1 and notes.about("set/labels.csv: takes the images under set/images")
    assert sidecar_of("runs/a").data["val"].root == "set/images"


def _read(table):
    with open(table, newline="") as file:
        _, *lines = csv.reader(file)
    return [line[0] for line in lines], [list(map(int, line[1:])) for line in lines]


def test_several_sources_under_a_root_that_is_named(folder):
    rows = every_kind(40)
    write_table(folder / "more.csv", write_images(folder / "photos", rows[:10], 40), rows[:10])
    given = {"data": ("photos/labels.csv", "more.csv"), "data_root": "photos"}
    made = with_lists(config(folder, **given), SILENT, force=False)
    assert len(split_of("runs/a-lists")) == 50
    assert (made.image_train, made.image_val) == ("photos", "photos")


def test_wanted_labels_and_their_number(folder):
    (folder / "names.txt").write_text("blue\nred\ngreen\n")
    with_lists(config(folder, labels="names.txt", num_classes=3), SILENT, force=False)
    assert read_label_names("runs/a-lists/labels.txt") == ["blue", "red", "green"]
    with pytest.raises(ListError, match="has 3 labels, should be 4"):
        with_lists(config(folder, "runs/b", num_classes=4), SILENT, force=False)
    (folder / "names.txt").write_text("blue\nred\n")
    with pytest.raises(
        ListError, match=r"; add it, or train on lists of mxml make-lst, whose `ignore_unknown` leaves it out$"
    ):
        with_lists(config(folder, "runs/b", labels="names.txt"), SILENT, force=False)


def test_lists_and_data_are_two_ways_of_which_a_run_takes_one(folder):
    for name in ("data_train", "data_val", "image_train", "image_val"):
        with pytest.raises(SettingError, match=rf"`{name}` photos: should be left out with `data`, of which"):
            train.fit(config(folder, **{name: "photos"}), SILENT)
    assert not Path("runs").exists()


# ---- again


def test_a_new_run_with_more_images_keeps_the_split(folder):
    train.fit(config(folder), SILENT)
    before = split_of("runs/a-lists")
    rows = every_kind(60)
    write_images(folder / "photos", rows[40:], 40)
    write_table(folder / "photos/labels.csv", [f"{number}.png" for number in range(60)], rows)
    notes = Told()
    train.fit(config(folder), notes, force=True)
    after = split_of("runs/a-lists")
    assert len(after) == 60
    assert {name: after[name] for name in before} == before
    assert notes.about("40 of them where earlier lists had them")


def test_lists_whose_labels_have_changed_are_replaced_by_force_alone(folder):
    with_lists(config(folder), SILENT, force=False)
    before = {path: path.read_bytes() for path in Path("runs/a-lists").iterdir()}
    labelled(folder, [[1, 1, 1], *every_kind(40)[1:]])
    with pytest.raises(StorageError, match=r"already exist with other content; nothing was written; `force`"):
        with_lists(config(folder), SILENT, force=False)
    assert {path: path.read_bytes() for path in Path("runs/a-lists").iterdir()} == before
    with_lists(config(folder), SILENT, force=True)
    assert split_of("runs/a-lists").keys() == {f"{number}.png" for number in range(40)}


def test_a_folder_with_labels_csv_is_taken_as_mxml_make_lst_takes_it(folder):
    by_file = with_lists(config(folder), SILENT, force=False)
    by_folder = with_lists(config(folder, "runs/b", data=("photos",)), SILENT, force=False)
    assert split_of("runs/b-lists") == split_of("runs/a-lists")
    assert by_folder.data_root == by_file.data_root == "photos"
    shutil.rmtree("photos")
    Path("photos").mkdir()
    with pytest.raises(ListError, match=r"^photos: holds no images, should hold folders of images .*, or labels\.csv$"):
        with_lists(config(folder, "runs/c", data=("photos",)), SILENT, force=False)


def test_a_resume_reads_its_lists_and_not_the_source(folder):
    train.fit(config(folder), SILENT)
    (folder / "photos/labels.csv").write_text("rubbish")
    for given in ({"data": ("photos/labels.csv",)}, {"data": (str(folder / "photos/labels.csv"),)}):
        train.resume("runs/a", given, SILENT)
    epochs = sidecar_of("runs/a").epochs[-1].epoch
    result = train.fit(config(folder, num_epoch=epochs + 1), SILENT, resume=True)
    assert result.epochs == epochs + 1
    assert sidecar_of("runs/a").config["data"] == ["../photos/labels.csv"]


def test_a_resume_with_another_source_is_refused(folder):
    train.fit(config(folder), SILENT)
    with pytest.raises(MxmlError, match=r"`data` more\.csv: the run to resume has lists made of photos/labels\.csv"):
        train.resume("runs/a", {"data": ("more.csv",)}, SILENT)


def test_images_outside_of_the_runs_folder_need_no_name_on_resume_while_they_are_those_of_the_run(folder):
    train.fit(config(folder), SILENT)
    assert train.resume("runs/a", {"num_epoch": 2}, SILENT).epochs == 2
    assert resuming.settings_to_name("runs/a") == {}
    os.rename("photos", "moved")
    assert train.resume("runs/a", {"num_epoch": 3, "data_root": "moved"}, SILENT).epochs == 3


@pytest.mark.parametrize("part", ["train", "val"])
def test_changed_images_outside_of_the_runs_folder_have_to_be_named_on_resume(folder, part):
    train.fit(config(folder), SILENT)
    name = read_lst(f"runs/a-lists/{part}.lst").name(0)
    with open(Path("photos", name), "ab") as file:
        file.write(b"more")
    with pytest.raises(CheckpointError) as caught:
        train.resume("runs/a", {"num_epoch": 2}, SILENT)
    what = {"train": "training", "val": "validation"}[part]
    assert str(caught.value) == (
        f"photos: the images of the run's {what} list lie outside of the checkpoint's folder, and cannot be seen to be "
        "those that the run read. A checkpoint may come from anyone, so only what you name is used: "
        "mxml train `prefix` runs/a `resume` `num_epoch` 2 `data_root` photos"
    )
    assert train.resume("runs/a", {"num_epoch": 2, "data_root": "photos"}, SILENT).epochs == 2


def test_training_images_whose_sums_are_not_all_recorded_are_known_by_when_they_were_changed(folder):
    train.fit(config(folder), SILENT)
    used = sidecar_of("runs/a").data["train"]
    assert used.image_sums is not None and used.images_changed_at is not None
    some = dataclasses.replace(used, image_sums=used.image_sums[:64])
    assert changed_images.are_of_run(some, SILENT)
    for known in ({"images_changed_at": used.images_changed_at + 1}, {"image_sums": "0" * 64}, {"image_bytes": 9}):
        assert not changed_images.are_of_run(dataclasses.replace(some, **known), SILENT)
    for unknown in ("images_changed_at", "image_sums", "image_bytes"):
        assert not changed_images.are_of_run(dataclasses.replace(used, **{unknown: None}), SILENT)


def test_naming_the_source_lets_no_stranger_choose_the_image_folder(folder):
    train.fit(config(folder), SILENT)
    shutil.copytree("photos", "elsewhere")
    for name in os.listdir("elsewhere"):
        with open(Path("elsewhere", name), "ab") as file:
            file.write(b"of somebody else")
    sidecar = json.loads(Path("runs/a.json").read_text())
    sidecar["config"].update(dict.fromkeys(("data_root", "image_train", "image_val"), "../elsewhere"))
    Path("runs/a.json").write_text(json.dumps(sidecar))
    with pytest.raises(CheckpointError, match=r"elsewhere: the images .* lie outside of the checkpoint's folder"):
        train.resume("runs/a", {"data": ("photos/labels.csv",), "num_epoch": 2}, SILENT)


SUM = "sum of the validation images"


def test_the_sum_of_the_validation_images_is_worked_out_once_and_can_be_stopped(folder):
    notes, stop = Told(), StopRequest()
    with pytest.raises(Interrupted, match="stopped by SIGINT before the run began"):
        train.fit(config(folder), StopIn(stop, SUM), stop=stop)
    assert not Path("runs/a.json").exists()
    train.fit(config(folder), notes)
    assert (SUM, 8, 0) in notes.parts
    recorded = sidecar_of("runs/a").data["val"].images_sha256
    assert recorded is not None
    notes = Told()
    train.resume("runs/a", {"num_epoch": 2, "data_root": "photos"}, notes)
    assert SUM not in [what for what, _, _ in notes.parts]
    assert sidecar_of("runs/a").data["val"].images_sha256 == recorded

    used = sidecar_of("runs/a").data["val"]
    with open(Path("photos", read_lst(used.path).name(0)), "ab") as file:
        file.write(b"more")
    notes = Told()
    train.resume("runs/a", {"num_epoch": 3, "data_root": "photos"}, notes)
    assert (SUM, 8, 0) in notes.parts and notes.about("its images have changed since the run")
    notes = Told()
    model = Classifier.load("runs/a", device="cpu")
    assert len(list(model.predict(progress=notes))) == 8 and notes.parts[1] == (SUM, 8, 0)
    notes = Told()
    model.evaluate(progress=notes)
    assert notes.parts[1] == (SUM, 8, 0)


def test_folds_need_no_sum_of_the_validation_images(folder):
    notes = Told()
    cross_validate_folds(config(folder, method=None, optimizer=None, lr=None), 3, notes)
    assert notes.parts and SUM not in [what for what, _, _ in notes.parts]


def test_what_to_type_next_is_found_without_reading_the_images(folder):
    train.fit(config(folder), SILENT)
    shutil.rmtree("photos")
    assert tags_its_own_images("runs/a")
    sidecar = json.loads(Path("runs/a.json").read_text())
    sidecar["data"]["val"]["images_sha256"] = None
    Path("runs/a.json").write_text(json.dumps(sidecar))
    assert not tags_its_own_images("runs/a")


# ---- what is wrong with the images


def test_lists_are_checked_without_opening_an_image_again(folder):
    rows = every_kind(40)
    rows[5] = rows[9] = [0, 0, 0]
    labelled(folder, rows)
    shutil.copy("photos/3.png", "photos/30.png")
    made = make_lists(LabelSources((Path("photos/labels.csv"),)), Path("lists"))
    expected = check_lists(tuple(made.paths.values()), "photos")
    assert {"images-without-label", "labels-disagree"} <= {found.kind for found in expected.findings}
    shutil.rmtree("photos")
    assert check_made(made).findings == expected.findings


def test_warnings_are_said_in_a_few_lines_with_the_command_that_shows_all(folder):
    rows = every_kind(40)
    rows[5] = [0, 0, 0]
    labelled(folder, rows)
    shutil.copy("photos/3.png", "photos/30.png")
    notes = Told()
    with_lists(config(folder), notes, force=False)
    assert len(notes.notes) < 12
    assert notes.about("images that occur more than once, with different labels (1), such as")
    lists = [os.path.join(folder, "runs/a-lists", name) for name in ("train.lst", "val.lst")]
    assert notes.notes[-1] == f"all of it: mxml check {' '.join(lists)} `root` photos"


def test_an_image_that_cannot_be_read_is_said_and_many_stop_the_run(folder):
    (folder / "photos/3.png").write_bytes(b"rubbish")
    notes = Told()
    with_lists(config(folder), notes, force=False)
    assert notes.about("1 of 40 images cannot be read, such as '3.png'")
    for number in range(20):
        (folder / f"photos/{number}.png").write_bytes(b"rubbish")
    message = r"a-lists/(train|val)\.lst: .* images cannot be read, more than the 0\.05 .*: photos/"
    with pytest.raises(ListError, match=message):
        with_lists(config(folder), SILENT, force=False)
    assert with_lists(config(folder, max_bad_share=1.0), SILENT, force=False).data_train


def test_images_without_any_label_stop_the_run(folder):
    labelled(folder, [[0, 0, 0]] * 20)
    with pytest.raises(ListError, match=r"runs/a-lists/train\.lst: none of its images has a label, so nothing"):
        with_lists(config(folder), SILENT, force=False)


def test_a_source_that_is_refused_leaves_the_lists_of_the_run_before_as_they_were(folder):
    with_lists(config(folder), SILENT, force=False)
    before = {path.name: path.read_bytes() for path in Path("runs/a-lists").iterdir()}

    labelled(folder, [[0, 0, 0]] * 40)
    with pytest.raises(ListError, match="none of its images has a label"):
        with_lists(config(folder), SILENT, force=True)
    labelled(folder, every_kind(44))
    for number in range(20):
        (folder / f"photos/{number}.png").write_bytes(b"rubbish")
    with pytest.raises(ListError, match=r"18 of 35 images cannot be read, more than the 0\.05 that"):
        with_lists(config(folder), SILENT, force=True)

    assert {path.name: path.read_bytes() for path in Path("runs/a-lists").iterdir()} == before


# Kills the process once some feature vectors are kept.
KILLED = """
import os, signal, sys
sys.path[:0] = sys.argv[1:]
import test_source_lists
from mxml import fit
class Killing:
    def start(self, total, what, done=0):
        self.what = what
    def advance(self, count=1, detail=""):
        if self.what.startswith("features of"):
            os.kill(os.getpid(), signal.SIGKILL)
    def note(self, text):
        pass
fit(test_source_lists.fitting(), Killing(), force=True)
"""


def fitting():
    return config(Path(), method="lp-ft", optimizer=None, lr=None)


def test_a_forced_run_that_is_killed_before_it_begins_leaves_the_run_before_and_its_lists(folder, checkout):
    train.fit(config(folder), SILENT)
    before = {path.name: path.read_bytes() for path in Path("runs/a-lists").iterdir()}
    # Other labels, and more images.
    labelled(folder, [[1, 1, 1], *every_kind(60)[1:]])

    done = subprocess.run([sys.executable, "-c", KILLED, checkout / "tests", checkout / "tests/training"])
    assert done.returncode == -signal.SIGKILL
    assert {name: Path("runs/a-lists", name).read_bytes() for name in before} == before
    assert len(split_of("runs/a-lists/next")) == 60

    assert train.resume("runs/a", {"num_epoch": 2, "data": ("photos/labels.csv",)}, SILENT).epochs == 2
    assert {path.name for path in Path("runs/a-lists").iterdir()} == before.keys()

    result = train.fit(fitting(), SILENT, force=True)
    assert result.epochs == 1
    assert {path.name for path in Path("runs/a-lists").iterdir()} == before.keys()
    assert len(split_of("runs/a-lists")) == 60
    used = sidecar_of("runs/a").data["train"]
    assert (used.path, used.sha256) == ("runs/a-lists/train.lst", Stamp.of("runs/a-lists/train.lst").sha256)
    assert train.resume("runs/a", {"num_epoch": 2, "data": ("photos/labels.csv",)}, SILENT).epochs == 2


def test_a_forced_run_that_is_refused_leaves_no_lists_of_its_own(folder):
    train.fit(config(folder), SILENT)
    before = {path.name: path.read_bytes() for path in Path("runs/a-lists").iterdir()}
    labelled(folder, every_kind(60))
    with pytest.raises(SettingError, match="`batch_size` 1: should be at least one image for each device"):
        train.fit(config(folder, batch_size=1, device="cpu:0,1"), SILENT, force=True)
    assert {path.name: path.read_bytes() for path in Path("runs/a-lists").iterdir()} == before


def test_folds_at_the_prefix_of_a_run_leave_its_lists_as_they_were(folder):
    train.fit(config(folder), SILENT)
    before = {path.name: path.read_bytes() for path in Path("runs/a-lists").iterdir()}
    settings = {"method": None, "optimizer": None, "lr": None}

    # Images that are only added to the source would extend the lists without any force.
    labelled(folder, every_kind(44))
    found = cross_validate_folds(config(folder, **settings), 3, SILENT)

    assert found.images == 40
    assert {path.name: path.read_bytes() for path in Path("runs/a-lists").iterdir()} == before
    labelled(folder, every_kind(44), "photos/more.csv")
    with pytest.raises(MxmlError, match=r"`data` photos/more\.csv: the run at .* has lists made .* another `prefix`"):
        cross_validate_folds(config(folder, data=("photos/more.csv",), **settings), 3, SILENT)
    assert {path.name: path.read_bytes() for path in Path("runs/a-lists").iterdir()} == before


# ---- lists that wait until their run begins


@pytest.mark.parametrize("prefix", ["./runs/a", "runs//a", "runs/./a"])
def test_a_forced_run_knows_its_lists_however_the_prefix_is_written(folder, prefix):
    # A Path would drop parts of the text.
    settings = dataclasses.replace(config(Path(), method="features", optimizer=None, lr=None), prefix=prefix)
    train.fit(settings, SILENT)
    labelled(folder, every_kind(60))

    train.fit(settings, SILENT, force=True)

    sidecar = sidecar_of("runs/a")
    assert (sidecar.config["data_train"], sidecar.config["data_val"]) == ("a-lists/train.lst", "a-lists/val.lst")
    assert {name: used.path for name, used in sidecar.data.items()} == {
        "train": "runs/a-lists/train.lst",
        "val": "runs/a-lists/val.lst",
    }
    changes = {"method": "lp-ft", "num_epoch": 2, "data": ("photos/labels.csv",)}
    assert train.resume(prefix, changes, SILENT).epochs == 2
    command = [sys.executable, "-m", "mxml", "evaluate", "--prefix", prefix, "--device", "cpu"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 and "12 images" in done.stdout, done.stderr


def content_of(folder):
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def test_lists_that_wait_since_a_run_was_killed_do_not_become_another_runs(folder, checkout):
    train.fit(config(folder), SILENT)
    shutil.copytree("runs/a-lists", "lists")
    before = content_of("lists")
    labelled(folder, every_kind(60))
    done = subprocess.run([sys.executable, "-c", KILLED, checkout / "tests", checkout / "tests/training"])
    assert done.returncode == -signal.SIGKILL and Path("runs/a-lists/next").is_dir()

    named = {"data_train": "lists/train.lst", "data_val": "lists/val.lst", "image_train": "photos"}
    train.fit(config(folder, data=(), **named, image_val="photos"), SILENT, force=True)
    assert content_of("runs/a-lists") == before


# Kills the process before the rename of the given number of lists that wait.
KILLED_AS_IT_BEGINS = """
import os, signal, sys
from pathlib import Path
sys.path[:0] = sys.argv[2:]
import test_source_lists
from mxml import fit
from mxml.progress import SILENT
left = int(sys.argv[1])
def killing(rename):
    def renamed(source, target, **folders):
        global left
        # What is written into next is moved there from a folder of its own.
        if {"next", "begun"}.intersection(Path(source).parts[-2:]) and ".mxml." not in str(source):
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
        rename(source, target, **folders)
    return renamed
os.rename, os.replace = killing(os.rename), killing(os.replace)
fit(test_source_lists.config(Path(), prefix="runs/a"), SILENT, force=True)
"""


@pytest.mark.parametrize("renames", [0, 1, 3])
def test_a_run_killed_as_it_begins_leaves_lists_of_one_run(folder, checkout, renames):
    train.fit(config(folder), SILENT)
    old = content_of("runs/a-lists")
    labelled(folder, [[1, 1, 1], *every_kind(60)[1:]])
    shutil.copytree("runs/a-lists", "runs/b-lists")
    make_lists(LabelSources((Path("photos/labels.csv"),)), Path("runs/b-lists"), force=True)
    new = content_of("runs/b-lists")
    assert old["train.lst"] != new["train.lst"] and old["val.lst"] != new["val.lst"]

    tests = (checkout / "tests", checkout / "tests/training")
    done = subprocess.run([sys.executable, "-c", KILLED_AS_IT_BEGINS, str(renames), *tests])
    assert done.returncode == -signal.SIGKILL
    assert not Path("runs/a.json").exists()

    # One that writes no lists of its own.
    refused = config(folder, data=(), data_train="a.lst", data_val="a.lst", batch_size=1, device="cpu:0,1")
    with pytest.raises(SettingError):
        train.fit(refused, SILENT, force=True)
    assert content_of("runs/a-lists") == (new if renames else old)


def test_what_a_forced_run_says_of_its_lists_is_so_once_it_has_begun(folder):
    train.fit(config(folder), SILENT)
    rows = every_kind(60)
    rows[5] = [0, 0, 0]
    labelled(folder, rows)
    shutil.copy("photos/3.png", "photos/30.png")
    notes = Told()
    train.fit(config(folder, num_examples=99), notes, force=True)
    assert notes.about("images in train.lst") and not notes.about("a-lists/next")
    assert notes.about("a-lists/train.lst has 48 images; their number, given as 99, is not used")
    (hint,) = notes.about("all of it")
    lists = [os.path.join(folder, "runs/a-lists", name) for name in ("train.lst", "val.lst")]
    assert hint == f"all of it, once the run has begun: mxml check {' '.join(lists)} `root` photos"


def test_lists_that_are_refused_can_be_looked_at_until_the_next_start(folder):
    singles = [[int(number % 3 == label) for label in range(3)] for number in range(40)]
    labelled(folder, singles)
    given = {"single_label": True, "method": "finetune"}
    train.fit(config(folder, **given), SILENT)
    before = content_of("runs/a-lists")
    labelled(folder, [[1, 1, 0], *singles[1:]])

    with pytest.raises(ListError, match=r"a-lists/next/(train|val)\.lst:\d+: 2 labels are 1") as caught:
        train.fit(config(folder, **given), SILENT, force=True)
    path, line, _ = caught.value.faults[1].split(":", 2)
    assert Path(path).read_text().splitlines()[int(line) - 1].endswith("\t0.png")

    assert train.resume("runs/a", {"num_epoch": 2, "data": ("photos/labels.csv",)}, SILENT).epochs == 2
    assert content_of("runs/a-lists") == before


# ---- very small sets


def test_labels_with_one_or_two_images_are_named(folder):
    labelled(folder, [[1, int(number == 3), int(number in (5, 6))] for number in range(30)])
    notes = Told()
    train.fit(config(folder), notes)
    (line,) = notes.about("labels with fewer than 5 images")
    assert line == ("labels with fewer than 5 images: green 1, blue 2; too few to learn, or to measure how well")
    assert notes.about("labels that no image of a list has")


def test_five_images_train_and_three_are_too_few(folder):
    labelled(folder, every_kind(5))
    notes = Told()
    assert train.fit(config(folder), notes).epochs == 1
    assert notes.about("1 image to validate on is too few to compare models by")
    labelled(folder, every_kind(2), "few/labels.csv")
    with pytest.raises(ListError, match=r"^2 images are too few for a share of 0\.2 in val\.lst") as caught:
        with_lists(config(folder, "runs/b", data=("few/labels.csv",)), SILENT, force=False)
    assert len(caught.value.faults) == 1
    assert not Path("runs/b-lists").exists()


# ---- whole commands


@pytest.mark.parametrize("source", ["photos/labels.csv", "folders"])
def test_one_command_trains_on_a_table_or_folders_and_resumes(folder, source):
    rows = every_kind(40)
    for number, row in enumerate(rows):
        labels = "_".join(name for name, value in zip(tiny.LABELS, row) if value) or "_"
        (folder / "folders" / labels).mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / f"photos/{number}.png", folder / "folders" / labels)
    options = ["--image-shape", "3,32,32", "--batch-size", "8", "--device", "cpu"]
    command = ["train", "--model", "net-symbol.json", "--data", source, "--prefix", "runs/a", *options]

    def mxml(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "mxml", *arguments], cwd=folder, capture_output=True, text=True, timeout=120
        )

    done = mxml(*command, "--num-epoch", "1")
    assert done.returncode == 0, done.stderr
    root = source.partition("/")[0]
    told = done.stderr.splitlines()
    assert told[1].startswith(f"{source}: ") and told[1].endswith(f"; images under {root}")
    assert told[2] == "runs/a-lists: 32 images in train.lst and 8 images in val.lst"
    assert told[-4].startswith("starting from net, epoch 0") and told[-3].startswith("head fitted to 8 features")
    done = mxml(*command, "--num-epoch", "2", "--resume")
    assert done.returncode == 0, done.stderr
    assert "resuming after epoch 1" in done.stderr
    assert done.stdout.endswith("next: mxml predict --prefix runs/a\n")
    for task, count in ("evaluate", "8 images"), ("predict", f"{root}/"):
        done = mxml(task, "--prefix", "runs/a", "--device", "cpu")
        assert done.returncode == 0 and count in done.stdout, done.stderr
    shown = mxml("check", "runs/a-lists/train.lst", "runs/a-lists/val.lst", "--root", root)
    assert shown.returncode == 0, shown.stdout
