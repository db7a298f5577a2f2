"""Labels in image lists with one column a class."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from labelled_sets import image_names, labelled, labelled_sets, reread, said

from mxml.data.formats import multi_hot_lst, recognise
from mxml.data.formats.options import FormatOptions
from mxml.data.image_list import ImageList
from mxml.data.labelled_images import LabelledImages
from mxml.data.lst_file import read_lst
from mxml.errors import ListError

OPTIONS = FormatOptions()
TWO = "4\t1.000000\t0.000000\ta.jpg\n9\t-1.000000\t1.000000\tb/c d.jpg\n"


@pytest.fixture
def lst(tmp_path):
    def write(content, names=None):
        path = tmp_path / "train.lst"
        path.write_text(content)
        if names is not None:
            (tmp_path / "labels.txt").write_text("".join(f"{name}\n" for name in names))
        return path

    return write


def read(path, options=OPTIONS):
    return multi_hot_lst.read(path, path.parent / "images", options)


def faults(path, options=OPTIONS):
    with pytest.raises(ListError) as caught:
        read(path, options)
    return str(caught.value).replace(f"{path.parent}/", "").split("\n")


def test_columns_are_named_by_the_file_beside(lst):
    path = lst(TWO, ["red", "a hat"])
    assert recognise(path) is multi_hot_lst
    found = read(path)
    assert said(found) == (["red", "a hat"], [("a.jpg", [1, 0]), ("b/c d.jpg", [-1, 1])])
    assert found.images.index.tolist() == [4, 9]
    assert found.images.path(0) == str(path.parent / "images" / "a.jpg")
    assert found.notes == ()


def test_without_it_by_the_classes_and_else_by_number(lst):
    assert read(lst(TWO)).label_names == ("class_0", "class_1")
    assert read(lst(TWO), FormatOptions(classes=("x", "y"))).label_names == ("x", "y")
    assert read(lst(TWO, ["red", "hat"]), FormatOptions(classes=("hat", "x", "y"))).label_names == ("red", "hat")


def test_names_that_do_not_fit_are_a_fault(lst):
    assert faults(lst(TWO), FormatOptions(classes=("x", "y", "z"))) == [
        "train.lst: has 2 labels per image, and `classes_file` names 3; should be as many, or a labels.txt beside it "
        "should name its own"
    ]
    assert faults(lst(TWO, ["red"])) == ["labels.txt: has 1 label, should be 2 like train.lst: red"]
    assert faults(lst("0\t1\ta.jpg\n", ["red", "hat"])) == [
        "labels.txt: has 2 labels, should be 1 like train.lst: red, hat; "
        "if that is a class number, `format` should be single-lst"
    ]


def test_one_column_that_nothing_names_is_said_to_be_one(lst):
    assert "class number" in read(lst("0\t1\ta.jpg\n1\t0\tb.jpg\n")).notes[0]
    assert read(lst("0\t1\ta.jpg\n1\t0\tb.jpg\n", ["red"])).notes == ()


def test_the_same_image_with_the_same_labels_counts_once(lst):
    found = read(lst("7\t1\t0\ta\n\n8\t0\t1\tb\n9\t1\t0\ta\n10\t1\t0\ta\n"))
    assert said(found)[1] == [("a", [1, 0]), ("b", [0, 1])]
    assert found.images.index.tolist() == [7, 8]
    assert "train.lst: its labels have no names, so they are called class_0 to class_1;" in found.notes[0]
    assert found.notes[1].endswith("train.lst: 2 images named again with the same labels, kept once")


def test_the_same_image_with_other_labels_is_a_fault_that_shows_both_lines(lst):
    assert faults(lst("0\t1\t0\ta\n\n1\t0\t1\tb\n2\t0\t-1\ta\n3\t1\t0\ta\n4\t1\t1\tb\n", ["red", "hat"])) == [
        "train.lst:4: 'a' has: no label, not known: hat; at train.lst:1 it has: red; "
        "should appear once, or with the same labels",
        "train.lst:6: 'b' has: red, hat; at train.lst:3 it has: hat; should appear once, or with the same labels",
    ]


def test_what_leaves_the_root_needs_leave(lst):
    content = "0\t1\t0\t/a.jpg\n1\t0\t1\t../b.jpg\n"
    assert [fault.split(": ")[0] for fault in faults(lst(content))] == ["train.lst:1", "train.lst:2"]
    assert read(lst(content), FormatOptions(allow_absolute=True)).images.names() == ["/a.jpg", "../b.jpg"]
    repeated = content + "2\t0\t0\t/a.jpg\n"
    assert faults(lst(repeated), FormatOptions(allow_absolute=True))[0].startswith("train.lst:3: '/a.jpg' has: no")


@settings(max_examples=60, deadline=None)
@given(labelled_sets(names=image_names.filter(lambda name: "\t" not in name)))
def test_nothing_is_lost(tmp_path_factory, drawn):
    target = tmp_path_factory.mktemp("set") / "train.lst"
    images, names, rows = drawn
    assert reread(multi_hot_lst, labelled(*drawn), target) == (names, list(zip(images, rows)))


def test_the_index_is_kept(tmp_path):
    images = ImageList.from_rows(["a", "b"], [[1, 0], [0, 1]], "", [7, -3])
    multi_hot_lst.write(LabelledImages(images, ("x", "y")), tmp_path / "t.lst", OPTIONS)
    assert read_lst(tmp_path / "t.lst").index.tolist() == [7, -3]


def test_what_a_line_cannot_hold_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ListError, match="holds a tab"):
        multi_hot_lst.write(labelled(["a\tb"], ["red"], [[1]]), tmp_path / "t.lst", OPTIONS)
    wide = np.full((1, 110_000), -1, np.int8)
    with pytest.raises(ListError, match="110,000 labels are more than"):
        multi_hot_lst.write(labelled(["a"], [f"{i}" for i in range(110_000)], wide), tmp_path / "t.lst", OPTIONS)
    assert not list(tmp_path.iterdir())


def test_as_many_labels_as_a_line_is_allowed_can_be_read_back(tmp_path):
    most = multi_hot_lst._MAX_LABELS
    name = "x" * 4096
    wide = labelled([name], [f"{i}" for i in range(most)], np.full((1, most), -1, np.int8))
    names, images = reread(multi_hot_lst, wide, tmp_path / "t.lst")
    assert len(names) == most > 100_000
    assert images == [(name, [-1] * most)]


def test_only_files_of_that_name_are_recognised(tmp_path):
    (tmp_path / "a.LST").write_text("0\t1\t0\ta\n")
    (tmp_path / "a.txt").write_text("0\t1\t0\ta\n")
    (tmp_path / "b.lst").mkdir()
    (tmp_path / "c.lst").write_bytes(b"\0\xff" * 40_000)
    assert multi_hot_lst.recognises(tmp_path / "a.LST")
    assert not multi_hot_lst.recognises(tmp_path / "a.txt")
    assert not multi_hot_lst.recognises(tmp_path / "b.lst")
    assert multi_hot_lst.recognises(tmp_path / "c.lst")  # to say what is wrong with it


def test_the_labels_beside_are_checked_too(lst):
    assert faults(lst(TWO, ["red", "red"])) == [
        "labels.txt:2: the label name 'red' is already number 1, should be unique"
    ]
