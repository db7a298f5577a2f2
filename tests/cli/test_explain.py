"""``mxml explain``: whole commands, what they print and draw, and what wrong input gets."""

from __future__ import annotations

import json

import coloured
import pytest
from PIL import Image
from videos import make_video

from mxml.images.transforms import Preprocess

EXPLAIN = ("explain", "--prefix", "colours")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a checkpoint and two images, which is the working directory."""
    monkeypatch.chdir(tmp_path)
    coloured.write(tmp_path / "colours", Preprocess((64, 64), None, (127.5,) * 3, (127.5,) * 3, fit="stretch"))
    (tmp_path / "images").mkdir()
    for channel, name in enumerate(coloured.NAMES[:2]):
        Image.fromarray(coloured.spotted(44, 40, 20, 12, 9, channel)).save(f"images/{name}.png")
    return tmp_path


def test_each_image_gets_a_sheet_and_a_line(folder, mxml):
    code, out, err = mxml(*EXPLAIN, "images")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert [line.split()[:2] for line in lines] == [["images/green.png:", "green"], ["images/red.png:", "red"]]
    files = [line.rpartition(" -> ")[2] for line in lines]
    assert files == ["explained/green_explained.jpg", "explained/red_explained.jpg"]
    for file in files:
        with Image.open(folder / file) as sheet:
            assert min(sheet.size) > 360


def test_json_has_what_a_program_needs(folder, mxml):
    options = ("--label", "blue", "--label", "red", "--out", "sheets", "--json")
    code, out, _ = mxml(*EXPLAIN, "images/red.png", *options)
    (record,) = map(json.loads, out.splitlines())
    assert code == 0 and record["file"] == "sheets/red_explained.jpg" and (folder / record["file"]).exists()
    assert (record["width"], record["height"], record["method"]) == (44, 40, "cam")
    assert [label["label_name"] for label in record["labels"]] == ["blue", "red"]
    for label in record["labels"]:
        left, top, right, bottom = label["hottest"]
        assert 0 <= left < right <= 44 and 0 <= top < bottom <= 40
        assert left <= label["peak"][0] < right and top <= label["peak"][1] < bottom


def test_a_sheet_of_a_frame_is_called_after_it(folder, mxml):
    make_video(folder / "clip.avi", frames=15)
    code, out, err = mxml(*EXPLAIN, "clip.avi", "--label", "red")
    assert code == 0, err
    names = [line.rpartition(" -> ")[2] for line in out.splitlines()]
    assert names == [f"explained/clip_frame{number}_explained.jpg" for number in (0, 10)]


def test_bad_images_are_reported_as_predict_reports_them(folder, mxml):
    (folder / "text.jpg").write_text("hello")
    code, out, err = mxml(*EXPLAIN, "images/red.png", "text.jpg", "--json")
    good, bad = map(json.loads, out.splitlines())
    assert code == 1 and "file" in good and set(bad) == {"input_path", "error"}
    assert "left out, cannot be read: text.jpg" in err and "--skip-bad" in err
    assert mxml(*EXPLAIN, "images/red.png", "text.jpg", "--skip-bad")[0] == 0
    code, _, err = mxml(*EXPLAIN, "text.jpg", "--skip-bad")
    assert code == 1 and "no image could be read" in err


def test_wrong_settings_get_one_line(folder, mxml):
    code, _, err = mxml(*EXPLAIN, "images/red.png", "--label", "rde")
    assert code == 2 and err.startswith("mxml: --label rde: should be the name of a label, such as 'red'")
    assert mxml(*EXPLAIN)[0] == 2
    (folder / "file").write_text("")
    code, _, err = mxml(*EXPLAIN, "images/red.png", "--out", "file")
    assert code == 1 and err.count("\n") == 1 and err.startswith("mxml: file: cannot be made")
