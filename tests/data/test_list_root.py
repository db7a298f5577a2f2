"""The image folder that lists remember."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from mxml.data.list_root import format_record, found_root, image_root, recorded_root
from mxml.errors import ListError


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working folder with an empty folder of lists."""
    (tmp_path / "work/lists").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


def record(place, root, out="lists"):
    (place / out).mkdir(parents=True, exist_ok=True)
    (place / out / "lists.json").write_bytes(format_record(Path(root), Path(out)))


def test_what_was_written_is_found_from_wherever_the_list_is_named(place, monkeypatch):
    record(place, "dataset")
    assert json.loads((place / "lists/lists.json").read_text()) == {"root": "../dataset"}
    assert recorded_root("lists/train.lst") == "dataset"
    assert recorded_root(Path("lists/val.lst")) == "dataset"
    assert recorded_root(place / "lists/train.lst") == str(place / "dataset")
    monkeypatch.chdir(place / "lists")
    assert recorded_root("train.lst") == "../dataset"
    os.rename(place, place.parent / "moved")
    assert recorded_root(place.parent / "moved/lists/train.lst") == str(place.parent / "moved/dataset")


@pytest.mark.parametrize(
    ("out", "root"),
    [
        (".", "images"),
        ("lists", "."),
        ("photos/lists", "photos"),
        ("lists", "a/b/c"),
        ("x", "x/y"),
        ("lists", "a\nb"),
        ("lists", "é \udcff"),
    ],
)
def test_a_folder_around_or_below_is_found(place, out, root):
    record(place, root, out)
    assert recorded_root(os.path.join(out, "train.lst")) == root


def test_a_root_that_is_given_counts_more_and_without_any_it_is_images(place):
    assert image_root("lists/train.lst") == "images"
    assert image_root("nowhere/train.lst") == "images"
    record(place, "dataset")
    assert image_root("lists/train.lst") == "dataset"
    assert image_root("lists/train.lst", Path("other")) == "other"
    (place / "lists/lists.json").write_text("junk")
    assert image_root("lists/train.lst", "other") == "other"


@pytest.mark.parametrize(
    "root", ["/etc", "../../elsewhere", "../..", "../images/../../elsewhere", "/", "../../workshop"]
)
def test_a_strangers_record_leads_nowhere_else(place, root):
    (place / "lists/lists.json").write_text(json.dumps({"root": root}))
    with pytest.raises(ListError, match=r"lists\.json: says that the images are under .*used only if you name it"):
        recorded_root("lists/train.lst")
    with pytest.raises(ListError, match="`image_train` says where the images are"):
        image_root("lists/train.lst", setting="image_train")


def test_a_folder_elsewhere_is_remembered_by_its_whole_path(place):
    record(place, "../elsewhere")
    assert json.loads((place / "lists/lists.json").read_text()) == {"root": str(place.parent / "elsewhere")}
    with pytest.raises(ListError, match=f"under '{place.parent}/elsewhere'"):
        recorded_root("lists/train.lst")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b'{"root": 1}',
        b'{"root": ""}',
        b'{"root": "a\\u0000b"}',
        b"\xff\xfe",
        b"[" * 60_000,
        b'{"root": "../images", "more": "' + b"x" * 70_000 + b'"}',
        b'{"root": "' + b"x" * 5_000 + b'"}',
    ],
)
def test_a_damaged_record_is_one_line(place, content):
    (place / "lists/lists.json").write_bytes(content)
    with pytest.raises(ListError, match=r"^lists/lists\.json: should be a JSON object such as .*`root` says") as caught:
        recorded_root("lists/train.lst")
    assert len(caught.value.faults) == 1


# ---- where nobody names the folder


def images(folder, *names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"")


@pytest.mark.parametrize(
    ("default", "own", "root", "told"),
    [
        ((), (), "images", None),
        (("a.jpg", "b.jpg"), (), "images", None),
        ((), ("a.jpg",), "photos", "takes the images under photos, since none of them is under images"),
        (("a.jpg",), ("a.jpg", "b.jpg"), "photos", "1 are under images and 2 under photos, and `root` images would"),
        (("a.jpg", "b.jpg"), ("a.jpg", "b.jpg"), "images", "2 are under images and 2 under photos, and `root` photos"),
    ],
)
def test_images_are_looked_for_beside_their_table_too(place, default, own, root, told):
    images(place / "images", *default)
    images(place / "photos", *own)
    found, note = found_root(["a.jpg", "b.jpg"], ["photos/labels.csv"])
    assert found == root
    assert (note is None) == (told is None)
    if note is not None:
        assert note.startswith("photos/labels.csv: takes the images under ") and told in note


def test_images_may_be_in_the_folder_images_beside_their_table(place):
    images(place / "set/images", "a.jpg", "b.jpg")
    told = "set/labels.csv: takes the images under set/images, since none of them is under images"
    assert found_root(["a.jpg", "b.jpg"], ["set/labels.csv"]) == ("set/images", told)
    images(place / "set", "a.jpg")
    found, note = found_root(["a.jpg", "b.jpg"], ["set/labels.csv"])
    assert (found, note) == (
        "set/images",
        "set/labels.csv: takes the images under set/images; of 2 images looked for 1 are under set and 2 under "
        "set/images, and `root` set would take those",
    )
    images(place / "images", "a.jpg", "b.jpg")
    assert found_root(["a.jpg", "b.jpg"], ["set/labels.csv"])[0] == "images"


def test_tables_in_several_folders_have_no_folder_of_their_own(place):
    images(place / "photos", "a.jpg", "b.jpg")
    assert found_root(["a.jpg", "b.jpg"], ["photos/a.csv", "b.csv"]) == ("images", None)
    assert found_root(["a.jpg"], ["photos/a.csv", "./photos/b.csv"])[0] == "photos"
    images(place, "a.jpg")
    assert found_root(["a.jpg"], ["labels.csv"])[0] == "."


def test_absolute_paths_say_nothing_about_the_folder(place):
    images(place / "photos", "a.jpg")
    assert found_root([str(place / "photos/a.jpg")], ["photos/a.csv"]) == ("images", None)
