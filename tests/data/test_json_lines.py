"""Labels in JSON Lines."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from labelled_sets import labelled, labelled_sets, reread, said

from mxml.data.formats import json_lines
from mxml.data.formats.options import FormatOptions
from mxml.errors import ListError

OPTIONS = FormatOptions()


@pytest.fixture
def lines(tmp_path):
    def write(content, name="labels.jsonl"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def read(path, options=OPTIONS):
    return said(json_lines.read(path, path.parent, options))


def faults(path):
    with pytest.raises(ListError) as caught:
        json_lines.read(path, path.parent, OPTIONS)
    return [fault.replace(f"{path.parent}/", "") for fault in str(caught.value).split("\n")]


def test_lines_as_programs_write_them(lines):
    path = lines(
        '\ufeff{"image": "b.jpg", "labels": ["red", "dress", "red"], "width": 1e999, "boxes": [[1, NaN]]}\r\n'
        "\r\n"
        '{"labels": [], "image": "a \\u00e9.jpg", "id": ' + "9" * 5000 + "}\n"
        '{"image": "c\\td.jpg", "labels": ["a,b"], "unknown": ["red"]}'
    )
    assert read(path) == (
        ["a,b", "dress", "red"],
        [("b.jpg", [0, 1, 1]), ("a é.jpg", [0, 0, 0]), ("c\td.jpg", [1, 0, -1])],
    )


def test_an_image_on_two_lines_counts_once_where_its_labels_are_the_same(lines):
    path = lines('{"image": "a", "labels": ["x", "y"]}\n{"image": "a", "labels": ["y", "x"]}\n')
    read_lines = json_lines.read(path, path.parent, OPTIONS)
    assert said(read_lines) == (["x", "y"], [("a", [1, 1])])
    assert read_lines.notes == (f"{path}: 1 image named again with the same labels, kept once",)


def test_labels_txt_fixes_the_labels_unless_classes_are_given(lines, tmp_path):
    path = lines('{"image": "a.jpg", "labels": ["red"]}\n{"image": "b.jpg", "labels": [], "unknown": ["hat"]}\n')
    (tmp_path / "labels.txt").write_text("tie\nred\nhat\n")
    assert read(path) == (["tie", "red", "hat"], [("a.jpg", [0, 1, 0]), ("b.jpg", [0, 0, -1])])
    (tmp_path / "labels.txt").write_text("tie\nred\n")
    assert faults(path) == [
        "labels.jsonl:2: the label 'hat' is not in labels.txt; add it there, or give `classes_file`"
    ]
    assert read(path, FormatOptions(classes=("red",)))[0] == ["hat", "red"]


@settings(max_examples=80, deadline=None)
@given(drawn=labelled_sets())
def test_what_is_written_is_read_the_same(drawn, tmp_path_factory):
    images, labels, rows = drawn
    path = tmp_path_factory.mktemp("lines") / "labels.jsonl"
    assert reread(json_lines, labelled(images, labels, rows), path) == (labels, list(zip(images, rows)))


def test_the_written_lines_are_plain(tmp_path):
    written = labelled(["é.jpg", "b.jpg"], ["red", "hat"], [[1, 1], [-1, 0]])
    json_lines.write(written, tmp_path / "labels.jsonl", OPTIONS)
    assert (tmp_path / "labels.jsonl").read_text(encoding="utf-8") == (
        '{"image": "é.jpg", "labels": ["red", "hat"]}\n{"image": "b.jpg", "labels": [], "unknown": ["red"]}\n'
    )
    assert (tmp_path / "labels.txt").read_text() == "red\nhat\n"


def test_a_line_that_could_not_be_read_back_is_not_written(tmp_path):
    written = labelled(["a.jpg"], [f"{i} {'x' * 100}" for i in range(11_000)], [[1] * 11_000])
    with pytest.raises(ListError, match=r"^labels.jsonl: the line of 'a.jpg' would be longer than a line may be"):
        json_lines.write(written, tmp_path / "labels.jsonl", OPTIONS)


def test_files_are_recognised_by_their_suffix(lines, tmp_path):
    assert json_lines.recognises(lines("", "a.ndjson"))
    assert json_lines.recognises(lines("", "a.JSONL"))
    assert not json_lines.recognises(lines("{}", "a.json"))
    (tmp_path / "folder.jsonl").mkdir()
    assert not json_lines.recognises(tmp_path / "folder.jsonl")


GOOD = '{"image": "a.jpg", "labels": ["red"]}\n'


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("", "labels.jsonl: holds no images"),
        ('{"image": "a.jpg", "labels": []}', "labels.jsonl: holds no labels"),
        (GOOD + '{"image": "b.jpg", "labels": ["red"]', "labels.jsonl:2: is not JSON (Expecting ',' delimiter in col"),
        (GOOD + "b.jpg,1,0\n", "labels.jsonl:2: is not JSON (Expecting value in column 1), should be like {"),
        ("[" * 200_000, "labels.jsonl:1: is nested too deeply, should be like {"),
        ('{"image": ' * 100_000, "labels.jsonl:1: is nested too deeply, should be like {"),
        ('["a.jpg", "red"]\n', "labels.jsonl:1: is a list, should be an object like {"),
        ("NaN\n", "labels.jsonl:1: is nan, should be an object like {"),
        (
            '{"labels": ["red"]}\n',
            'labels.jsonl:1: "image" is missing (the line has labels), should be a path in quotes',
        ),
        ('{"image": 7, "labels": ["red"]}\n', 'labels.jsonl:1: "image" is 7, should be a path in quotes'),
        ('{"image": ["a.jpg"], "labels": []}\n', 'labels.jsonl:1: "image" is a list, should be a path in quotes'),
        (
            '{"image": "a.jpg"}\n',
            'labels.jsonl:1: "labels" is missing (the line has image), should be a list of names, [] for none',
        ),
        ('{"image": "a.jpg", "labels": "red"}\n', 'labels.jsonl:1: "labels" is a text, should be a list of names'),
        ('{"image": "a.jpg", "labels": null}\n', 'labels.jsonl:1: "labels" is null, should be a list of names'),
        (
            '{"image": "a.jpg", "labels": ["red", 3]}\n',
            'labels.jsonl:1: "labels" holds 3, should hold names, in quotes; if that numbers a class, put the class\'s',
        ),
        ('{"image": "a.jpg", "labels": [true]}\n', 'labels.jsonl:1: "labels" holds true or false, should hold names'),
        ('{"image": "a.jpg", "labels": [["red"]]}\n', 'labels.jsonl:1: "labels" holds a list, should hold names'),
        ('{"image": "a.jpg", "labels": [], "unknown": {}}\n', 'labels.jsonl:1: "unknown" is an object, should be a li'),
        (
            '{"image": "a.jpg", "labels": ["red"], "unknown": ["red"]}\n',
            "labels.jsonl:1: the label 'red' of 'a.jpg' is both present and unknown",
        ),
        ('{"image": "a.jpg", "image": "b.jpg", "labels": []}\n', "labels.jsonl:1: has 'image' twice in an object"),
        ('{"image": "../a.jpg", "labels": ["red"]}\n', "labels.jsonl:1: the path '../a.jpg' leaves the image root"),
        ('{"image": "/a.jpg", "labels": ["red"]}\n', "labels.jsonl:1: the path '/a.jpg' is absolute"),
        ('{"image": "", "labels": ["red"]}\n', "labels.jsonl:1: the path is empty"),
        ('{"image": "\\u0000", "labels": ["red"]}\n', "labels.jsonl:1: the path '\\x00' holds a line end or a NUL"),
        ('{"image": "\\ud800", "labels": ["red"]}\n', "labels.jsonl:1: the path '\\ud800' is not UTF-8"),
        (
            '{"image": "a.jpg", "labels": ["\\ud800"]}\n',
            "labels.jsonl:1: the label name '\\ud800' holds a line end, an",
        ),
        (
            '{"image": "a.jpg", "labels": ["red "]}\n',
            "labels.jsonl:1: the label name 'red ' holds a line end, an outer",
        ),
        ('{"image": "a.jpg", "labels": [""]}\n', "labels.jsonl:1: the label name is empty"),
        (
            GOOD + '{"image": "a.jpg", "labels": []}\n',
            "labels.jsonl:2: 'a.jpg' has: no label; on line 1 it has: red; should appear once, or with the same",
        ),
        (GOOD.encode() + b'{"image": "caf\xe9.jpg"}\n', "labels.jsonl:2: is not UTF-8 text (byte 0xe9 in column 15)"),
        (GOOD.encode() + b"\0\n", "labels.jsonl:2: holds a NUL byte"),
        (GOOD + '{"image": "' + "a" * 10_000_000, "labels.jsonl:2: is longer than 1,048,576 bytes"),
    ],
)
def test_a_faulty_line_is_refused_with_its_number(lines, content, fault):
    found = faults(lines(content))
    assert len(found) == 1
    assert found[0].startswith(fault)


def test_every_faulty_line_is_named(lines):
    found = faults(lines("{}\n" + GOOD + "[]\n"))
    assert [fault.split(" ")[0] for fault in found] == ["labels.jsonl:1:", "labels.jsonl:3:"]


def test_a_folder_in_place_of_a_file_is_refused(tmp_path):
    (tmp_path / "labels.jsonl").mkdir()
    assert faults(tmp_path / "labels.jsonl") == ["labels.jsonl: is a folder, should be a file"]
