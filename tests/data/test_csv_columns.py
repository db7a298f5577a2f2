"""Labels in tables with one column a label."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from labelled_sets import label_names, labelled, labelled_sets, reread, said

from mxml.data.formats import csv_columns, csv_tags, recognise
from mxml.data.formats.options import DEFAULTS, FormatOptions
from mxml.data.lst_file import read_lst
from mxml.errors import ListError

OPTIONS = FormatOptions()


@pytest.fixture
def table(tmp_path):
    def write(content, name="labels.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def read(path):
    return said(csv_columns.read(path, path.parent, OPTIONS))


def faults(path):
    with pytest.raises(ListError) as caught:
        csv_columns.read(path, path.parent, OPTIONS)
    return [fault.replace(f"{path.parent}/", "") for fault in str(caught.value).split("\n")]


def test_all_forms_of_a_value(table):
    path = table("image,red,dress,hat\nb.jpg,1,0,-1\na.jpg,TRUE,false,\nc d.jpg, 1.0 ,0.0,-1.0\n")
    assert read(path) == (
        ["red", "dress", "hat"],
        [("b.jpg", [1, 0, -1]), ("a.jpg", [1, 0, 0]), ("c d.jpg", [1, 0, -1])],
    )


def test_bom_crlf_quotes_blank_lines_and_no_last_line_end(table):
    path = table('\ufeffimage,"robe, ""longue""",rouge\r\n\r\n"à, b.jpg",1,0\r\n"c ""d"".jpg",0,1')
    assert read(path) == (['robe, "longue"', "rouge"], [("à, b.jpg", [1, 0]), ('c "d".jpg', [0, 1])])


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.tsv", 'image\tred, dark\thue\n"a\tb.jpg"\t1\t0\n'),
        ("a.TAB", 'image\tred, dark\thue\n"a\tb.jpg"\t1\t0\n'),
        ("a.csv", 'image\tred; dark\thue\n"a\tb.jpg"\t1\t0\n'),
        ("a.csv", 'image;red dark;hue\n"a\tb.jpg";1;0\n'),
    ],
)
def test_tabs_and_semicolons_stand_where_commas_do(table, name, content):
    labels, rows = read(table(content, name))
    assert len(labels) == 2
    assert rows == [("a\tb.jpg", [1, 0])]


@settings(max_examples=60, deadline=None)
@given(drawn=labelled_sets())
def test_what_python_writes_is_read(drawn, tmp_path_factory):
    images, labels, rows = drawn
    text = io.StringIO()
    csv.writer(text).writerows([["image", *labels], *([name, *values] for name, values in zip(images, rows))])
    path = tmp_path_factory.mktemp("table") / "labels.csv"
    path.write_bytes(text.getvalue().encode())
    assert read(path) == (labels, list(zip(images, rows)))


@settings(max_examples=60, deadline=None)
@given(drawn=labelled_sets(), suffix=st.sampled_from([".csv", ".tsv", ".tab"]))
def test_what_is_written_is_read_the_same_and_known_again(drawn, suffix, tmp_path_factory):
    images, labels, rows = drawn
    path = tmp_path_factory.mktemp("table") / f"labels{suffix}"
    assert reread(csv_columns, labelled(images, labels, rows), path) == (labels, list(zip(images, rows)))
    assert not csv_tags.recognises(path)


@given(name=label_names)
@settings(max_examples=30, deadline=None)
@pytest.mark.parametrize("tags", ["tags", "label", "Labels"])
def test_a_single_label_called_as_tags_are_stays_a_column(tags, name, tmp_path_factory):
    folder = tmp_path_factory.mktemp("table")
    for labels in ([tags], [tags, "unknown"]):
        path = folder / f"{len(labels)}.csv"
        rows = [[1] * len(labels), [0] * len(labels), [-1] * len(labels)]
        images = ["a.jpg", "b.jpg", f"c{name}.jpg"]
        assert reread(csv_columns, labelled(images, labels, rows), path) == (labels, list(zip(images, rows)))
        assert not csv_tags.recognises(path)


def test_the_real_table_says_what_the_real_lists_say(shared):
    data = shared / "data/miml-scene"
    labels, rows = read(data / "labels.csv")
    listed: dict[str, list[int]] = {}
    for part in ("train", "val"):
        images = read_lst(data / f"{part}.lst", num_classes=5)
        listed.update(zip(images.names(), images.labels.tolist()))
    assert labels == (data / "labels.txt").read_text().split()
    assert len(rows) == 1600
    assert dict(rows) == listed


