"""Sets of labelled images: choosing labels, and several sources as one set."""

from __future__ import annotations

import numpy as np
import pytest

from mxml.data import labelled_images
from mxml.data.image_list import ImageList
from mxml.data.labelled_images import LabelledImages, describe, merge, select_labels
from mxml.errors import ListError


def labelled(rows, label_names, notes=()):
    return LabelledImages(ImageList.from_rows(list(rows), list(rows.values()), "root"), label_names, notes)


def test_labels_in_words():
    assert describe(np.array([1, 0, 1, -1]), ["red", "hat", "blue", "x"]) == "red, blue, not known: x"
    assert describe(np.array([0]), ["red"]) == "no label"


def test_classes_fix_order_and_subset():
    table = labelled({"a": [1, 0, -1], "b": [0, 0, 1]}, ("red", "hat", "x"))
    chosen = select_labels(table, ["x", "new", "red"], False, "classes.txt")
    assert chosen.images.labels.tolist() == [[-1, 0, 1], [1, 0, 0]]
    assert chosen.label_names == ("x", "new", "red")
    assert chosen.images.names() == ["a", "b"]
    assert chosen.notes == ("1 label of classes.txt that no image has: new",), "hat has no image: nothing is lost"


def test_labels_that_classes_lack_are_an_error_unless_ignored():
    table = labelled({"a": [1, 0], "b": [1, 1], "c": [1, 0]}, ("red", "hat"))
    with pytest.raises(ListError) as caught:
        select_labels(table, ["red"], False, "classes.txt")
    assert caught.value.faults == (
        "classes.txt: lacks the label 'hat' of 1 image, the first 'b'; add it, or `ignore_unknown` leaves it out",
    )
    chosen = select_labels(table, ["red"], True, "classes.txt")
    assert chosen.images.labels.tolist() == [[1], [1], [1]]
    assert chosen.notes == ("1 label not in classes.txt left out: hat",)


def test_a_slip_in_the_wanted_labels_is_recognised():
    table = labelled({"a": [1, 1], "b": [0, 1]}, ("sunset", "cat"))
    with pytest.raises(ListError) as caught:
        select_labels(table, ["hat", "sunsett"], False, "classes.txt")
    assert caught.value.faults == (
        "classes.txt: lacks the label 'sunset' of 1 image, the first 'a'; did you mean 'sunset' by 'sunsett' there, "
        "which no image has?",
        # It is another word, and the hat may well be meant.
        "classes.txt: lacks the label 'cat' of 2 images, the first 'a'; add it, or `ignore_unknown` leaves it out",
    )


def test_sources_become_one_set_with_all_labels():
    first = labelled({"a": [1, 0], "b": [0, -1]}, ("red", "hat"), ("one",))
    second = labelled({"c": [1, 1], "a": [0, 1]}, ("new", "red"), ("two",))
    merged = merge([("x.csv", first), ("y.csv", second)])
    assert merged.label_names == ("red", "hat", "new")
    assert merged.images.names() == ["a", "b", "c"]
    assert merged.images.labels.tolist() == [[1, 0, 0], [0, -1, 0], [1, 0, 1]]
    assert merged.images.index.tolist() == [0, 1, 2]
    assert merged.notes == ("one", "two", "1 image named by several sources with the same labels, kept once")


def test_an_image_that_sources_label_differently_shows_both():
    first = labelled({"a": [1, 0]}, ("red", "hat"))
    second = labelled({"b": [1], "./a": [1]}, ("hat",))
    with pytest.raises(ListError) as caught:
        merge([("x.csv", first), ("y.csv", second)])
    assert caught.value.faults == (
        "y.csv: './a' has: hat; in x.csv it has: red; should have the same labels everywhere",
    )


def test_tables_that_would_take_too_much_memory_are_refused(monkeypatch):
    monkeypatch.setattr(labelled_images, "MAX_CELLS", 5)
    first, second = labelled({"a": [1, 0]}, ("red", "hat")), labelled({"b": [1]}, ("tie",))
    with pytest.raises(ListError, match=r"^x.csv, y.csv: 2 images with 3 labels are too many"):
        merge([("x.csv", first), ("y.csv", second)])
    with pytest.raises(ListError, match=r"^classes.txt: 1 images with 6 labels are too many"):
        select_labels(first, list("abcdef"), True, "classes.txt")
