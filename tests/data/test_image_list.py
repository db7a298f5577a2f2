"""Lists in memory, and the names of their labels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mxml.data.image_list import ImageList, read_label_names, require_same_names, write_label_names
from mxml.errors import ListError
from mxml.text import shown

one_line_texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\r\0"), min_size=1).filter(
    lambda text: text == text.strip()
)


def rows(images):
    return list(zip(images.index.tolist(), images.labels.tolist(), images.names()))


def test_select_keeps_index_labels_and_names():
    images = ImageList.from_rows(["a.jpg", "bb.jpg", "c.jpg"], [[1, 0], [0, 0], [-1, 1]], "r", [4, 5, 6])
    assert rows(images.select([2, 0, 2])) == [(6, [-1, 1], "c.jpg"), (4, [1, 0], "a.jpg"), (6, [-1, 1], "c.jpg")]
    assert images.select(np.array([1])).path(0) == "r/bb.jpg"
    assert len(images.select([])) == 0


def test_a_list_does_not_change():
    images = ImageList.from_rows(["a.jpg", "b.jpg"], [[1, 0], [-1, 1]])
    for column in (images.labels, images.index, images.select([0]).labels):
        with pytest.raises(ValueError, match="read-only"):
            column[0] = 1


def test_rows_of_other_values_and_shapes():
    assert ImageList.from_rows(["a"], [[0.5, 1]]).labels.dtype == np.float32
    assert ImageList.from_rows(["a"], np.ones((1, 2))).labels.dtype == np.int8
    with pytest.raises(ListError, match="'b' are not finite"):
        ImageList.from_rows(["a", "b"], [[0.5], [np.nan]])
    with pytest.raises(ValueError, match=r"should be \(1, number of classes\)"):
        ImageList.from_rows(["a"], [0, 1])


# ---- label names


@settings(max_examples=50, deadline=None)
@given(names=st.lists(one_line_texts.filter(lambda name: name[0] != "\ufeff"), min_size=1, unique=True))
def test_label_names_are_read_back(names, tmp_path_factory):
    path = tmp_path_factory.mktemp("labels") / "labels.txt"
    write_label_names(path, names)
    assert read_label_names(path, len(names)) == names


def test_label_names_in_other_forms(tmp_path):
    path = tmp_path / "labels.txt"
    path.write_bytes("\ufeffrobe d'été\r\nred\r\n\r\n".encode())
    assert read_label_names(path) == ["robe d'été", "red"]


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"red\n\nblue\n", r":2: the label name is empty"),
        (b"red\nblue\nred\n", r":3: the label name 'red' is already number 1, should be unique"),
        (b"red\nblue\n", r": has 2 labels, should be 3: red, blue"),
        (b"\n", r": holds no label names"),
        (b"caf\xe9\n", r":1: is not UTF-8 text"),
    ],
)
def test_faulty_label_names_are_refused(tmp_path, content, fault):
    path = tmp_path / "labels.txt"
    path.write_bytes(content)
    with pytest.raises(ListError, match=r"labels\.txt" + fault):
        read_label_names(path, 3)


@pytest.mark.parametrize("names", [["a\nb"], ["a", "a"], [""], [" a"], ["\udce9"]])
def test_label_names_that_could_not_be_read_back_are_not_written(tmp_path, names):
    with pytest.raises(ListError, match=r"label [12]: "):
        write_label_names(tmp_path / "labels.txt", names)
    assert list(tmp_path.iterdir()) == []


def test_names_in_messages_are_cut():
    assert shown(["red", "x" * 100]) == "red, " + "x" * 57 + "..."


def test_lists_with_other_label_names_beside_them_are_refused(tmp_path):
    (tmp_path / "labels.txt").write_text("red\nhat\n")
    require_same_names(tmp_path / "val.lst", ["red", "hat"], "train/labels.txt")
    require_same_names(tmp_path / "none" / "val.lst", ["x"], "train/labels.txt")
    with pytest.raises(ListError) as caught:
        require_same_names(tmp_path / "val.lst", ["red", "tie"], "train/labels.txt")
    assert str(caught.value) == (
        f"{tmp_path}/labels.txt: names other labels than train/labels.txt: number 2 is 'hat' here and 'tie' there; "
        "make both lists with the same labels, as mxml convert --classes train/labels.txt does"
    )
    with pytest.raises(ListError, match="number 2 is 'hat' here and nothing there"):
        require_same_names(tmp_path / "val.lst", ["red"], "train/labels.txt")
