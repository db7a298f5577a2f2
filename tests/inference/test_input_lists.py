"""Lists and text files that are named as inputs, and an image that is piped in."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
import tiny

from mxml.data.record_file import pack_image
from mxml.errors import ImageError, ListError, MxmlError
from mxml.images.decode import Limits
from mxml.inference.input_names import Reading
from mxml.inference.inputs import InputStream
from mxml.runtime.imports import load_mxnet

mx = load_mxnet()


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    (tmp_path / "images").mkdir()
    for name in ("a.jpg", "b c.jpg"):
        (tmp_path / "images" / name).touch()
    monkeypatch.chdir(tmp_path)


def names(inputs, reading=None):
    return [item.name for item in InputStream(inputs, reading)]


def test_a_list_stands_for_its_images_whatever_their_labels():
    Path("photos.lst").write_text("0\t3.5\ta.jpg\n1\t1\tb c.jpg\n")
    assert names("photos.lst") == ["images/a.jpg", "images/b c.jpg"]
    assert InputStream(["photos.lst", "images"]).count == 4
    assert names("photos.lst", Reading(root="elsewhere")) == ["elsewhere/a.jpg", "elsewhere/b c.jpg"]


def test_a_wrong_list_is_refused_and_among_others_reported():
    Path("photos.lst").write_text("0\t1\ta.jpg\n1\tb c.jpg\n")
    with pytest.raises(ListError, match=r"photos\.lst:2: "):
        InputStream("photos.lst")
    first, second = InputStream(["photos.lst", "images/a.jpg"])
    assert isinstance(first.content, ImageError) and first.content.reason.startswith("is not read: photos.lst:2: ")
    assert second.name == "images/a.jpg" and second.content is None


def test_the_records_of_a_file_are_read_where_they_are_decoded(tmp_path):
    images = tiny.make_images(tmp_path / "drawn", 2, 1)
    contents = [Path(images.path(position)).read_bytes() for position in range(2)]
    writer = mx.recordio.MXRecordIO("photos.rec", "w")
    for number, content in enumerate(contents):
        writer.write(pack_image(number, np.array([7, 9]), content))
    writer.close()
    items = list(InputStream("photos.rec"))
    assert [callable(item.content) and item.content(Limits()) for item in items] == contents
    assert items[0].name.startswith("photos.rec")


def test_a_text_file_names_one_path_on_each_line():
    Path("files.txt").write_bytes(b"\xef\xbb\xbfimages/a.jpg\r\n\r\n images/x \n/tmp/\xff.jpg\n[1]*.jpg\nphotos.lst")
    expected = ["images/a.jpg", " images/x ", "/tmp/\udcff.jpg", "[1]*.jpg", "photos.lst"]
    assert names("files.txt") == expected, "a line is a path, and no pattern, folder or list"
    assert InputStream("files.txt").count == 5
    assert names(iter(["files.txt"]), Reading(root="r"))[:3] == ["r/images/a.jpg", "r/ images/x ", "/tmp/\udcff.jpg"]


def test_an_empty_text_file_is_refused():
    Path("files.txt").write_text("\n \n")
    with pytest.raises(MxmlError, match=r"^files\.txt: names no image, should hold one path on each line$"):
        InputStream("files.txt")


def test_prose_is_refused_in_one_line_and_a_path_may_begin_as_a_comment_does(folder):
    Path("files.txt").write_text("# My photographs\n\nThey are of the sea.\n")
    wanted = r"^files\.txt: names no image: '# My photographs' is no file; should hold one path on each line, from"
    with pytest.raises(MxmlError, match=wanted):
        InputStream("files.txt")
    Path("# My photographs").touch()
    assert names("files.txt") == ["# My photographs", "They are of the sea."]
    # Those that have gone are told one by one.
    Path("files.txt").write_text("gone.jpg\n")
    assert names("files.txt") == ["gone.jpg"]


def test_what_a_file_names_is_never_fetched():
    Path("files.txt").write_text("http://user:secret@127.0.0.1:9/x.jpg\nimages/a.jpg\n-\n")
    first, second, third = InputStream("files.txt")
    assert isinstance(first.content, ImageError)
    assert str(first.content).startswith("http://127.0.0.1:9/x.jpg: a URL is read only where it is given itself")
    assert (second.content, third.name, third.content) == (None, "-", None)


def test_a_text_file_is_read_as_its_names_are_asked_for():
    Path("files.txt").write_text("".join(f"images/{number}.jpg\n" for number in range(50_000)))
    stream = iter(InputStream("files.txt"))
    assert next(stream).name == "images/0.jpg"
    assert sum(1 for _ in stream) == 49_999


class Stdin:
    def __init__(self, content: bytes, terminal: bool = False):
        self.buffer = io.BytesIO(content)
        self.isatty = lambda: terminal


def test_an_image_can_be_piped_in_once(monkeypatch):
    monkeypatch.setattr("sys.stdin", Stdin(b"image"))
    first, second = InputStream(["-", "-"])
    assert (first.name, first.content) == ("stdin", b"image")
    assert isinstance(second.content, ImageError) and "was read already" in second.content.reason


@pytest.mark.parametrize(
    ("stdin", "reason"),
    [
        (Stdin(b"image", terminal=True), "nothing is piped in"),
        (None, "nothing is piped in"),
        (Stdin(b""), "is empty, or was read already"),
    ],
)
def test_without_an_image_on_stdin_that_is_said(monkeypatch, stdin, reason):
    monkeypatch.setattr("sys.stdin", stdin)
    (item,) = InputStream("-")
    assert isinstance(item.content, ImageError) and item.content.reason.startswith(reason)


def test_no_more_is_read_from_stdin_than_an_image_may_have(monkeypatch):
    class Endless:
        read_bytes = 0

        def read(self, count):
            self.read_bytes += count
            return bytes(count)

    stdin = Stdin(b"")
    stdin.buffer = endless = Endless()  # type: ignore[assignment]
    monkeypatch.setattr("sys.stdin", stdin)
    monkeypatch.setattr("mxml.inference.input_names.Limits", lambda: Limits(max_bytes=5 << 20))
    (item,) = InputStream("-")
    assert isinstance(item.content, ImageError) and item.content.kind == "too_large"
    assert endless.read_bytes <= 6 << 20


def test_a_folder_of_very_many_files_says_how_far_it_is(monkeypatch):
    notes: list[str] = []

    class Told:
        def start(self, total, what, done=0):
            pass

        def advance(self, count=1, detail=""):
            pass

        def note(self, text):
            notes.append(text)

    monkeypatch.setattr("mxml.data.formats.file_tree._MANY_FILES", 3)
    for place in ("x", "x/y", "x/y/z"):
        (Path("images") / place).mkdir()
        for number in range(2):
            (Path("images") / place / f"{number}.jpg").touch()
    assert InputStream("images", Reading(progress=Told())).count == 8
    assert notes == ["images: 4 files so far", "images: 8 files so far"]


def test_names_that_the_file_system_cannot_have_are_left_to_the_reader():
    assert names(["a\0b.mp4"]) == ["a\0b.mp4"]
    assert names([os.fsdecode(b"\xff.jpg")]) == ["\udcff.jpg"]


def test_pixels_of_an_array_are_not_copied():
    pixels = np.zeros((3, 4, 3), np.uint8)
    (item,) = InputStream(pixels)
    assert item.content is pixels
