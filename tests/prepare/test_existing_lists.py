"""Lists of an earlier split."""

from __future__ import annotations

import re

import numpy as np
import pytest

from mxml.data.image_list import ImageList
from mxml.errors import ListError
from mxml.prepare.existing_lists import read_existing, refuse_left_over


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "train.lst").write_text("0\t1\t0\ta.jpg\n1\t0\t-1\tb.jpg\n")
    (tmp_path / "val.lst").write_text("0\t1\t1\t./c.jpg\n")
    (tmp_path / "labels.txt").write_text("red\nhat\n")
    return tmp_path


def listed(rows):
    return ImageList.from_rows(list(rows), np.array(list(rows.values()), np.int8).reshape(len(rows), 2))


def test_every_image_has_the_side_that_its_list_says(folder):
    existing = read_existing(folder)
    assert existing.sides(["c.jpg", "new.jpg", "b.jpg", "./a.jpg"]).tolist() == [1, -1, 0, 0]
    assert existing.missing_from(["c.jpg", "new.jpg"]) == 2
    assert read_existing(folder / "none").sides(["a.jpg"]).tolist() == [-1]


def test_whether_new_lists_hold_all_of_the_old(folder):
    existing = read_existing(folder)
    train, val = {"a.jpg": [1, 0], "b.jpg": [0, -1]}, {"./c.jpg": [1, 1]}
    names = ("red", "hat")
    more = {**val, "d.jpg": [0, 0]}
    assert existing.all_in({"train": listed(train), "val": listed(more)}, names)
    assert not existing.all_in({"train": listed(train), "val": listed(more)}, ("hat", "red"))
    assert not existing.all_in({"train": listed({**train, "b.jpg": [0, 0]}), "val": listed(val)}, names)
    assert not existing.all_in({"train": listed({"a.jpg": [1, 0]}), "val": listed(val)}, names)
    assert not read_existing(folder / "none").all_in({"train": listed(train)}, names)


def test_lists_that_share_an_image_or_would_be_left_over_are_refused(folder):
    refuse_left_over(folder, 2)
    (folder / "test.lst").write_text("0\t1\t1\tb.jpg\n")
    with pytest.raises(ListError, match=r"test\.lst: has 'b.jpg', which train.lst beside it has too; .*--new-split"):
        read_existing(folder)
    refuse_left_over(folder, 3)
    with pytest.raises(ListError, match=r"test\.lst: is there from a split into 3, and would be left over .* into 2"):
        refuse_left_over(folder, 2)


@pytest.mark.parametrize(
    ("file", "content", "fault"),
    [
        ("val.lst", "junk\nmore junk\n", r"val\.lst:1: is 'junk', should be one line per image: .*"),
        ("labels.txt", "red\nred\n", r"labels\.txt:2: the label name 'red' is already number 1, should be unique"),
    ],
)
def test_what_cannot_be_read_is_named_with_the_way_past_it(folder, file, content, fault):
    (folder / file).write_text(content)
    with pytest.raises(ListError) as caught:
        read_existing(folder)
    (text,) = caught.value.faults
    assert re.fullmatch(rf".*/{fault}; mend what is there, or --new-split splits anew", text)
