"""Names of drawings: a file that is there is replaced only where it is an earlier drawing of the same image."""

from __future__ import annotations

import os

import numpy as np
import pytest
from PIL import Image

from mxml.images.picture_file import encoded, mark_of
from mxml.inference.drawing_folder import DrawingFolder
from mxml.inference.input_names import Reading, Several, named
from mxml.inference.prediction import Prediction, drawing_mark


class Notes:
    def __init__(self) -> None:
        self.notes: list[str] = []

    def start(self, total: int, what: str, done: int = 0) -> None:
        pass

    def advance(self, count: int = 1, detail: str = "") -> None:
        pass

    def note(self, text: str) -> None:
        self.notes.append(text)


def prediction(path, frame=None):
    pixels = np.full((48, 48, 3), 90, np.uint8)
    return Prediction(path, ("red",), np.array([0.7]), pixels=pixels, frame=frame)


@pytest.mark.parametrize("name", ["x.jpg", "x.jpeg", "x.PNG"])
def test_a_drawing_has_a_mark_and_is_an_image_as_any(tmp_path, name):
    drawing = np.zeros((9, 9, 3), np.uint8)
    (tmp_path / name).write_bytes(encoded(drawing, name, "abc"))
    assert mark_of(tmp_path / name) == "abc"
    with Image.open(tmp_path / name) as image:
        image.load()
        assert image.size == (9, 9) and np.asarray(image).max() == 0
    Image.fromarray(drawing).save(tmp_path / name)
    assert mark_of(tmp_path / name) is mark_of(tmp_path / "none") is mark_of(tmp_path) is None


def test_a_mark_is_of_one_image_and_one_frame(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert drawing_mark("a.jpg") == drawing_mark(tmp_path / "a.jpg") == drawing_mark("b/../a.jpg")
    assert (
        len({drawing_mark("a.jpg"), drawing_mark("b/a.jpg"), drawing_mark("a.jpg", 0), drawing_mark("a.jpg", 1)}) == 4
    )


def test_a_later_run_replaces_its_own_drawings_and_nothing_else(tmp_path):
    def run(*paths):
        folder = DrawingFolder(str(tmp_path))
        return [os.path.basename(prediction(path).save_to_img(folder.location(path))) for path in paths]

    (tmp_path / "x_res.jpg").write_bytes(b"a photograph")
    assert run("a/x.jpg") == ["x_2_res.jpg"]
    assert run("b/x.jpg") == ["x_3_res.jpg"]
    for _ in range(2):
        assert run("b/x.jpg", "a/x.jpg") == ["x_3_res.jpg", "x_2_res.jpg"]
    assert (tmp_path / "x_res.jpg").read_bytes() == b"a photograph"
    assert len(os.listdir(tmp_path)) == 3


def test_the_file_beside_a_drawing_is_not_replaced_either(tmp_path):
    (tmp_path / "x_res.json").write_text("notes")
    folder = DrawingFolder(str(tmp_path), beside=".json")
    assert os.path.basename(folder.location("x.jpg")) == "x_2_res.jpg"


def test_drawings_beside_photographs_are_not_tagged(tmp_path):
    for name in ("x.jpg", "y_res.jpg"):
        Image.new("RGB", (9, 9)).save(tmp_path / name)
    for kind in ("res", "explained"):
        prediction("x.jpg").save_to_img(tmp_path / f"x_{kind}.jpg")
    told = Notes()
    found = named(str(tmp_path), Reading(progress=told))
    assert isinstance(found, Several)
    assert list(found.items) == [f"{tmp_path}/x.jpg", f"{tmp_path}/y_res.jpg"] and found.count == 2
    assert told.notes == [f"{tmp_path}: 2 drawings of mxml are skipped"]
    assert named(f"{tmp_path}/x_res.jpg", Reading()) == f"{tmp_path}/x_res.jpg"
