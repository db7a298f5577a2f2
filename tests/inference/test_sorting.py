"""Sorting files into folders: none is lost, none is replaced, and it can be taken back."""

from __future__ import annotations

import csv
import errno
import os

import numpy as np
import pytest

from mxml.errors import MxmlError, SettingError, StorageError
from mxml.inference.placing import place
from mxml.inference.prediction import Prediction
from mxml.inference.sorting import Sorter, require_files
from mxml.inference.sorting_record import SortingRecord, undo

NAMES = ("red", "blue", "wide/open")
# The labels of each image, best first; two images have one name, and two one name and one content.
IMAGES = {"in/a.jpg": (0.6, 0.9, 0), "in/b.jpg": (0, 0, 0), "two/a.jpg": (0.9, 0, 0), "copy/a.jpg": (0.6, 0.9, 0)}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path in IMAGES:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as file:
            file.write("in/a.jpg" if path == "copy/a.jpg" else path)
        os.utime(path, (1e9, 1e9))
    return tmp_path


def sort(action, images=IMAGES, **options):
    sorter = Sorter("out", NAMES, action, **options)
    scores = {path: np.array(IMAGES[path], np.float32) for path in images}
    return {path: sorter.sort(Prediction(path, NAMES, scores[path])) for path in images}


def content(*folders):
    """Map every file below the folders, but for the record, to what it holds."""
    found = {}
    for top in folders:
        for parent, _, names in os.walk(top):
            for name in names:
                if name != "sorted.csv":
                    with open(os.path.join(parent, name)) as file:
                        found[os.path.join(parent, name)] = file.read()
    return found


COPIED = {
    "out/red/a.jpg": "in/a.jpg",
    "out/blue/a.jpg": "in/a.jpg",
    "out/_none/b.jpg": "in/b.jpg",
    "out/red/a_2.jpg": "two/a.jpg",
}


@pytest.mark.parametrize("action", ["copy", "link"])
def test_an_image_is_in_the_folder_of_each_label_and_where_it_was(folder, action):
    before = content(".")
    planned = sort(action, dry_run=True)
    assert content(".") == before
    done = sort(action)
    assert done == planned
    assert done["in/a.jpg"] == (("blue/a.jpg", True), ("red/a.jpg", True))
    assert done["copy/a.jpg"] == (("blue/a.jpg", False), ("red/a.jpg", False))
    assert content("out") == COPIED and content("in", "two", "copy") == content(*("in", "two", "copy"))
    assert os.stat("out/red/a.jpg").st_mtime == 1e9
    assert os.path.samefile("out/red/a.jpg", "in/a.jpg") == (action == "link")
    again = sort(action)
    assert not any(is_new for targets in again.values() for _, is_new in targets)
    with open("out/sorted.csv") as file:
        rows = list(csv.DictReader(file))
    assert [row["to"] for row in rows] == ["blue/a.jpg", "red/a.jpg", "_none/b.jpg", "red/a_2.jpg"]
    assert rows[0] == {
        "action": action, "from": str(folder / "in/a.jpg"), "to": "blue/a.jpg", "labels": "blue|red",
    }  # fmt: skip
    assert undo("out") == (4, [])
    assert content("out") == {} and os.listdir("out") == [] and len(content("in", "two", "copy")) == 4


def test_an_image_unlike_the_training_images_has_a_folder_of_its_own_and_its_labels_in_the_record(folder):
    far = Prediction("in/a.jpg", NAMES, np.array(IMAGES["in/a.jpg"], np.float32), distance=1.5)
    Sorter("out", NAMES).sort(far)
    assert content("out") == {"out/_unlike/a.jpg": "in/a.jpg"}
    (row,) = SortingRecord("out").read()
    assert (row.target, row.labels) == ("_unlike/a.jpg", "blue|red")
    assert undo("out") == (1, [])


def test_a_moved_image_is_in_the_folder_of_its_best_label_alone_and_goes_back(folder):
    before = content(".")
    done = sort("move")
    assert done["copy/a.jpg"] == (("blue/a.jpg", False),)
    assert content(".") == {
        "./out/blue/a.jpg": "in/a.jpg",
        "./out/_none/b.jpg": "in/b.jpg",
        "./out/red/a.jpg": "two/a.jpg",
        "./copy/a.jpg": "in/a.jpg",
    }
    assert undo("out") == (3, [])
    assert content(".") == before
    with pytest.raises(MxmlError, match="has sorted nothing into out"):
        undo("out")


def test_a_move_between_file_systems_removes_the_original_last(folder, monkeypatch):
    def other_device(source, target, **_):
        if os.path.dirname(os.path.abspath(source)) != os.path.dirname(os.path.abspath(target)):
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        return link(source, target)

    link = os.link
    monkeypatch.setattr(os, "link", other_device)
    unlink = os.unlink

    def killed(path, **options):
        if path == "in/a.jpg":
            raise KeyboardInterrupt
        unlink(path, **options)

    monkeypatch.setattr(os, "unlink", killed)
    with pytest.raises(KeyboardInterrupt):
        sort("move", ["in/a.jpg"])
    assert content("in", "out") == {"in/a.jpg": "in/a.jpg", "in/b.jpg": "in/b.jpg", "out/blue/a.jpg": "in/a.jpg"}
    monkeypatch.setattr(os, "unlink", unlink)
    # Whoever sorts next finishes it, also where the record's own last row was torn.
    with open("out/sorted.csv", "a") as file:
        file.write('move,"/torn\n')
    Sorter("out", NAMES, "move")
    assert content("in", "out") == {"in/b.jpg": "in/b.jpg", "out/blue/a.jpg": "in/a.jpg"}
    with pytest.raises(StorageError, match=r"cannot be a link to in/b\.jpg .*; copies can be anywhere"):
        sort("link", ["in/b.jpg"])


