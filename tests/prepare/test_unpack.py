"""Images out of RecordIO files: what is written, and what is refused before anything is."""

from __future__ import annotations

import os
import struct

import cv2
import numpy as np
import pytest

from mxml.data.formats import rec_file
from mxml.data.formats.options import FormatOptions
from mxml.data.formats.sources import LabelSources
from mxml.data.record_file import pack_image
from mxml.errors import ListError, StorageError
from mxml.prepare.unpack import Unpacked, unpack_images, unpack_sources
from mxml.runtime.imports import load_mxnet

mx = load_mxnet()

JPEG, PNG = (cv2.imencode(suffix, np.full((8, 8, 3), 90, np.uint8))[1].tobytes() for suffix in (".jpg", ".png"))
OTHER = cv2.imencode(".jpg", np.full((8, 8, 3), 10, np.uint8))[1].tobytes()
MAGIC = struct.pack("<I", 0xCED7230A)


def counts(unpacked):
    return unpacked.written, unpacked.unchanged


class Counts:
    def start(self, total, what, done=0):
        self.total, self.done = total, done

    def advance(self, count=1, detail=""):
        self.done += count

    def note(self, text):
        raise AssertionError(text)


@pytest.fixture
def root(tmp_path):
    return tmp_path / "made" / "images"


@pytest.fixture
def rec(tmp_path):
    def write(*images, names=None):
        path = tmp_path / "x.rec"
        writer = mx.recordio.MXRecordIO(str(path), "w")
        for number, image in enumerate(images):
            writer.write(pack_image(number, np.array([1, 0]), image))
        writer.close()
        if names is not None:
            (tmp_path / "x.lst").write_text("".join(f"{number}\t1\t0\t{name}\n" for number, name in enumerate(names)))
        return path

    return write


def files(root):
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def faults(path, root):
    existed = root.exists()
    before = sorted(root.rglob("*"))
    with pytest.raises((ListError, StorageError)) as caught:
        unpack_images(path, root)
    assert sorted(root.rglob("*")) == before
    assert existed or not root.parent.exists()
    return str(caught.value).replace(f"{path.parent}/", "").split("\n")


def test_images_are_written_by_their_names(rec, root):
    magic = JPEG + bytes(-len(JPEG) % 4) + MAGIC + MAGIC + b"x"
    path = rec(JPEG, PNG, magic, names=["a.jpg", "b/ü c/d.PNG", "b/.//e.jpeg"])
    done = Counts()
    assert counts(unpack_images(path, root, progress=done)) == (3, 0)
    assert files(root) == {"a.jpg": JPEG, "b/ü c/d.PNG": PNG, "b/e.jpeg": magic}
    assert (done.total, done.done) == (3, 3)
    assert {path.stat().st_mode & 0o777 for path in root.rglob("*.*")} <= {0o644, 0o664, 0o600}
    # What was unpacked is what the labels' reader names.
    images = rec_file.read(path, root, FormatOptions()).images
    assert all(os.path.isfile(images.path(position)) for position in range(3))


def test_without_a_list_they_are_called_by_id(rec, root):
    assert counts(unpack_images(rec(JPEG, PNG), root)) == (2, 0)
    assert files(root) == {"00000000.jpg": JPEG, "00000001.png": PNG}


def test_files_that_are_there_with_the_same_content_stay(rec, root):
    path = rec(JPEG, PNG, names=["a.jpg", "b/d.png"])
    unpack_images(path, root)
    (root / "a.jpg").unlink()
    old = (root / "b/d.png").stat()
    assert counts(unpack_images(path, root)) == (1, 1)
    assert (root / "b/d.png").stat().st_ino == old.st_ino
    assert counts(unpack_images(path, root)) == (0, 2)


def test_files_that_are_there_with_other_content_are_not_touched(rec, root):
    root.mkdir(parents=True)
    (root / "b.jpg").write_bytes(OTHER)
    (root / "c.jpg").mkdir()
    size = 8 + 32 + len(JPEG) + -len(JPEG) % 4
    assert faults(rec(JPEG, JPEG, JPEG, names=["a.jpg", "b.jpg", "c.jpg"]), root) == [
        f"x.rec: record 2 at byte {size:,}: made/images/b.jpg already exists with other content; "
        "move it away, or give another `root`",
        f"x.rec: record 3 at byte {2 * size:,}: made/images/c.jpg is in the way, should be a file under made/images",
    ]
    assert files(root) == {"b.jpg": OTHER}


@pytest.mark.parametrize("name", ["../a.jpg", "/a.jpg", "b/../../a.jpg"])
def test_names_that_leave_the_root_are_refused(name, rec, root):
    (fault,) = faults(rec(JPEG, JPEG, names=["good.jpg", name]), root)
    assert fault.startswith("x.lst:2: the path")


@pytest.mark.parametrize("name", ["run.sh", ".bashrc", "b/a.jpg.py", "a"])
def test_only_names_of_images_are_written(name, rec, root):
    (fault,) = faults(rec(JPEG, JPEG, names=["good.jpg", name]), root)
    assert f"the image is called {name!r}, should end in one of .bmp .jpeg .jpg" in fault


def test_a_detour_through_another_folder_is_refused(rec, root):
    (fault,) = faults(rec(JPEG, JPEG, names=["good.jpg", "b/../a.jpg"]), root)
    assert fault.endswith("the image is called 'b/../a.jpg', should be called without ..")


@pytest.mark.parametrize("content", [b"", b"#!/bin/sh\n", JPEG[:-2], b"GIF89a" + bytes(50), b"\xff\xd8\xff" + bytes(9)])
def test_only_whole_images_are_written(content, rec, root):
    (fault,) = faults(rec(JPEG, content, names=["good.jpg", "b.jpg"]), root)
    assert "x.rec: record 2 at byte" in fault
    assert "holds no image that can be used: " in fault
    path = rec(JPEG, content)
    (path.parent / "x.lst").unlink()
    (fault,) = faults(path, root)
    assert fault.startswith("x.rec: record 2 at byte")


