"""Gathering a source's images."""

from __future__ import annotations

from pathlib import Path

import pytest

from mxml.data import labelled_images
from mxml.data.formats import rows as rows_module
from mxml.data.formats.rows import Rows
from mxml.data.label_names import names_beside
from mxml.errors import SHOWN_FAULTS, ListError

SOURCE = Path("s.csv")


def test_labels_are_sorted_and_rows_keep_their_order():
    rows = Rows(SOURCE)
    rows.add(1, "b.jpg", ["red", "hat", "red"])
    rows.add(2, "a.jpg", [], ["tie"])
    labelled = rows.finish(Path("root"), ["said"])
    assert labelled.label_names == ("hat", "red", "tie")
    assert labelled.images.names() == ["b.jpg", "a.jpg"]
    assert labelled.images.labels.tolist() == [[1, 1, 0], [0, 0, -1]]
    assert labelled.images.root == "root"
    assert labelled.notes == ("said",)


def test_fixed_labels_keep_their_order_and_admit_no_other():
    rows = Rows(SOURCE, ("x", "red"), Path("labels.txt"))
    rows.add(1, "a", ["red"])
    assert rows.finish(Path()).images.labels.tolist() == [[0, 1]]
    rows.add(2, "b", ["hat"])
    rows.add(3, "c", ["tie"])
    with pytest.raises(ListError) as caught:
        rows.finish(Path())
    assert caught.value.faults[0] == (
        "s.csv:2: the label 'hat' is not in labels.txt; add it there, or give `classes_file`"
    )
    assert caught.value.total == 2


def test_a_repeat_with_the_same_labels_counts_once_and_is_noted():
    rows = Rows(SOURCE)
    rows.add(1, "a", ["red", "hat"])
    rows.add(2, "a", ["hat", "red"])
    labelled = rows.finish(Path())
    assert len(labelled.images) == 1
    assert labelled.notes == ("s.csv: 1 image named again with the same labels, kept once",)


def test_a_repeat_with_other_labels_shows_both():
    rows = Rows(SOURCE)
    rows.add(1, "a", ["red"])
    rows.add(9, "a", ["hat"], ["red"])
    rows.add("x.xml", "a", [])
    with pytest.raises(ListError) as caught:
        rows.finish(Path())
    assert caught.value.faults == (
        "s.csv:9: 'a' has: hat, not known: red; on line 1 it has: red; should appear once, or with the same labels",
        "x.xml: 'a' has: no label; on line 1 it has: red; should appear once, or with the same labels",
    )


def test_spellings_of_one_path_are_one_image():
    rows = Rows(SOURCE)
    rows.add(1, "./b/a", ["red"])
    rows.add(2, "b//a", ["red"])
    labelled = rows.finish(Path())
    assert labelled.images.names() == ["./b/a"], "as the source has it"
    assert labelled.notes
    rows.add(3, "b/c/../a", [])
    with pytest.raises(ListError, match=r"^s.csv:3: 'b/c/../a' has: no label; on line 1 it has: red"):
        rows.finish(Path())


def test_every_repeat_is_counted_also_those_that_are_not_shown():
    rows = Rows(SOURCE)
    for number in range(50):
        rows.add(number, f"{number}", [f"label {number}"])
    for number in range(50):
        rows.add(50 + number, f"{number}", [])
    with pytest.raises(ListError) as caught:
        rows.finish(Path())
    assert (len(caught.value.faults), caught.value.total) == (SHOWN_FAULTS, 50)


def test_the_table_is_the_same_however_it_is_built(monkeypatch):
    monkeypatch.setattr(rows_module, "_BLOCK_ROWS", 2)
    monkeypatch.setattr(rows_module, "_KNOWN_LABELS", 3)
    rows = Rows(SOURCE, ("a", "b", "c"))
    drawn = [("a", "c"), (), ("b",), ("a", "c"), ("c",)]
    for number, present in enumerate(drawn):
        rows.add(number, f"{number}", present, {"b"} - set(present))
    table = rows.finish(Path()).images.labels.tolist()
    assert table == [[1, -1, 1], [0, -1, 0], [0, 1, 0], [1, -1, 1], [0, -1, 1]]


def test_names_and_labels_that_cannot_be_are_faults():
    rows = Rows(SOURCE)
    rows.add(1, "../a", ["red"])
    rows.add(2, "/a", ["red"])
    rows.add(3, "", ["red"])
    rows.add(4, "b", ["red"], ["red"])
    rows.add(5, "c", [" red"])
    with pytest.raises(ListError) as caught:
        rows.finish(Path())
    assert [fault.split(": ", 1)[1] for fault in caught.value.faults] == [
        "the path '../a' leaves the image root, should stay under it",
        "the path '/a' is absolute, should be relative to the image root",
        "the path is empty, should name an image",
        "the label 'red' of 'b' is both present and unknown",
        "the label name ' red' holds a line end, an outer blank or no UTF-8",
    ]
    allowed = Rows(SOURCE, allow_absolute=True)
    allowed.add(1, "/a", ["red"])
    assert allowed.finish(Path()).images.names() == ["/a"]


def test_nothing_and_too_much_are_refused(monkeypatch):
    with pytest.raises(ListError, match=r"^s.csv: holds no images$"):
        Rows(SOURCE).finish(Path())
    rows = Rows(SOURCE)
    rows.add(1, "a", [])
    with pytest.raises(ListError, match=r"^s.csv: holds no labels$"):
        rows.finish(Path())
    monkeypatch.setattr(labelled_images, "MAX_CELLS", 3)
    rows = Rows(SOURCE)
    rows.add(1, "a", ["1", "2"])
    rows.add(2, "b", ["1"])
    with pytest.raises(ListError, match="2 images with 2 labels are too many"):
        rows.finish(Path())


def test_labels_beside_a_file_or_in_a_folder(tmp_path):
    assert names_beside(tmp_path) is None
    (tmp_path / "labels.txt").write_text("red\nhat\n")
    assert names_beside(tmp_path) == (tmp_path / "labels.txt", ("red", "hat"))
    assert names_beside(tmp_path / "x.csv") == (tmp_path / "labels.txt", ("red", "hat"))


def test_a_label_that_a_file_could_not_begin_with_is_a_fault():
    rows = Rows(SOURCE)
    rows.add(1, "a", ["\ufeffred"])
    with pytest.raises(ListError, match=r"^s.csv:1: the label name '\\ufeffred' begins with a byte order mark"):
        rows.finish(Path())
