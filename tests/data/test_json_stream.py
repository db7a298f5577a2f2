"""JSON read as a stream, by both of the parsers that ijson may come with."""

from __future__ import annotations

import re

import ijson
import pytest
from needs import lacking

from mxml.data.formats import json_stream
from mxml.data.formats.json_stream import outline, read_objects
from mxml.errors import ListError


@pytest.fixture(params=["yajl2_c", "python"])
def parser(request, monkeypatch):
    try:
        backend = ijson.get_backend(request.param)
    except ImportError:
        lacking(f"this ijson has no {request.param}")
    monkeypatch.setattr(ijson, "basic_parse_coro", backend.basic_parse_coro)
    return request.param


@pytest.fixture
def file(tmp_path):
    def write(content):
        path = tmp_path / "a.json"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def objects(path, lists=("rows",), single=()):
    keys = ("id", "name")
    return list(read_objects(path, dict.fromkeys(lists, keys), dict.fromkeys(single, keys)))


def fault(path, **members):
    with pytest.raises(ListError) as caught:
        objects(path, **members)
    message = str(caught.value)
    assert "\n" not in message
    return message.replace(f"{path.parent}/", "")


def test_wanted_members_are_kept_and_all_else_is_passed_over(parser, file):
    path = file(
        '{"id": 7, "x": {"rows": [{}]}, "rows": [{"id": 1, "deep": [[1, {"id": 9}], {}], "name": "é \\ud83d\\ude00"}'
        ', {}, {"name": ["a", 1.5, true, null, {"id": 3}, [4]], "id": {"name": "b"}}], "rows.item": [{"id": 5}],'
        ' "about": {"name": null, "z": []}, "y": []}'
    )
    assert objects(path, single=["about"]) == [
        ("rows", 1, {"id": 1, "name": "é 😀"}),
        ("rows", 2, {}),
        ("rows", 3, {"name": ["a", 1.5, True, None, {}, []], "id": {}}),
        ("about", 1, {"name": None}),
    ]


def test_a_long_line_is_read_across_chunks(parser, file):
    path = file('\ufeff{"rows": [' + ", ".join(f'{{"x": [{i}.5, 2], "id": {i}}}' for i in range(20_000)) + "]}")
    assert [entry["id"] for _, _, entry in objects(path)] == list(range(20_000))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "a.json: is empty, should be JSON"),
        ('{"rows": [', "a.json: ends before its JSON does, after 10 bytes; is the file whole?"),
        ('{"rows": []\n', "a.json: ends before its JSON does"),
        ('{"x": ' + "[" * 200_000, "a.json: ends before its JSON does"),
        ('{"rows": [],\n\n"a": NaN }', "a.json:3: is not JSON from byte 2"),
        ('{"rows": [],\n"a": [1 2]}', "a.json:2: is not JSON from byte 23 of the file on ("),
        ('{"rows": []}\n\nx', "a.json:3: is not JSON from byte 15 of the file on ("),
        ('{"rows": [{"id": 1,}]}', "a.json:1: is not JSON from byte 20 of the file on ("),
        (b'{"rows": [{"name": "caf\xe9"}]}', "a.json:1: is not JSON from byte 2"),
        ('{"rows": [{"name": "\\x"}]}', "a.json:1: is not JSON from byte 2"),
        (b"\xff\xfe{\x00}\x00", "a.json:1: is not JSON from byte 1 of the file on ("),
        ("red\nblue\n", "a.json:1: is not JSON from byte "),
        ('{"x": 1e999}', "a.json:1: is not JSON from byte 12 of the file on ("),
        ("[1]", 'a.json: is a list, should be an object with "rows"'),
        ("3", 'a.json: is a number, should be an object with "rows"'),
        ("{}", 'a.json: has no "rows"'),
        ('{"rows": []} ["rows"]', "a.json:1: is not JSON from byte 14 of the file on ("),
        ('{"rows": {"id": 1}}', 'a.json: "rows" is an object, should be a list'),
        ('{"rows": null}', 'a.json: "rows" is null, should be a list'),
        ('{"rows": [{}, 7]}', 'a.json: "rows": item 2 is a number, should be an object'),
        ('{"rows": [], "rows": []}', 'a.json: has "rows" twice, should have it once'),
    ],
)
def test_what_is_no_such_json_is_refused_in_one_line(parser, file, content, expected):
    assert fault(file(content)).startswith(expected)


def test_the_place_of_a_fault_is_found_far_into_a_file(file):
    before = '{"rows": [\n' + '{"id": 1},\n' * 30_000
    found = fault(file(f'{before}{{"id": 1e}}]}}'))
    place = re.match(r"a\.json:30002: is not JSON from byte ([0-9,]+) of the file on \(.+\)$", found)
    assert place and 0 <= int(place[1].replace(",", "")) - len(f'{before}{{"id": 1e') <= 2


def test_deep_nesting_is_passed_over(parser, file):
    deep = "[" * 100_000 + "]" * 100_000
    path = file(f'{{"x": {deep}, "rows": [{{"name": {deep}, "y": {deep}, "id": 1}}]}}')
    assert objects(path) == [("rows", 1, {"name": [[]], "id": 1})]


def test_values_have_limits(parser, file, monkeypatch):
    monkeypatch.setattr(json_stream, "MAX_VALUE_BYTES", 200_000)
    monkeypatch.setattr(json_stream, "MAX_LIST_VALUES", 3)
    for value in ('"' + "a" * 400_000 + '"', "1" * 400_000, " " * 400_000 + "1"):
        path = file(f'{{"rows": [{{"x": {value}}}]}}')
        assert fault(path) == "a.json: holds one value of more than 200,000 bytes"
    assert fault(file('{"rows": [{"id": [1, 2, 3, 4]}]}')) == 'a.json: a list "id" has more than 3 values'
    assert objects(file('{"rows": [{"x": [1, 2, 3, 4]}]}')) == [("rows", 1, {})]


def test_a_folder_and_a_file_that_is_not_there_are_refused(tmp_path):
    assert fault(tmp_path).endswith(": is a folder, should be a JSON file")
    assert fault(tmp_path / "none.json") == "none.json: cannot be read: No such file or directory"


def test_the_outline_has_what_begins_in_the_first_64_kib(parser, file, tmp_path):
    rows = ", ".join(['{"id": [1]}'] * 20_000)
    assert outline(file(f'{{"a": [], "b": {{"c": 1}}, "d": 1, "rows": [{rows}], "late": 1}}')) == {
        "a": ("start_array", "end_array"),
        "b": ("start_map", "map_key"),
        "d": ("number", "map_key"),
        "rows": ("start_array", "start_map"),
    }
    for content in ("", "[1]", b"\xff\xd8\xff", "image,red\n", '["a", {"rows": []}]', "[" * 100_000):
        assert outline(file(content)) == {}
    assert outline(tmp_path) == {}
