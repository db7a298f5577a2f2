"""Pictures of several processes in one folder: none replaces that of another image."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mxml.errors import ImageError
from mxml.inference.prediction import Prediction
from mxml.inference.results.pictures import Pictures

# What can be read is grey of this level; two frames and three images have the same name.
IMAGES = {
    "a/clip.avi#0": 20,
    "a/clip.avi#4": 60,
    "b/clip.avi#0": 100,
    "a/x.jpg": None,
    "b/x.jpg": 140,
    "c/x.jpg": 180,
    "clip.jpg": 220,
}


def prediction(called):
    path, _, frame = called.partition("#")
    level = IMAGES[called]
    error = ImageError("broken", path) if level is None else None
    pixels = None if level is None else np.full((480, 480, 3), level, np.uint8)
    return Prediction(path, ("red",), np.array([0.5]), error=error, pixels=pixels, frame=int(frame) if frame else None)


def drawn(folder):
    return {name: int(np.asarray(Image.open(folder / name))[0, 0, 0]) for name in os.listdir(folder) if "jpg" in name}


@pytest.mark.parametrize("parts", [[range(7)], [range(3), range(3, 7)], [[1, 5, 6], [0, 3], [2, 4]]])
@pytest.mark.parametrize("option", ["save_img", "save_path"])
def test_names_do_not_depend_on_which_process_draws_what(tmp_path, option, parts):
    options: dict[str, Any] = {option: str(tmp_path)}
    for part in parts:
        with Pictures(**options) as pictures:
            for place, called in enumerate(IMAGES):
                if place in part:
                    pictures.write(prediction(called))
                else:
                    pictures.leave_out(called)
    assert drawn(tmp_path) == {
        "clip_frame0_res.jpg": 20,
        "clip_frame4_res.jpg": 60,
        "clip_frame0_2_res.jpg": 100,
        "x_2_res.jpg": 140,
        "x_3_res.jpg": 180,
        "clip_res.jpg": 220,
    }


def test_a_very_long_name_is_cut(tmp_path):
    IMAGES["中" * 84] = 50
    with Pictures(save_path=str(tmp_path)) as pictures:
        pictures.write(prediction("中" * 84))
    assert len(os.listdir(tmp_path)) == 2
    del IMAGES["中" * 84]


def test_the_end_says_what_was_written(tmp_path):
    told: list[str] = []

    class Notes:
        def start(self, total: int, what: str, done: int = 0) -> None:
            pass

        def advance(self, count: int = 1, detail: str = "") -> None:
            pass

        def note(self, text: str) -> None:
            told.append(text)

    places = {"save_img": "drawn", "numbered": "n/%i.jpg", "contact_sheet": "sheet.jpg", "save_video": "a.avi"}
    named: dict[str, Any] = {option: str(tmp_path / place) for option, place in places.items()}
    with Pictures(**named, progress=Notes()) as pictures:
        for called in ("a/x.jpg", "b/x.jpg", "clip.jpg"):
            pictures.write(prediction(called))
    expected = ["2 drawings in drawn", "2 drawings in n/%i.jpg", "1 page in sheet.jpg", "2 frames in a.avi"]
    assert told == [line.replace(" in ", f" in {tmp_path}/") for line in expected]
    with Pictures(save_img=str(tmp_path / "none"), progress=Notes()):
        pass
    assert len(told) == 4