def test_links_out_of_the_root_are_refused(rec, root, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "same.jpg").write_bytes(JPEG)
    root.mkdir(parents=True)
    (root / "inner").mkdir()
    (root / "inside").symlink_to("inner")
    (root / "out").symlink_to(outside)
    (root / "loop").symlink_to("loop")
    (root / "same.jpg").symlink_to(outside / "same.jpg")
    (root / "dangling.jpg").symlink_to(outside / "new.jpg")
    names = ["out/a.jpg", "out/b/c.jpg", "loop/a.jpg", "same.jpg", "dangling.jpg", "inside/out.jpg"]
    found = [fault.partition("byte ")[2].partition(": ")[2] for fault in faults(rec(*[JPEG] * 6, names=names), root)]
    assert found == [
        "made/images/out is a symbolic link that leads out of made/images",
        "made/images/out is a symbolic link that leads out of made/images",
        "made/images/loop is in the way, should be a folder",
        "made/images/same.jpg is in the way, should be a file under made/images",
        "made/images/dangling.jpg is in the way, should be a file under made/images",
    ]
    assert sorted(path.name for path in outside.iterdir()) == ["same.jpg"]
    # A link that stays inside, and a root that is a link itself, are what somebody wanted.
    (tmp_path / "linked").symlink_to(root)
    assert counts(unpack_images(rec(JPEG, names=["inside/a.jpg"]), tmp_path / "linked")) == (1, 0)
    assert (root / "inner" / "a.jpg").read_bytes() == JPEG


def test_a_file_in_place_of_a_folder_is_refused(rec, root):
    root.mkdir(parents=True)
    (root / "b").write_bytes(b"")
    (fault,) = faults(rec(JPEG, names=["b/c/a.jpg"]), root)
    assert fault.endswith("made/images/b is in the way, should be a folder")


@pytest.mark.parametrize("names", [["b.jpg", "b.jpg/a.jpg"], ["b.jpg/a.jpg", "b.jpg"], ["b.jpg/c/a.jpg", "b.jpg"]])
def test_a_name_of_an_image_and_of_a_folder_is_refused(names, rec, root):
    (fault,) = faults(rec(JPEG, JPEG, names=names), root)
    assert fault.endswith("made/images/b.jpg is the name of an image and of a folder of others")


def test_one_name_for_several_records(rec, root):
    assert counts(unpack_images(rec(JPEG, JPEG, names=["a.jpg", "./a.jpg"]), root)) == (1, 1)
    (fault,) = faults(rec(JPEG, OTHER, names=["b.jpg", "./b.jpg"]), root)
    assert fault.endswith("holds another image than an earlier record of the same name, 'b.jpg'")


def test_names_that_the_disk_cannot_hold_are_refused(rec, root):
    assert counts(unpack_images(rec(JPEG, names=["a" * 251 + ".jpg"]), root)) == (1, 0)
    (fault,) = faults(rec(JPEG, JPEG, names=["good.jpg", "a" * 252 + ".jpg"]), root)
    assert fault.endswith("File name too long")
    (fault,) = faults(rec(JPEG, JPEG, names=["good.jpg", "a" * 256 + "/a.jpg"]), root)
    assert fault.endswith("File name too long")
    (fault,) = faults(rec(JPEG, JPEG, names=["good.jpg", "a/" * 2040 + "a.jpg"]), root)
    assert fault.endswith("File name too long")


def test_a_repeat_after_a_fault_is_no_fault(rec, root):
    (fault,) = faults(rec(JPEG, b"none", JPEG, PNG, PNG, names=["a.jpg", "b.jpg", "./a.jpg", "c.png", "./c.png"]), root)
    assert fault.startswith("x.rec: record 2 at byte ")


def test_a_move_that_fails_takes_the_others_back(rec, root, monkeypatch):
    path = rec(JPEG, PNG, names=["a/b/1.jpg", "2.png"])
    replace = os.replace

    def refuse(source, target):
        if str(target).endswith("2.png"):
            raise PermissionError(1, "Operation not permitted", str(target))
        replace(source, target)

    monkeypatch.setattr(os, "replace", refuse)
    (fault,) = faults(path, root)
    assert fault.endswith("2.png: cannot be written: Operation not permitted")


def test_a_broken_file_writes_nothing(rec, root):
    path = rec(JPEG, JPEG, names=["a.jpg", "b.jpg"])
    path.write_bytes(path.read_bytes()[:-4])
    (fault,) = faults(path, root)
    assert fault.endswith("ends 4 bytes beyond the file's end: the file is cut off")
    path.write_bytes(b"")
    assert faults(path, root) == ["x.rec: is empty, should hold records"]


def test_lines_without_a_record_write_nothing(rec, root):
    assert faults(rec(JPEG, names=["a.jpg", "b.jpg"]), root) == [
        "x.lst:2: has an index that is the id of no record in x.rec; im2rec leaves out images that it cannot read: "
        "take the line out"
    ]


def test_sources_are_unpacked_once_their_labels_have_no_fault(rec, root):
    path = rec(JPEG, names=["a.jpg"])
    with pytest.raises(ListError, match="has 2 labels, should be 3"):
        unpack_sources(LabelSources((path,), root, num_classes=3))
    assert not root.parent.exists()
    assert unpack_sources(LabelSources((path,), root, num_classes=2)) == (Unpacked(path, root, 1, 0),)
    assert files(root) == {"a.jpg": JPEG}
    assert unpack_sources(LabelSources((path.with_suffix(".lst"),), root)) == ()
