"""Labels in image lists with one class number an image."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from labelled_sets import image_names, labelled, labelled_sets, reread, said

from mxml.data.formats import multi_hot_lst, recognise, single_label_lst
from mxml.data.formats.options import FormatOptions
from mxml.data.image_list import ImageList
from mxml.data.labelled_images import LabelledImages
from mxml.errors import ListError
from mxml.runtime.imports import load_mxnet

OPTIONS = FormatOptions()


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
    return single_label_lst.read(path, path.parent / "images", options)


def faults(path, options=OPTIONS):
    with pytest.raises(ListError) as caught:
        read(path, options)
    return str(caught.value).replace(f"{path.parent}/", "").split("\n")


def test_what_im2rec_makes_of_folders(tmp_path):
    mx = load_mxnet()
    spec = importlib.util.spec_from_file_location("im2rec", Path(mx.__file__).parent / "tools" / "im2rec.py")
    assert spec and spec.loader
    im2rec = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(im2rec)
    for name in ("cat/1.jpg", "dog/1.jpg", "dog/2.jpg", "eel/x y.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    im2rec.make_list(
        SimpleNamespace(
            root=str(tmp_path),
            recursive=True,
            exts=[".jpg", ".png"],
            shuffle=False,
            chunks=1,
            train_ratio=1.0,
            test_ratio=0,
            prefix=str(tmp_path / "set"),
        )
    )
    found = single_label_lst.read(tmp_path / "set.lst", tmp_path, OPTIONS)
    assert recognise(tmp_path / "set.lst") is single_label_lst
    assert said(found) == (
        ["class_0", "class_1", "class_2"],
        [
            ("cat/1.jpg", [1, 0, 0]),
            ("dog/1.jpg", [0, 1, 0]),
            ("dog/2.jpg", [0, 1, 0]),
            ("eel/x y.png", [0, 0, 1]),
        ],
    )


def test_names_come_from_beside_then_from_the_classes(lst):
    content = "5\t2.000000\tb.jpg\n8\t0\ta.jpg\n"
    assert said(read(lst(content), FormatOptions(classes=("x", "y", "z")))) == (
        ["x", "y", "z"],
        [("b.jpg", [0, 0, 1]), ("a.jpg", [1, 0, 0])],
    )
    path = lst(content, ["red", "a hat", "tie", "never"])
    found = read(path, FormatOptions(classes=("tie",)))
    assert found.label_names == ("red", "a hat", "tie", "never")
    assert found.images.labels.tolist() == [[0, 0, 1, 0], [1, 0, 0, 0]]
    assert found.images.index.tolist() == [5, 8]


def test_numbers_that_are_none_are_faults_with_their_lines(lst):
    content = "0\t0\ta\n\n1\t2.5\tb\n2\t-1\tc\n3\t-7\td\n4\t3\te\n5\t1e0\tf\n"
    assert faults(lst(content, ["red", "hat"])) == [
        "train.lst:3: the class number is 2.5, should be a whole number from 0",
        "train.lst:4: the class number is -1, should be 0 or more; "
        "unknown (-1) belongs in lists with one column per class",
        "train.lst:5: the class number is -7, should be a whole number from 0",
        "train.lst:6: the class number is 3, should be at most 1, as labels.txt has 2 labels",
    ]
    assert faults(lst("0\t3\ta\n", ["red"]), FormatOptions(classes=("x", "y", "z", "a"))) == [
        "train.lst:1: the class number is 3, should be at most 0, as labels.txt has 1 label"
    ]


def test_numbers_beyond_all_classes_are_faults(lst):
    assert faults(lst("0\t3\ta\n"), FormatOptions(classes=("x", "y"))) == [
        "train.lst:1: the class number is 3, should be at most 1, as `classes_file` names 2"
    ]
    assert faults(lst("0\t1e30\ta\n1\t16777217\tb\n")) == [
        "train.lst:1: the class number is 1e+30, should be at most 100,000",
        "train.lst:2: the class number is 16777216, should be at most 100,000",
    ]
    assert faults(lst("0\tnan\ta\n1\tred\tb\n")) == [
        "train.lst:1: label 1 is 'nan', should be a finite number",
        "train.lst:2: label 1 is 'red', should be a finite number",
    ]


def test_another_number_of_columns_is_a_fault(lst):
    assert faults(lst("0\t3\ta\n1\t2\t1\tb\n")) == ["train.lst:2: has 2 labels, should be 1"]


def test_the_same_image_twice(lst):
    found = read(lst("0\t3\ta\n1\t2\tb\n2\t3\ta\n"))
    assert found.images.names() == ["a", "b"]
    assert found.notes[0].endswith("1 image named again with the same labels, kept once")
    assert faults(lst("0\t3\ta\n1\t2\tb\n\n2\t0\ta\n")) == [
        "train.lst:4: 'a' has: class_0; at train.lst:1 it has: class_3; should appear once, or with the same labels"
    ]


@pytest.mark.parametrize(
    ("content", "names", "is_single"),
    [
        ("0\t1\ta\n1\t2\tb\n", None, True),
        ("0 1 a\n1 2 b\n", None, True),
        ("0\t1\ta\n1\t0\tb\n", None, False),
        ("0\t1\ta\n1\t0\tb\n", ["red"], False),
        ("0\t1\ta\n1\t0\tb\n", ["red", "hat"], True),
        ("0\t1\ta\n1\t0\tb\n", ["red", "red"], False),
        ("0\t1\t0\ta\n1\t2\t0\tb\n", None, False),
        ("0\t1\t0\ta\n1\t2\tb\n", None, False),
        ("0\tx\ta\n1\t2\tb\n", None, False),
        ("", ["red", "hat"], False),
        ("\n\n", ["red", "hat"], False),
        # A list that is sorted by class holds large numbers only at its end.
        ("".join(f"{i}\t{i // 5000}.000000\tphotos/{i}.jpg\n" for i in range(12_000)), None, True),
        ("".join(f"{i}\t{i // 6001}.000000\tphotos/{i}.jpg\n" for i in range(12_000)), None, False),
    ],
)
def test_which_lists_are_recognised(content, names, is_single, lst):
    path = lst(content, names)
    assert single_label_lst.recognises(path) == is_single
    assert recognise(path) is (single_label_lst if is_single else multi_hot_lst)


def test_odd_files_are_not_recognised(tmp_path):
    (tmp_path / "b.lst").mkdir()
    (tmp_path / "c.lst").write_bytes(b"\0\xff\t9\t" * 40_000)
    (tmp_path / "d.txt").write_text("0\t7\ta\n")
    assert not any(single_label_lst.recognises(tmp_path / name) for name in ("b.lst", "c.lst", "d.txt"))


@settings(max_examples=60, deadline=None)
@given(labelled_sets(names=image_names.filter(lambda name: "\t" not in name)))
def test_nothing_is_lost(tmp_path_factory, drawn):
    images, names, rows = drawn
    rows = [[int(column == sum(row) % len(row)) for column in range(len(row))] for row in rows]
    target = tmp_path_factory.mktemp("set") / "train.lst"
    written = labelled(images, names, rows)
    if len(names) > 1:
        assert reread(single_label_lst, written, target) == (names, list(zip(images, rows)))
    else:  # zeros in one column look the same: --from has to tell
        single_label_lst.write(written, target, OPTIONS)
        assert said(single_label_lst.read(target, Path("images"), OPTIONS)) == (names, list(zip(images, rows)))


def test_the_index_is_kept_and_the_lines_are_im2recs(tmp_path):
    images = ImageList.from_rows(["a", "b"], [[1, 0], [0, 1]], "", [7, 3])
    single_label_lst.write(LabelledImages(images, ("x", "y")), tmp_path / "t.lst", OPTIONS)
    assert (tmp_path / "t.lst").read_bytes() == b"7\t0.000000\ta\n3\t1.000000\tb\n"
    assert (tmp_path / "labels.txt").read_bytes() == b"x\ny\n"


@pytest.mark.parametrize(
    ("row", "described"),
    [([1, 1], "red, hat"), ([0, 0], "no label"), ([1, -1], "red, not known: hat"), ([0, -1], "no label, not known")],
)
def test_images_without_exactly_one_known_label_are_refused(row, described, tmp_path):
    with pytest.raises(ListError) as caught:
        single_label_lst.write(labelled(["a", "b"], ["red", "hat"], [[1, 0], row]), tmp_path / "t.lst", OPTIONS)
    assert str(caught.value).startswith(f"'b' has: {described}")
    assert str(caught.value).endswith("single-lst holds one known label per image; csv, jsonl and coco hold any")
    assert not list(tmp_path.iterdir())
