"""Labels in tables with one column of tags."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from labelled_sets import label_names, labelled, labelled_sets, reread, said

from mxml.data.formats import csv_tags
from mxml.data.formats.options import FormatOptions
from mxml.errors import ListError, SettingError

OPTIONS = FormatOptions()


@pytest.fixture
def table(tmp_path):
    def write(content, name="tags.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def read(path, options=OPTIONS):
    return said(csv_tags.read(path, path.parent, options))


def faults(path, options=OPTIONS):
    with pytest.raises(ListError) as caught:
        csv_tags.read(path, path.parent, options)
    return [fault.replace(f"{path.parent}/", "") for fault in str(caught.value).split("\n")]


def test_a_table_as_people_export_it(table):
    path = table("image,tags\nb.jpg,red|dress|\na.jpg,\nc d.jpg, dress | red |dress\ne.jpg,dark blue; hat\n")
    labelled = csv_tags.read(path, path.parent, OPTIONS)
    assert said(labelled) == (
        ["dark blue; hat", "dress", "red"],
        [("b.jpg", [0, 1, 1]), ("a.jpg", [0, 0, 0]), ("c d.jpg", [0, 1, 1]), ("e.jpg", [1, 0, 0])],
    )
    assert labelled.notes == (
        f"{path}: tags are separated by |",
        f"{path}: some tags hold ;, such as those in 'dark blue; hat'; `separator` says what separates tags, and "
        "quotes keep a tag together",
    )


@pytest.mark.parametrize(
    ("name", "content", "separator"),
    [
        ("a.csv", "image,tags\na.jpg,red;dark blue\n", ";"),
        ("a.csv", 'image,tags\na.jpg,"red,dark blue"\n', ","),
        ("a.csv", "image;tags\na.jpg;red, dark blue\n", ","),
        ("a.tsv", "image\ttags\na.jpg\tred,dark blue\n", ","),
        ("a.tab", "image\ttags\na.jpg\tred|dark blue\n", "|"),
    ],
)
def test_the_separator_is_found(table, name, content, separator):
    path = table(content, name)
    labelled = csv_tags.read(path, path.parent, OPTIONS)
    assert said(labelled) == (["dark blue", "red"], [("a.jpg", [1, 1])])
    assert labelled.notes == (f"{path}: tags are separated by {separator}",)


def test_without_a_separator_a_cell_is_one_tag(table):
    path = table("image,tags\na.jpg,dark red\nb.jpg,blue\n")
    labelled = csv_tags.read(path, path.parent, OPTIONS)
    assert said(labelled) == (["blue", "dark red"], [("a.jpg", [0, 1]), ("b.jpg", [1, 0])])
    assert labelled.notes == (
        f"{path}: nothing of | ; , separates tags, so each cell is one tag; `separator` ' ' parts them at blanks",
    )


def test_a_given_separator_is_the_only_one(table):
    path = table('image,tags\na.jpg,red  dress "dark blue"\nb.jpg,a|b;c\n')
    labelled = csv_tags.read(path, path.parent, FormatOptions(separator=" "))
    assert said(labelled) == (
        ["a|b;c", "dark blue", "dress", "red"],
        [("a.jpg", [0, 1, 1, 1]), ("b.jpg", [1, 0, 0, 0])],
    )
    assert labelled.notes == ()


def test_quotes_in_a_cell_hold_separators_and_quotes(table):
    path = table('image,tags\na.jpg,"red;""a|b""; ""5""""; disc"""\nb.jpg,12" disc\n')
    assert read(path) == (['12" disc', '5"; disc', "a|b", "red"], [("a.jpg", [0, 1, 1, 1]), ("b.jpg", [1, 0, 0, 0])])


def test_a_column_of_unknown_tags(table):
    path = table("image,tags,unknown\na.jpg,red|hat,\nb.jpg,,red|tie\n")
    assert csv_tags.recognises(path)
    assert read(path) == (["hat", "red", "tie"], [("a.jpg", [1, 1, 0]), ("b.jpg", [0, -1, -1])])


def test_labels_txt_fixes_the_labels_unless_classes_are_given(table, tmp_path):
    path = table("image,tags\na.jpg,red\nb.jpg,hat\n")
    (tmp_path / "labels.txt").write_text("tie\nred\nhat\n")
    assert read(path) == (["tie", "red", "hat"], [("a.jpg", [0, 1, 0]), ("b.jpg", [0, 0, 1])])
    (tmp_path / "labels.txt").write_text("tie\nred\n")
    assert faults(path) == ["tags.csv:3: the label 'hat' is not in labels.txt; add it there, or give `classes_file`"]
    assert read(path, FormatOptions(classes=("red",)))[0] == ["hat", "red"]


@settings(max_examples=80, deadline=None)
@given(drawn=labelled_sets(), suffix=st.sampled_from([".csv", ".tsv"]), separator=st.sampled_from([None, *"|;,"]))
def test_what_is_written_is_read_without_being_told_the_separator(drawn, suffix, separator, tmp_path_factory):
    images, labels, rows = drawn
    path = tmp_path_factory.mktemp("table") / f"tags{suffix}"
    csv_tags.write(labelled(images, labels, rows), path, FormatOptions(separator=separator))
    assert csv_tags.recognises(path)
    assert read(path) == (labels, list(zip(images, rows)))


@settings(max_examples=60, deadline=None)
@given(drawn=labelled_sets(), separator=st.sampled_from(" /\t:#aé"))
def test_other_separators_are_read_where_they_are_told(drawn, separator, tmp_path_factory):
    images, labels, rows = drawn
    path = tmp_path_factory.mktemp("table") / "tags.csv"
    written = labelled(images, labels, rows)
    assert reread(csv_tags, written, path, FormatOptions(separator=separator)) == (labels, list(zip(images, rows)))