def test_the_written_table_is_the_one_that_anybody_would_write(tmp_path):
    written = labelled(["a.jpg", "b, c.jpg"], ['robe "longue"', "rouge"], [[1, 0], [-1, 1]])
    csv_columns.write(written, tmp_path / "labels.csv", OPTIONS)
    assert (tmp_path / "labels.csv").read_bytes() == (b'image,"robe ""longue""",rouge\na.jpg,1,0\n"b, c.jpg",-1,1\n')
    csv_columns.write(written, tmp_path / "labels.tsv", OPTIONS)
    assert (tmp_path / "labels.tsv").read_bytes() == (
        b'image\t"robe ""longue"""\trouge\na.jpg\t1\t0\nb, c.jpg\t-1\t1\n'
    )


def test_an_image_on_two_lines_counts_once_where_its_labels_are_the_same(table):
    path = table("image,red\na.jpg,1\nb.jpg,0\na.jpg,true\n")
    read_table = csv_columns.read(path, path.parent, OPTIONS)
    assert said(read_table) == (["red"], [("a.jpg", [1]), ("b.jpg", [0])])
    assert read_table.notes == (f"{path}: 1 image named again with the same labels, kept once",)


def test_absolute_paths_are_read_where_they_are_allowed(table):
    path = table("image,red\n/data/a.jpg,1\n")
    images = csv_columns.read(path, path.parent, FormatOptions(allow_absolute=True)).images
    assert images.path(0) == "/data/a.jpg"


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("", "labels.csv: is empty, should be a table with a header like image,red,dress or image,tags"),
        (
            "image|red\na.jpg|1\n",
            "labels.csv:1: has no label columns, should be a header like: image,red,dress; columns lie between commas, "
            "tabs or semicolons",
        ),
        ("image,red,,dress\na.jpg,1,0,0\n", "labels.csv:1: column 3: the label name is empty"),
        ("image,red,red\na.jpg,1,0\n", "labels.csv:1: column 3: the label name 'red' is already number 1"),
        ("a.jpg,1,0\nb.jpg,0,1\n", "labels.csv:1: is an image's line ('a.jpg'), should be a header above the first"),
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
        ('image,red\n"a\nb.jpg",1\n', "labels.csv:2: the path 'a\\nb.jpg' holds a line end or a NUL"),
        (
            "image,red\na.jpg,1\nb.jpg,0\na.jpg,0\n",
            "labels.csv:4: 'a.jpg' has: no label; on line 2 it has: red; should appear once, or with the same labels",
        ),
        ('image,red\na.jpg,1\nb.jpg,"1\nc.jpg,0\n', "labels.csv:3: is not CSV from here on"),
        ('image,red\na.jpg,"1"0\n', "labels.csv:2: is not CSV from here on"),
        (b"image,red\ncaf\xe9.jpg,1\n", "labels.csv:2: is not UTF-8 text (byte 0xe9 in column 4)"),
        (b"image,red\n\0.jpg,1\n", "labels.csv:2: holds a NUL byte"),
        ("image,red\n" + "a" * 200_000 + ",1\n", "labels.csv:2: is not CSV from here on (field larger"),
        ("image,red\na.jpg,1\n" + "a" * 10_000_000 + ",1\n", "labels.csv:3: is longer than 1,048,576 bytes"),
    ],
)
def test_a_faulty_table_is_refused_with_its_line(table, content, fault):
    path = table(content)
    assert csv_columns.recognises(path)
    found = faults(path)
    assert len(found) == 1
    assert found[0].startswith(fault)


def test_a_folder_in_place_of_a_table_is_refused(tmp_path):
    (tmp_path / "labels.csv").mkdir()
    assert not csv_columns.recognises(tmp_path / "labels.csv")
    assert faults(tmp_path / "labels.csv") == ["labels.csv: is a folder, should be a file"]


def test_all_faulty_rows_are_counted(table):
    found = faults(table("image,red\n" + "a.jpg,3\n" * 50))
    assert found[0].startswith("labels.csv:2: label 'red' is '3'")
    assert found[-1] == "... and 30 more faults like these"


def test_a_line_that_could_not_be_read_back_is_not_written(tmp_path):
    written = labelled(["a.jpg"], [f"label {i} {'x' * 100}" for i in range(11_000)], [[0] * 11_000])
    with pytest.raises(ListError, match=r"^labels.csv: the line of 'image' would be too long for a table"):
        csv_columns.write(written, tmp_path / "labels.csv", OPTIONS)


def test_what_excel_writes_around_a_table_is_no_part_of_it(tmp_path):
    path = tmp_path / "excel.csv"
    path.write_text("sep=;\nimage;red;hat\na.jpg;1;0\n;;\nb.jpg;0;1\n;;\n")
    assert recognise(path).NAME == "csv"
    labelled = csv_columns.read(path, tmp_path, DEFAULTS)
    assert labelled.label_names == ("red", "hat")
    assert labelled.images.names() == ["a.jpg", "b.jpg"]
    path.write_text("sep=;\nimage;red\na.jpg;2\n")
    with pytest.raises(ListError, match=r"excel\.csv:3: label 'red' is '2'"):
        csv_columns.read(path, tmp_path, DEFAULTS)
