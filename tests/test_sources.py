"""Labels from CSV tables and from folder names, and the faults of both."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mxml.errors import ListError
from mxml.image_list import path_fault
from mxml.lst_file import read_lst
from mxml.sources import csv_columns, default_source, folder_names, recognise

names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\t\n\r\0"), min_size=1).filter(
    lambda name: name == name.strip() and path_fault(name) is None
)


@pytest.fixture
def table(tmp_path):
    def write(content):
        path = tmp_path / "labels.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def read(path):
    labelled = csv_columns.read(path, path.parent)
    images = labelled.images
    return list(labelled.label_names), list(zip(images.names(), images.labels.tolist()))


def faults(path):
    with pytest.raises(ListError) as caught:
        csv_columns.read(path, path.parent)
    return [fault.replace(f"{path.parent}/", "") for fault in str(caught.value).split("\n")]


def touch(root, *files):
    for name in files:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


# ---- tables


def test_all_forms_of_a_value(table):
    path = table("image,red,dress,hat\nb.jpg,1,0,-1\na.jpg,TRUE,false,\nc d.jpg, 1.0 ,0.0,-1.0\n")
    assert read(path) == (
        ["red", "dress", "hat"],
        [("b.jpg", [1, 0, -1]), ("a.jpg", [1, 0, 0]), ("c d.jpg", [1, 0, -1])],
    )


def test_bom_crlf_quotes_blank_lines_and_no_last_line_end(table):
    path = table('\ufeffimage,"robe, ""longue""",rouge\r\n\r\n"à, b.jpg",1,0\r\n"c ""d"".jpg",0,1')
    assert read(path) == (['robe, "longue"', "rouge"], [("à, b.jpg", [1, 0]), ('c "d".jpg', [0, 1])])


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_what_python_writes_is_read(data, tmp_path_factory):
    label_names = data.draw(st.lists(names, min_size=1, max_size=4, unique=True))
    images = data.draw(st.lists(names, min_size=1, max_size=6, unique=True))
    row = st.lists(st.sampled_from([0, 1, -1]), min_size=len(label_names), max_size=len(label_names))
    labels = [data.draw(row) for _ in images]
    text = io.StringIO()
    csv.writer(text).writerows([["image", *label_names], *([name, *values] for name, values in zip(images, labels))])
    path = tmp_path_factory.mktemp("table") / "labels.csv"
    path.write_bytes(text.getvalue().encode())
    assert read(path) == (label_names, list(zip(images, labels)))


def test_the_real_table_says_what_the_real_lists_say(shared):
    data = shared / "data/miml-scene"
    label_names, rows = read(data / "labels.csv")
    listed = {}
    for part in ("train", "val"):
        images = read_lst(data / f"{part}.lst", num_classes=5)
        listed.update(zip(images.names(), images.labels.tolist()))
    assert label_names == (data / "labels.txt").read_text().split()
    assert len(rows) == 1600
    assert dict(rows) == listed


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("", "labels.csv:1: has no label columns, should be a header like: image,red,dress"),
        ("image;red;dress\na.jpg;1;0\n", "labels.csv:1: has no label columns"),
        ("image,red,,dress\na.jpg,1,0,0\n", "labels.csv:1: column 3: the label name is empty"),
        ("image,red,red\na.jpg,1,0\n", "labels.csv:1: column 3: the label name 'red' is already number 1"),
        ("image,red\n", "labels.csv: holds no images"),
        ("image,red\n\na.jpg,1\nb.jpg,1,0\n", "labels.csv:4: has 2 labels, should be 1 like the header"),
        ("image,red\na.jpg\n", "labels.csv:2: has 0 labels, should be 1 like the header"),
        (
            "image,red\na.jpg,2\n",
            "labels.csv:2: label 'red' is '2', should be 0, 1, -1 (unknown), true, false or empty",
        ),
        ("image,red\n,1\n", "labels.csv:2: the path is empty"),
        ("image,red\n../a.jpg,1\n", "labels.csv:2: the path '../a.jpg' leaves the image root"),
        ("image,red\n/a.jpg,1\n", "labels.csv:2: the path '/a.jpg' is absolute"),
        ('image,red\n"a\nb.jpg",1\n', "labels.csv:2: the path 'a\\nb.jpg' holds a tab, a line end or a NUL"),
        ("image,red\na.jpg,1\nb.jpg,0\na.jpg,0\n", "labels.csv:4: the image 'a.jpg' is already on line 2"),
        ('image,red\na.jpg,1\nb.jpg,"1\nc.jpg,0\n', "labels.csv:3: is not CSV from here on"),
        ('image,red\na.jpg,"1"0\n', "labels.csv:2: is not CSV from here on"),
        (b"image,red\ncaf\xe9.jpg,1\n", "labels.csv:2: is not UTF-8 text (byte 0xe9 in column 4)"),
        (b"image,red\n\0.jpg,1\n", "labels.csv:2: holds a NUL byte"),
        ("image,red\n" + "a" * 200_000 + ",1\n", "labels.csv:2: is not CSV from here on (field larger"),
    ],
)
def test_a_faulty_table_is_refused_with_its_line(table, content, fault):
    found = faults(table(content))
    assert len(found) == 1
    assert found[0].startswith(fault)