@settings(max_examples=60, deadline=None)
@given(labels=st.lists(label_names, min_size=1, max_size=6, unique=True))
def test_labels_come_back_in_the_order_of_labels_txt_or_sorted_without_it(labels, tmp_path_factory):
    path = tmp_path_factory.mktemp("table") / "tags.csv"
    rows = [[1] * len(labels), [0] * len(labels)]
    csv_tags.write(labelled(["a.jpg", "b.jpg"], labels, rows), path, OPTIONS)
    assert read(path)[0] == labels
    (path.parent / "labels.txt").unlink()
    assert read(path) == (sorted(labels), [("a.jpg", rows[0]), ("b.jpg", rows[1])])


def test_the_written_table_is_plain(tmp_path):
    written = labelled(["a.jpg", "b.jpg"], ["red", "a|b", "1"], [[1, 1, 0], [0, -1, 1]])
    csv_tags.write(written, tmp_path / "tags.csv", OPTIONS)
    assert (tmp_path / "tags.csv").read_text() == (
        'image,tags,unknown\na.jpg,"red|""a|b""",\nb.jpg,"""1""","""a|b"""\n'
    )
    assert (tmp_path / "labels.txt").read_text() == "red\na|b\n1\n"


@pytest.mark.parametrize(
    ("content", "is_tags"),
    [
        ("image,tags\na.jpg,red\n", True),
        ("file,Labels\na.jpg,\n", True),
        ("image,tags\n", True),
        ("image,label\na.jpg,7\nb.jpg,1\n", True),
        ("image,label\na.jpg,1\nb.jpg,0\n", False),
        ("image,what\na.jpg,red|hat\nb.jpg,\n", True),
        ("image,what,unknown\na.jpg,red|hat,\n", True),
        ("image,what\na.jpg,1\nb.jpg,yes\n", False),
        ("image,what\na.jpg,2\n", False),
        ("image,what\na.jpg,\n", False),
        ("image,red,hat\na.jpg,1,0\n", False),
        ("image,tags,hat\na.jpg,1,0\n", False),
        ("image\na.jpg\n", False),
        ("", False),
        (b"image,tags\ncaf\xe9.jpg,red\n", True),
        (b"\xff\xfei\0m\0a\0g\0e\0", False),
        (b"\0\0\0", False),
        ("image,tags\n" + "a" * 200_000, True),
    ],
)
def test_it_is_told_from_a_table_with_one_column_a_label(table, content, is_tags):
    assert csv_tags.recognises(table(content)) is is_tags


def test_other_files_are_not_recognised(table, tmp_path):
    assert not csv_tags.recognises(table("image,tags\na.jpg,red\n", "tags.txt"))
    (tmp_path / "folder.csv").mkdir()
    assert not csv_tags.recognises(tmp_path / "folder.csv")


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("", "tags.csv: is empty, should be a table with a header like image,red,dress or image,tags"),
        ("image\n", "tags.csv:1: has the columns 'image', should be a header like: image,tags (or image,tags,unknown)"),
        ("image,tags,hat\n", "tags.csv:1: has the columns 'image,tags,hat', should be a header like: image,tags"),
        ("a.jpg,red\n", "tags.csv:1: is an image's line ('a.jpg'), should be a header above the first"),
        ("image,tags\n", "tags.csv: holds no images"),
        ("image,tags\na.jpg,\n", "tags.csv: holds no labels"),
        (
            "image,tags\na.jpg,red,hat\n",
            "tags.csv:2: has 3 cells, should have 2 like the header; tags that are separated as the columns are ",
        ),
        ("image,tags,unknown\na.jpg,red\n", "tags.csv:2: has 2 cells, should have 3 like the header"),
        ("image,tags\n../a.jpg,red\n", "tags.csv:2: the path '../a.jpg' leaves the image root"),
        (
            "image,tags\na.jpg,red\nb.jpg,hat\na.jpg,red|hat\n",
            "tags.csv:4: 'a.jpg' has: red, hat; on line 2 it has: red; should appear once, or with the same labels",
        ),
        ("image,tags,unknown\na.jpg,red,red\n", "tags.csv:2: the label 'red' of 'a.jpg' is both present and unknown"),
        ('image,tags\na.jpg,"red\n', "tags.csv:2: is not CSV from here on"),
        ('image,tags\na.jpg,"""red|hat"\n', "tags.csv:2: the tags of 'a.jpg' hold a stray quote ("),
        ('image,tags\na.jpg,"hat|""red""dress"\n', "tags.csv:2: the tags of 'a.jpg' hold a stray quote ("),
        ('image,tags\na.jpg,"""re\nd"""\n', "tags.csv:2: the label name 're\\nd' holds a line end"),
        (b"image,tags\na.jpg,caf\xe9\n", "tags.csv:2: is not UTF-8 text (byte 0xe9 in column 10)"),
        ("image,tags\na.jpg," + "a" * 10_000_000 + "\n", "tags.csv:2: is longer than 1,048,576 bytes"),
    ],
)
def test_a_faulty_table_is_refused_with_its_line(table, content, fault):
    found = faults(table(content))
    assert len(found) == 1
    assert found[0].startswith(fault)


def test_a_folder_in_place_of_a_table_is_refused(tmp_path):
    (tmp_path / "tags.csv").mkdir()
    assert faults(tmp_path / "tags.csv") == ["tags.csv: is a folder, should be a file"]


@pytest.mark.parametrize("separator", ["", "ab", '"', "\n"])
def test_a_separator_that_cannot_be_one_is_refused(separator):
    with pytest.raises(SettingError, match=r"^`separator` .* should be one character between two tags"):
        FormatOptions(separator=separator)
