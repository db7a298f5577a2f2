"""Long tasks say how far they are: each part that is started is also counted to its end."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from mxml.data.formats.sources import LabelSources
from mxml.data.image_list import ImageList
from mxml.data.lst_file import write_lst
from mxml.errors import ListError
from mxml.prepare import duplicates
from mxml.prepare.check import check_lists
from mxml.prepare.check_page import write_page
from mxml.prepare.convert import convert
from mxml.prepare.make_lists import make_lists

NAMES = [f"{number}.jpg" for number in range(7)]
MIB = 1 << 20


class Told:
    """Holds what a task said: notes, and for each part its name, how many images it has and how many were counted."""

    def __init__(self):
        self.parts, self.notes = [], []

    def start(self, total, what, done=0):
        self.parts.append([what, total, done])

    def advance(self, count=1, detail=""):
        self.parts[-1][2] += count

    def note(self, text):
        self.notes.append(text)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("images").mkdir()
    for seed, name in enumerate(NAMES):
        blotches = np.random.default_rng(seed).integers(0, 256, (5, 7, 3), dtype=np.uint8)
        cv2.imwrite(f"images/{name}", cv2.resize(blotches, (60, 40), interpolation=cv2.INTER_CUBIC))
    write_lst("train.lst", ImageList.from_rows(NAMES, [[1, 0], [0, 1], [1, 0], [0, 1], [1, 0], [0, 1], [1, 0]]))
    Path("labels.txt").write_text("red\ngreen\n")
    return tmp_path


@pytest.mark.parametrize(
    ("to", "out", "last"), [("rec", "x.rec", "packing images"), ("folders", "x", "putting images into folders")]
)
def test_convert_counts_the_images_that_it_copies(folder, to, out, last):
    told = Told()
    convert(LabelSources((Path("train.lst"),)), to, folder / "out" / out, progress=told)
    assert told.parts == [["looking for the images", 7, 7], [last, 7, 7]]


def test_check_counts_what_it_opens_compares_and_draws(folder, monkeypatch):
    monkeypatch.setattr(duplicates, "_COMPARE_ALL", 0)
    told = Told()
    write_page(check_lists(["train.lst"], "images", progress=told), "check.html", told)
    assert told.parts == [["opening images", 7, 7], ["comparing images", 7, 7], ["making thumbnails", 7, 7]]
    assert told.notes == []


def read_check(told):
    check_lists(["train.lst"], "images", progress=told)


def read_sources(told):
    make_lists(LabelSources((Path("train.lst"),)), Path("lists"), progress=told)


@pytest.mark.parametrize("task", [read_check, read_sources])
def test_a_large_file_of_labels_is_named_before_it_is_read(folder, task):
    with open("train.lst", "ab") as file:
        file.write(b" " * (65 * MIB))
    told = Told()
    with pytest.raises(ListError, match=r"train\.lst:8: is longer than"):
        task(told)
    assert told.notes == ["reading train.lst (65 MiB)"]
