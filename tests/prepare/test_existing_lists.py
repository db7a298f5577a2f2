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


def test_every_image_has_the_subset_that_its_list_says(folder):
    existing = read_existing(folder)
    assert existing.subset_numbers(["c.jpg", "new.jpg", "b.jpg", "./a.jpg"]).tolist() == [1, -1, 0, 0]
    assert existing.missing_from(["c.jpg", "new.jpg"]) == 2
    assert read_existing(folder / "none").subset_numbers(["a.jpg"]).tolist() == [-1]


def test_new_images_follow_after_the_lines_that_are_there(folder):
    existing = read_existing(folder)
    images = listed({"d.jpg": [1, 1], "./b.jpg": [0, -1], "a.jpg": [1, 0], "c.jpg": [1, 1]})
    train = existing.continued("train", images, np.array([0, 1, 2]))
    assert train.keeps_lines
    assert train.content == b"0\t1\t0\ta.jpg\n1\t0\t-1\tb.jpg\n2\t1.000000\t1.000000\td.jpg\n"
    assert train.images.names() == ["a.jpg", "b.jpg", "d.jpg"]
    assert train.images.labels.tolist() == [[1, 0], [0, -1], [1, 1]]
    assert existing.continued("val", images, np.array([3])).content == (folder / "val.lst").read_bytes()
    new = existing.continued("test", images, np.array([0, 3]))
    assert (new.keeps_lines, new.images.index.tolist()) == (True, [0, 1])


def test_a_line_that_is_gone_or_has_other_labels_is_not_kept(folder):
    existing = read_existing(folder)
    gone = existing.continued("train", listed({"b.jpg": [0, -1], "d.jpg": [0, 0]}), np.array([0, 1]))
    assert not gone.keeps_lines
    assert gone.content == b"1\t0.000000\t-1.000000\tb.jpg\n2\t0.000000\t0.000000\td.jpg\n"
    other = existing.continued("train", listed({"b.jpg": [0, 0], "a.jpg": [1, 0]}), np.array([0, 1]))
    assert not other.keeps_lines
    assert (other.images.names(), other.images.labels.tolist()) == (["a.jpg", "b.jpg"], [[1, 0], [0, 0]])
    wider = ImageList.from_rows(["a.jpg", "b.jpg"], np.zeros((2, 3), np.int8))
    assert not existing.continued("train", wider, np.array([0, 1])).keeps_lines


def test_lists_that_share_an_image_or_would_be_left_over_are_refused(folder):
    refuse_left_over(folder, 2)
    (folder / "test.lst").write_text("0\t1\t1\tb.jpg\n")
    with pytest.raises(ListError, match=r"test\.lst: has 'b.jpg', which train.lst beside it has too; .*`new`"):
        read_existing(folder)
    refuse_left_over(folder, 3)
    with pytest.raises(ListError, match=r"test\.lst: is left from a split into 3, and would not belong .* into 2"):
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
    assert re.fullmatch(rf".*/{fault}; correct the list, or use `new` to split again", text)
