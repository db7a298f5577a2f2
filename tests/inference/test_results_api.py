"""What PaddleX's programs do with a result: use it as a dict, print it, save it; and what a notebook shows."""

from __future__ import annotations

import base64
import html
import io
import json
import re
from collections.abc import Mapping

import numpy as np
import pytest
from PIL import Image

from mxml.errors import ImageError
from mxml.images.label_colours import as_hex, label_colours
from mxml.inference.prediction import Prediction

NAMES = ("海", "<b>bold</b>", "trees")
SCORES = np.array([0.98, 0.7, 0.25])
PIXELS = np.full((300, 800, 3), (250, 128, 10), np.uint8)
RECORD = {
    "input_path": "in/x.png",
    "page_index": None,
    "class_ids": [0, 1],
    "scores": [0.98, 0.7],
    "label_names": ["海", "<b>bold</b>"],
}


@pytest.fixture
def result():
    return Prediction("in/x.png", NAMES, SCORES, pixels=PIXELS)


def test_a_result_is_a_mapping_and_still_itself(result):
    assert issubclass(Prediction, Mapping)
    assert dict(result) == RECORD
    assert result["label_names"] == ["海", "<b>bold</b>"] and result.get("nothing") is None
    assert list(result) == list(RECORD) and "scores" in result and len(result) == 5
    assert result != Prediction("in/x.png", NAMES, SCORES) and len({result, result}) == 1
    assert result.json == {"res": RECORD}


def test_the_image_of_a_result_is_what_draw_gives(result):
    np.testing.assert_array_equal(np.asarray(result.img["res"]), result.draw())


def test_print_gives_json_or_one_line(result, capsys):
    result.print()
    assert capsys.readouterr().out == json.dumps(RECORD, indent=4, ensure_ascii=False) + "\n"
    result.print(indent=1, ensure_ascii=True)
    assert capsys.readouterr().out == json.dumps(RECORD, indent=1) + "\n"
    result.print(format_json=False)
    assert capsys.readouterr().out == f"{RECORD}\n"


def test_print_cannot_drive_the_terminal_and_works_in_any_encoding(monkeypatch, capsys):
    wild = Prediction("x", ("\x9b2J\u202etxet\x7f",), np.array([0.9]))
    wild.print()
    out = capsys.readouterr().out
    assert out.replace("\n", "").isprintable()
    assert json.loads(out)["label_names"] == ["\x9b2J\u202etxet\x7f"]
    ascii_only = io.TextIOWrapper(io.BytesIO(), "ascii")
    monkeypatch.setattr("sys.stdout", ascii_only)
    Prediction("x", ("海",), np.array([0.9])).print()
    ascii_only.seek(0)
    assert json.load(ascii_only)["label_names"] == ["海"]


def test_files_in_a_folder_are_called_after_the_image(result, tmp_path):
    assert result.save_to_img(tmp_path / "out") == tmp_path / "out" / "x_res.png"
    assert result.save_to_json(tmp_path / "out", ensure_ascii=True, indent=1).read_text() == (
        json.dumps(RECORD, indent=1) + "\n"
    )
    for path, name in (("a.JPEG", "a_res.jpeg"), ("a.webp", "a_res.jpg"), ("image 0", "image 0_res.jpg")):
        assert Prediction(path, NAMES, SCORES).save_to_img(tmp_path, PIXELS) == tmp_path / name


def test_an_image_that_could_not_be_read_has_no_labels_and_no_picture(tmp_path):
    bad = Prediction("x.jpg", NAMES, np.full(3, np.nan), error=ImageError("the file is empty", "x.jpg"))
    assert list(bad) == [*RECORD, "error"] and bad["error"] == "the file is empty"
    assert bad["class_ids"] == bad["scores"] == bad["label_names"] == []
    assert bad.save_to_img(tmp_path) is None and not list(tmp_path.iterdir())
    assert json.loads(bad.save_to_json(tmp_path).read_text()) == dict(bad)
    for draw in (bad.draw, lambda: bad.img):
        with pytest.raises(ImageError, match=r"x\.jpg: the file is empty"):
            draw()
    assert "cannot be read: the file is empty" in bad._repr_html_()


def test_a_notebook_shows_the_picture_and_bars_in_the_labels_colours(result):
    shown = result._repr_html_()
    (picture,) = re.findall(r"src='data:image/jpeg;base64,([^']+)'", shown)
    with Image.open(io.BytesIO(base64.b64decode(picture))) as thumbnail:
        assert thumbnail.size == (320, 120)
    assert "<b>" not in shown and html.escape(NAMES[1]) in shown
    assert [as_hex(colour) in shown for colour in label_colours(NAMES)] == [True, True, False]
    assert "width:98.0%" in shown and len(shown) < 8000
    # A file that is still there is read again; what is no file is shown without a picture.
    assert "<img" not in Prediction("in/x.png", NAMES, SCORES)._repr_html_()


def test_a_notebook_reads_the_image_of_a_prediction_that_has_kept_none(tmp_path):
    Image.fromarray(PIXELS).save(tmp_path / "x.png")
    assert "<img" in Prediction(str(tmp_path / "x.png"), NAMES, SCORES)._repr_html_()
