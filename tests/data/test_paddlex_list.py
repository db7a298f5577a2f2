"""Labels from PaddleX's multi-label lists."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from labelled_sets import image_names, labelled, labelled_sets, reread, said

from mxml.data.formats import paddlex_list
from mxml.data.formats.options import FormatOptions
from mxml.errors import ListError

OPTIONS = FormatOptions()

# As PaddleX's example set mlcls_nus_examples has it.
LABELS = "0 animal\n1 beach\n2 hot dog\n"
TRAIN = "images/0041_431317.jpg\t0,1,0\nimages/a, b.jpg\t1,1,1\n"


@pytest.fixture
def folder(tmp_path):
    def write(labels=LABELS, **lists):
        for name, content in {"label": labels, **lists}.items():
            if content is not None:
                content = content if isinstance(content, bytes) else content.encode()
                (tmp_path / f"{name}.txt").write_bytes(content)
        return tmp_path

    return write


def read(path):
    return said(paddlex_list.read(path, path, OPTIONS))


def faults(path):
    with pytest.raises(ListError) as caught:
        read(path)
    folder = path if path.is_dir() else path.parent
    return [fault.replace(f"{folder}/", "").replace(str(folder), "FOLDER") for fault in str(caught.value).split("\n")]


def test_a_list_is_read_with_the_labels_beside_it(folder):
    path = folder(train=TRAIN) / "train.txt"
    assert paddlex_list.recognises(path)
    assert paddlex_list.default_root(path) == path.parent
    assert read(path) == (
        ["animal", "beach", "hot dog"],
        [("images/0041_431317.jpg", [0, 1, 0]), ("images/a, b.jpg", [1, 1, 1])],
    )


def test_a_folder_is_read_with_all_of_its_lists(folder):
    path = folder(train=TRAIN, test="t.jpg\t0,0,0\nimages/a, b.jpg\t1,1,1\n", other="o.jpg\t1,1,1\n")
    assert paddlex_list.recognises(path)
    assert paddlex_list.default_root(path) == path
    found = paddlex_list.read(path, path, OPTIONS)
    assert said(found)[1] == [
        ("images/0041_431317.jpg", [0, 1, 0]),
        ("images/a, b.jpg", [1, 1, 1]),
        ("t.jpg", [0, 0, 0]),
    ]
    assert found.notes[0] == f"{path}: read train.txt, test.txt"
    assert "1 image" in found.notes[1]


def test_an_image_with_other_labels_in_another_list_is_an_error_that_shows_both(folder):
    path = folder(train="a.jpg\t0,1,0\n", val="a.jpg\t1,0,-1\n")
    assert faults(path) == [
        "val.txt: 'a.jpg' has: animal, not known: hot dog; in train.txt it has: beach; "
        "should have the same labels everywhere"
    ]


def test_unknown_values_other_orders_blanks_and_line_ends(folder):
    path = folder("\ufeff2\t hot  dog \r\n\r\n0 animal\r\n 1 beach", train="a b.jpg\t-1, 0 ,1\r\n\r\nc.jpg\t0,0,0")
    assert read(path / "train.txt") == (
        ["animal", "beach", "hot  dog"],
        [("a b.jpg", [-1, 0, 1]), ("c.jpg", [0, 0, 0])],
    )


@settings(max_examples=60, deadline=None)
@given(drawn=labelled_sets(names=image_names.filter(lambda name: "\t" not in name and name[0] != "\ufeff")))
def test_what_is_written_is_read_the_same_and_known_again(drawn, tmp_path_factory):
    images, labels, rows = drawn
    folder = tmp_path_factory.mktemp("paddlex")
    written = labelled(images, labels, rows)
    assert reread(paddlex_list, written, folder / "train.txt") == (labels, list(zip(images, rows)))
    assert paddlex_list.recognises(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["label.txt", "train.txt"]


def test_what_is_written_is_what_paddlex_expects(tmp_path):
    written = labelled(["b c.jpg", "a,d.jpg"], ["red", "hot dog"], [[1, 0], [0, -1]])
    paddlex_list.write(written, tmp_path / "val.txt", OPTIONS)
    assert (tmp_path / "val.txt").read_bytes() == b"b c.jpg\t1,0\na,d.jpg\t0,-1\n"
    assert (tmp_path / "label.txt").read_bytes() == b"0 red\n1 hot dog\n"


@pytest.mark.parametrize("name", ["a\tb.jpg", "\ufeffa.jpg"])
def test_what_a_line_cannot_hold_is_refused_before_anything_is_written(tmp_path, name):
    with pytest.raises(ListError, match="which a PaddleX list cannot; csv, jsonl and coco can"):
        paddlex_list.write(labelled([name], ["red"], [[1]]), tmp_path / "train.txt", OPTIONS)
    with pytest.raises(ListError, match=r"label\.txt: is where the label names go"):
        paddlex_list.write(labelled(["a.jpg"], ["red"], [[1]]), tmp_path / "label.txt", OPTIONS)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (None, "label.txt: does not exist, should have a number and a name for each label, such as: 0 red"),
        ("", "label.txt: holds no labels"),
        ("red\n", "label.txt:1: is 'red', should be a number, a blank and a name, such as: 0 red"),
        ("0 red\n-1 blue\n", "label.txt:2: is '-1 blue', should be a number"),
        ("0\n", "label.txt:1: is '0', should be a number"),
        ("0 a\n0 b\n", "label.txt:2: the number 0 is already on line 1"),
        ("1 a\n2 b\n", "label.txt: has no label 0, should have each number from 0 to 1 once"),
        ("0 a\n99999999 b\n", "label.txt: has no label 1, should have each number from 0 to 1 once"),
        ("0 a\n" + "9" * 400 + " b\n", "label.txt:2: is '9999"),
        ("1 a\n\n0 a\n", "label.txt:1: the label name 'a' is already"),
        (b"0 caf\xe9\n", "label.txt:1: is not UTF-8 text"),
    ],
)
def test_faulty_labels_are_refused(folder, labels, expected):
    found = faults(folder(labels, train=TRAIN) / "train.txt")
    assert len(found) == 1
    assert found[0].startswith(expected)


@pytest.mark.parametrize(
    ("train", "expected"),
    [
        ("", "train.txt: holds no images"),
        ("a.jpg 0,1,0\n", "train.txt:1: should be a path, a tab and the labels"),
        ("a.jpg\t0,1,0\tx\n", "train.txt:1: should be a path, a tab and the labels"),
        ("a.jpg\t0,1\n", "train.txt:1: number of values is 2, should be 3 as in label.txt"),
        ("a.jpg\t\n", "train.txt:1: number of values is 1, should be 3"),
        ("a.jpg\t0,1,2\n", "train.txt:1: has the value '2', should be 0, 1 or -1 (unknown)"),
        ("a.jpg\t0,1,\n", "train.txt:1: has the value '', should be 0, 1 or -1"),
        ("a.jpg\t0,nan,1\n", "train.txt:1: has the value 'nan', should be 0, 1 or -1"),
        ("\t0,1,0\n", "train.txt:1: the path is empty"),
        ("a.jpg\t0,1,0\n../b.jpg\t0,1,0\n", "train.txt:2: the path '../b.jpg' leaves the image root"),
        ("a.jpg\t0,1,0\na.jpg\t0,0,0\n", "train.txt:2: 'a.jpg' has: no label; on line 1 it has: beach; should"),
        (b"a.jpg\t0,1,0\n\xe9.jpg\t0,1,0\n", "train.txt:2: is not UTF-8 text"),
        (b"a\0.jpg\t0,1,0\n", "train.txt:1: holds a NUL byte"),
        ("a" * 2_000_000 + "\t0,1,0\n", "train.txt:1: is longer than 1,048,576 bytes"),
    ],
)
def test_a_faulty_list_is_refused_with_its_line(folder, train, expected):
    path = folder(train=train)
    for source in (path / "train.txt", path):
        found = faults(source)
        assert len(found) == 1
        assert found[0].startswith(expected)


def test_a_folder_without_lists_is_refused(folder):
    path = folder()
    assert not paddlex_list.recognises(path)
    assert faults(path) == [
        "FOLDER: has none of train.txt, val.txt, test.txt, should have one of them beside label.txt"
    ]


@pytest.mark.parametrize(
    ("name", "content", "known"),
    [
        ("train.txt", "a.jpg\t0,1,0\n", True),
        ("a b.TXT", "a b, c.jpg\t0, -1 ,0\r\n", True),
        ("a.txt", "a.jpg\t1", True),
        ("a.txt", "a.jpg\t0,7,0\n", True),
        ("a.txt", "a.jpg\t" + "0," * 200_000 + "0\n", True),
        ("a.txt", "a.jpg\t" + "-1," * 200_000 + "0\n", True),
        ("a.txt", "a.jpg\n", False),
        ("a.txt", "0 red\n", False),
        ("a.txt", "", False),
        ("a.txt", "\0\1\2", False),
        ("a.txt", "0\t1.000000\t0.000000\ta.jpg\n", False),
        ("a.lst", "a.jpg\t0,1,0\n", False),
    ],
)
def test_which_files_are_taken_for_lists(tmp_path, name, content, known):
    (tmp_path / name).write_text(content)
    assert paddlex_list.recognises(tmp_path / name) is known