def test_nothing_is_replaced_where_a_file_system_knows_no_links(folder, monkeypatch):
    def no_links(*_, **__):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    with pytest.raises(StorageError, match="is not replaced"):
        place("move", "in/a.jpg", "two/a.jpg")
    place("move", "in/a.jpg", "in/c.jpg")
    assert content("in") == {"in/b.jpg": "in/b.jpg", "in/c.jpg": "in/a.jpg"}


def test_what_was_changed_meanwhile_stays(folder):
    sort("copy", ["in/a.jpg", "in/b.jpg"])
    with open("out/red/a.jpg", "a") as file:
        file.write("better")
    os.unlink("in/b.jpg")
    count, left = undo("out")
    assert count == 1 and len(left) == 2
    assert set(content("out")) == {"out/red/a.jpg", "out/_none/b.jpg"}
    assert [one.target for one in SortingRecord("out").read()] == ["red/a.jpg", "_none/b.jpg"]


@pytest.mark.parametrize("row", ["move,/x,../y,", "move,x,red/y,", "burn,/x,y,", "move,/x,/y,", "move,/x"])
def test_a_record_cannot_lead_out_of_the_folder(folder, row):
    os.mkdir("out")
    with open("out/sorted.csv", "w") as file:
        file.write(f"action,from,to,labels\n{row}\n")
    with pytest.raises(MxmlError, match="row 2 is not one that mxml sort wrote"):
        undo("out")


def test_links_and_what_is_no_file_are_not_moved(folder):
    os.symlink("a.jpg", "in/link.jpg")
    sorter = Sorter("out", NAMES, "move")
    link, memory, image = (Prediction(path, (), np.empty(0)) for path in ("in/link.jpg", "image 3", "in/a.jpg"))
    assert sorter.refusal(link) == "is a symbolic link, which is not moved"
    assert sorter.refusal(memory) == "is no file that could be sorted"
    frame = Prediction("in/a.jpg", (), np.empty(0), frame=3)
    assert sorter.refusal(frame) == "is a frame of a video, which has no file of its own"
    assert sorter.refusal(image) == "" == Sorter("copies", NAMES, "copy").refusal(link)
    assert sorter.is_inside("out/red/a.jpg") and not sorter.is_inside("outside/a.jpg")


@pytest.mark.parametrize("name", ["-", "http://me:secret@host/a.jpg", "/dev/video0", "clip.MP4", "photos.rec"])
def test_what_stands_for_images_without_files_is_refused(name):
    with pytest.raises(SettingError, match="should be image files") as error:
        require_files(["a.jpg", name])
    assert "secret" not in str(error.value)


def test_two_processes_do_not_sort_into_one_folder(folder):
    first = Sorter("out", NAMES)
    for second in (lambda: Sorter("out", NAMES), lambda: undo("out")):
        with pytest.raises(MxmlError, match="out: another process sorts images into it"):
            second()
    Sorter("out", NAMES, dry_run=True)
    del first
    Sorter("out", NAMES)


def test_a_record_from_elsewhere_brings_no_file_to_where_programs_look_for_theirs(folder):
    os.makedirs("out/red")
    for name in ("a.jpg", "b.jpg"):
        with open(f"out/red/{name}", "w") as file:
            file.write(name)
    rows = [f"move,{folder}/{name},red/{name[-5:]},red" for name in (".a.jpg", "new/b.jpg")]
    with open("out/sorted.csv", "w") as file:
        file.write("action,from,to,labels\n" + "\n".join([f"move,{folder}/.profile,red/a.jpg,red", *rows]) + "\n")
    count, left = undo("out")
    assert count == 1 and len(left) == 2 and "is no usual name of an image" in left[0]
    assert content("out", "new") == {"out/red/a.jpg": "a.jpg", "new/b.jpg": "b.jpg"}


def test_a_record_that_is_a_link_is_not_written_through(folder):
    os.mkdir("out")
    os.symlink("../elsewhere", "out/sorted.csv")
    with pytest.raises(StorageError, match=r"out/sorted\.csv: cannot be written"):
        sort("copy")
    assert not os.path.lexists("elsewhere")


def test_names_as_long_as_a_file_system_has_are_sorted(folder):
    name = "中" * 83 + "ab.jpg"
    for parent in ("in", "two"):
        os.rename(f"{parent}/a.jpg", f"{parent}/{name}")
    sorter = Sorter("out", NAMES, "copy")
    for parent in ("in", "two"):
        sorter.sort(Prediction(f"{parent}/{name}", NAMES, np.array([0.9, 0, 0])))
    assert content("out") == {f"out/red/{name}": "in/a.jpg", f"out/red/{'中' * 83}_2.jpg": "two/a.jpg"}