def test_all_faulty_rows_are_counted(table):
    found = faults(table("image,red\n" + "a.jpg,3\n" * 50))
    assert found[0].startswith("labels.csv:2: label 'red' is '3'")
    assert found[-1] == "... and 30 more faults like these"


# ---- folders


def test_labels_are_the_parts_of_the_folder_s_name(tmp_path):
    touch(tmp_path, "red_dress/2.jpg", "red_dress/1.JPG", "shop/blue__dress_/é 1.png", "hat/a.webp")
    touch(tmp_path, "hat/notes.txt", "hat/.hidden.jpg", ".cache/x.jpg")
    labelled = folder_names.read(tmp_path, tmp_path)
    assert labelled.label_names == ("blue", "dress", "hat", "red")
    assert list(zip(labelled.images.names(), labelled.images.labels.tolist())) == [
        ("hat/a.webp", [0, 0, 1, 0]),
        ("red_dress/1.JPG", [0, 1, 0, 1]),
        ("red_dress/2.jpg", [0, 1, 0, 1]),
        ("shop/blue__dress_/é 1.png", [1, 1, 0, 0]),
    ]
    assert labelled.images.path(0) == str(tmp_path / "hat/a.webp")


def test_a_folder_within_the_root_keeps_names_relative_to_the_root(tmp_path):
    touch(tmp_path, "clothes/red_hat/1.jpg", "other/x.jpg")
    labelled = folder_names.read(tmp_path / "clothes", tmp_path)
    assert labelled.images.names() == ["clothes/red_hat/1.jpg"]
    assert labelled.label_names == ("hat", "red")


def test_images_without_a_labelled_folder_are_named(tmp_path):
    touch(tmp_path, "loose.jpg", "red/a.jpg", "__/b.jpg")
    with pytest.raises(ListError) as caught:
        folder_names.read(tmp_path, tmp_path)
    assert [fault.partition(": ")[0] for fault in caught.value.faults] == [
        str(tmp_path / "__/b.jpg"),
        str(tmp_path / "loose.jpg"),
    ]


def test_folders_that_hold_nothing_or_lie_elsewhere_are_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "root").mkdir()
    with pytest.raises(ListError, match="holds no images"):
        folder_names.read(tmp_path / "empty", tmp_path / "empty")
    with pytest.raises(ListError, match="is outside of the image root"):
        folder_names.read(tmp_path / "empty", tmp_path / "root")


# ---- which is which


def test_the_table_in_the_image_folder_comes_before_the_folders_names(tmp_path):
    touch(tmp_path, "red/a.jpg")
    assert recognise(default_source(tmp_path)) is folder_names
    touch(tmp_path, "labels.csv")
    assert recognise(default_source(tmp_path)) is csv_columns


def test_other_files_are_refused(tmp_path):
    touch(tmp_path, "labels.xml")
    with pytest.raises(ListError, match="should be one of: CSV with one column a label, folder names"):
        recognise(tmp_path / "labels.xml")
    with pytest.raises(ListError, match="is not there"):
        recognise(tmp_path / "labels.csv")
