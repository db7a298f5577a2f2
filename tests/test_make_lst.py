"""``mxml make-lst`` as a user runs it, and the files that it leaves."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest

from mxml.errors import ListError
from mxml.image_list import read_label_names
from mxml.lst_file import read_lst
from mxml.make_lists import make_lists

TABLE = "image,red,dress\n" + "".join(f"{i}.jpg,{i % 2},{int(i % 3 == 0)}\n" for i in range(30))


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working folder with thirty images and their table."""
    (tmp_path / "images").mkdir()
    for i in range(30):
        (tmp_path / "images" / f"{i}.jpg").write_bytes(b"")
    (tmp_path / "images" / "labels.csv").write_text(TABLE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def mxml(place, checkout):
    def run(*arguments):
        environment = {**os.environ, "PYTHONPATH": str(checkout)}
        return subprocess.run(
            [sys.executable, "-m", "mxml", "make-lst", *arguments],
            cwd=place,
            env=environment,
            capture_output=True,
            text=True,
        )

    return run


def written(place):
    return {path.name: path.read_bytes() for path in sorted((place / "lists").iterdir())}


def test_the_lists_hold_every_image_once_with_its_labels(place):
    made = make_lists(num_classes=2)
    train, val = (read_lst(f"lists/{part}.lst", "images", 2) for part in ("train", "val"))
    assert (len(train), len(val)) == (24, 6)
    assert train.index.tolist() == list(range(24))
    assert val.index.tolist() == list(range(6))
    for images in (train, val):
        numbers = [int(name[:-4]) for name in images.names()]
        assert numbers == sorted(numbers), "the table's order is kept"
        assert images.labels.tolist() == [[i % 2, int(i % 3 == 0)] for i in numbers]
    assert sorted(train.names() + val.names()) == sorted(f"{i}.jpg" for i in range(30))
    assert read_label_names("lists/labels.txt") == ["red", "dress"]
    assert val.labels.sum(axis=0).tolist() == [3, 2]
    assert made.train.names() == train.names()
    assert {path.name: state for path, state in made.files} == dict.fromkeys(
        ("train.lst", "val.lst", "labels.txt"), "written"
    )


def test_a_second_time_changes_nothing(place):
    make_lists()
    before = {path: path.stat().st_mtime_ns for path in (place / "lists").iterdir()}
    assert make_lists().unchanged
    assert {path: path.stat().st_mtime_ns for path in (place / "lists").iterdir()} == before


def test_lists_with_other_content_stay_unless_forced(place):
    make_lists(seed=1)
    (place / "lists/train.lst").unlink()
    before = written(place)
    with pytest.raises(ListError, match=r"^lists/val.lst: already there with other content; nothing was written"):
        make_lists(seed=2)
    assert written(place) == before
    made = make_lists(seed=2, force=True)
    assert {path.name: state for path, state in made.files} == {
        "train.lst": "written",
        "val.lst": "replaced",
        "labels.txt": "unchanged",
    }
    assert make_lists(seed=2).unchanged


def test_a_file_that_cannot_be_written_leaves_all_as_they_were(place):
    (place / "lists/val.lst").mkdir(parents=True)
    with pytest.raises(ListError, match=r"lists/val\.lst: cannot be written"):
        make_lists(force=True)
    assert [path.name for path in (place / "lists").iterdir()] == ["val.lst"]
    shutil.rmtree(place / "lists")
    (place / "lists").write_text("a file")
    with pytest.raises(ListError, match="cannot be written"):
        make_lists(force=True)


def test_images_that_are_missing_are_named(place):
    (place / "images/3.jpg").unlink()
    (place / "images/7.jpg").unlink()
    with pytest.raises(ListError) as caught:
        make_lists()
    assert list(caught.value.faults) == [
        f"images/labels.csv: names '{i}.jpg', but images/{i}.jpg is not there" for i in (3, 7)
    ]
    assert not (place / "lists").exists()


def test_another_number_of_labels_is_refused_with_their_names(place):
    with pytest.raises(ListError, match=r"^images/labels.csv: has 2 labels, should be 8: red, dress$"):
        make_lists(num_classes=8)
    assert not (place / "lists").exists()


def test_too_few_images_and_senseless_shares_are_refused(place):
    with pytest.raises(ListError, match=r"30 images are too few for a validation share of 0\.001"):
        make_lists(val_share=0.001)
    with pytest.raises(ListError, match="the validation share is 1, should lie between 0 and 1"):
        make_lists(val_share=1)
    with pytest.raises(ListError, match="none: is no folder"):
        make_lists(root="none")
    assert not (place / "lists").exists()


def test_folders_are_read_where_there_is_no_table(place):
    (place / "images/labels.csv").unlink()
    for i in range(30):
        folder = place / "images" / ("red_dress" if i % 2 else "hat")
        folder.mkdir(exist_ok=True)
        (place / "images" / f"{i}.jpg").rename(folder / f"{i}.jpg")
    made = make_lists(num_classes=3)
    assert made.label_names == ("dress", "hat", "red")
    assert made.val.labels.sum(axis=0).tolist() == [3, 3, 3]
    assert all((place / made.train.path(i)).is_file() for i in range(len(made.train)))


# ---- the command


def test_the_command_says_what_it_did(place, mxml):
    (place / "images/extra.png").write_bytes(b"")
    done = mxml("--num-classes", "2")
    assert done.returncode == 0
    assert done.stdout.splitlines()[0] == "images/labels.csv: CSV with one column a label; 30 images, 2 labels"
    assert ["red", "12", "3"] in [line.split() for line in done.stdout.splitlines()]
    assert "lists/train.lst: written" in done.stdout
    assert done.stderr == "warning: 1 image under images is not in images/labels.csv: extra.png\n"
    again = mxml("--num-classes", "2")
    assert again.returncode == 0
    assert again.stdout.splitlines()[-1] == "The lists are unchanged."


def test_the_command_s_json(place, mxml):
    done = mxml("--json", "--out", "other/place", "--val-share", "0.5")
    assert done.returncode == 0
    assert json.loads(done.stdout) == {
        "source": "images/labels.csv",
        "form": "CSV with one column a label",
        "train": 15,
        "val": 15,
        "labels": [{"name": "red", "train": 8, "val": 7}, {"name": "dress", "train": 5, "val": 5}],
        "files": {f"other/place/{name}": "written" for name in ("train.lst", "val.lst", "labels.txt")},
        "unchanged": False,
        "unlisted": [],
    }


def test_the_command_refuses_in_one_line(place, mxml):
    make_lists(seed=1)
    before = written(place)
    done = mxml("--seed", "2")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert "lists/train.lst, lists/val.lst: already there with other content" in done.stderr
    assert written(place) == before
    assert mxml("--seed", "2", "--force").returncode == 0
    assert mxml("--val-share", "1").returncode == 2


def test_the_shipped_lists_are_what_the_command_makes(checkout, tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    command = [sys.executable, "-m", "mxml", "make-lst", "--num-classes", "8"]
    done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "The lists are unchanged."
    assert make_lists(root=checkout / "images", out=tmp_path).val.num_classes == 8
    for name in ("train.lst", "val.lst", "labels.txt"):
        assert (tmp_path / name).read_bytes() == (checkout / "lists" / name).read_bytes()
