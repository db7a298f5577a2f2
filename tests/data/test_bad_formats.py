"""Every format of labels, broken in every way that people break files: one clear line, exit 1, and nothing written."""

from __future__ import annotations

import itertools
import os
import struct
import sys
from typing import Any

import cv2
import numpy as np
import pytest

from mxml.cli import main
from mxml.cli.source_options import FORMAT_NAMES

LONG = 10 << 20


def record(labels, content=b"\xff\xd8", number=0):
    """Return one RecordIO record with a header of float32 labels."""
    body = struct.pack(f"<IfQQ{len(labels)}f", len(labels), 0, number, 0, *labels) + content
    return struct.pack("<II", 0xCED7230A, len(body)) + body + b"\0" * (-len(body) % 4)


XML = "<annotation><filename>{}.jpg</filename><object><name>red</name></object></annotation>"
COCO = (
    '{"images": [{"id": 1, "file_name": "é.jpg"}, {"id": 2, "file_name": "b.jpg"}],'
    ' "categories": [{"id": 1, "name": "red"}, {"id": 2, "name": "hat"}],'
    ' "annotations": [{"id": 1, "image_id": 1, "category_id": 1}, {"id": 2, "image_id": 2, "category_id": 2}]}'
)
MM = (
    '{"metainfo": {"classes": ["red", "hat"]},'
    ' "data_list": [{"img_path": "é.jpg", "gt_label": [0]}, {"img_path": "b.jpg", "gt_label": [1]}]}'
)

# The name of each format's source, and its files; a good one.
GOOD: dict[str, tuple[str, dict[str, Any]]] = {
    "csv": ("s.csv", {"s.csv": "image,red,hat\né.jpg,1,0\nb.jpg,0,1\n"}),
    "tags": ("s.csv", {"s.csv": "image,tags\né.jpg,red|hat\nb.jpg,hat\n"}),
    "jsonl": ("s.jsonl", {"s.jsonl": '{"image": "é.jpg", "labels": ["red"]}\n{"image": "b.jpg", "labels": []}\n'}),
    "coco": ("s.json", {"s.json": COCO}),
    "mmpretrain": ("s.json", {"s.json": MM}),
    "paddlex": ("train.txt", {"train.txt": "é.jpg\t1,0\nb.jpg\t0,1\n", "label.txt": "0 red\n1 hat\n"}),
    "lst": ("s.lst", {"s.lst": "0\t1\t0\té.jpg\n1\t0\t1\tb.jpg\n", "labels.txt": "red\nhat\n"}),
    "single-lst": ("s.lst", {"s.lst": "0\t0\té.jpg\n1\t1\tb.jpg\n", "labels.txt": "red\nhat\n"}),
    "rec": ("s.rec", {"s.rec": record([1, 0]) + record([0, 1], number=1), "s.lst": "0\t1\t0\té.jpg\n1\t0\t1\tb.jpg\n"}),
    "voc": (
        "tree",
        {
            "tree/ImageSets/Main/trainval.txt": "é\nb\n",
            "tree/Annotations/é.xml": XML.format("é"),
            "tree/Annotations/b.xml": XML.format("b"),
        },
    ),
    "text-files": ("texts", {"texts/é.jpg.txt": "red\n", "texts/b.jpg.txt": "hat\nred\n"}),
    "folders": ("tree", {"tree/red_hat/é.jpg": b"", "tree/hat/b.jpg": b""}),
}
MAIN = {"voc": "tree/ImageSets/Main/trainval.txt", "text-files": "texts/b.jpg.txt"}

# What each file becomes; the words that the line must hold.
JPEG = cv2.imencode(".jpg", np.zeros((8, 8, 3), np.uint8))[1].tobytes()
BINARY = b"\xff\xd8\xff\xe0\0\x10JFIF\0"
NO_UTF8 = "is not UTF-8 text"
BROKEN: dict[tuple[str, str], tuple[dict[str, Any], str]] = {
    ("csv", "binary"): ({"s.csv": BINARY}, NO_UTF8),
    ("csv", "missing column"): ({"s.csv": "image\né.jpg\n"}, "s.csv:1: has no label columns"),
    ("csv", "wrong width"): ({"s.csv": "image,red,hat\né.jpg,1\n"}, "s.csv:2: has 1 label"),
    ("csv", "stray quote"): ({"s.csv": 'image,red\n"é.jpg,1\nb.jpg,0\n'}, "stray quote"),
    ("csv", "repeated image"): ({"s.csv": "image,red\né.jpg,1\n./é.jpg,0\n"}, "s.csv:3: './é.jpg' has: no label"),
    ("csv", "absolute path"): ({"s.csv": "image,red\n/é.jpg,1\n"}, "s.csv:2: the path '/é.jpg' is absolute"),
    ("csv", "leaves the root"): ({"s.csv": "image,red\n../é.jpg,1\n"}, "s.csv:2: the path '../é.jpg' leaves"),
    ("csv", "long line"): ({"s.csv": "image,red\n" + "x" * LONG}, "s.csv:2: is longer than"),
    ("csv", "old line ends"): ({"s.csv": "image,red\ré.jpg,1\r"}, "s.csv:1: holds a carriage return"),
    ("tags", "binary"): ({"s.csv": BINARY}, NO_UTF8),
    ("tags", "missing column"): ({"s.csv": "image\né.jpg\n"}, "s.csv:1: "),
    ("tags", "wrong width"): ({"s.csv": "image,tags\né.jpg,red,hat\n"}, "s.csv:2: "),
    ("tags", "stray quote"): ({"s.csv": 'image,tags\né.jpg,"red\nb.jpg,hat\n'}, "stray quote"),
    ("tags", "unknown label"): (
        {"labels.txt": "red\n", "s.csv": "image,tags\né.jpg,hat\n"},
        "s.csv:2: the label 'hat' is not in labels.txt",
    ),
    ("tags", "repeated image"): ({"s.csv": "image,tags\né.jpg,red\né.jpg,hat\n"}, "s.csv:3: 'é.jpg' has: hat"),
    ("tags", "absolute path"): ({"s.csv": "image,tags\n/é.jpg,red\n"}, "s.csv:2: the path '/é.jpg' is absolute"),
    ("tags", "leaves the root"): ({"s.csv": "image,tags\na/../../é.jpg,red\n"}, "s.csv:2: the path"),
    ("tags", "long line"): ({"s.csv": "image,tags\né.jpg," + "x" * LONG}, "s.csv:2: is longer than"),
    ("tags", "old line ends"): ({"s.csv": "image,tags\ré.jpg,red\r"}, "s.csv:1: holds a carriage return"),
    ("jsonl", "binary"): ({"s.jsonl": BINARY}, NO_UTF8),
    ("jsonl", "missing column"): ({"s.jsonl": '{"image": "é.jpg"}\n'}, "s.jsonl:1: "),
    ("jsonl", "wrong width"): ({"s.jsonl": '{"image": "é.jpg", "labels": "red"}\n'}, "s.jsonl:1: "),
    ("jsonl", "stray quote"): ({"s.jsonl": '{"image": "é".jpg", "labels": []}\n'}, "s.jsonl:1: "),
    ("jsonl", "unknown label"): ({"labels.txt": "hat\n"}, "s.jsonl:1: the label 'red' is not in labels.txt"),
    ("jsonl", "repeated image"): (
        {"s.jsonl": '{"image": "é.jpg", "labels": ["red"]}\n{"image": "é.jpg", "labels": []}\n'},
        "s.jsonl:2: 'é.jpg' has: no label",
    ),
    ("jsonl", "absolute path"): ({"s.jsonl": '{"image": "/é.jpg", "labels": ["red"]}\n'}, "s.jsonl:1: the path"),
    ("jsonl", "leaves the root"): ({"s.jsonl": '{"image": "../é.jpg", "labels": ["red"]}\n'}, "s.jsonl:1: the path"),
    ("jsonl", "long line"): ({"s.jsonl": '{"image": "' + "x" * LONG + '"}\n'}, "s.jsonl:1: is longer than"),
    ("jsonl", "old line ends"): (
        {"s.jsonl": '{"image": "é.jpg", "labels": []}\r{"image": "b.jpg", "labels": []}\r'},
        "s.jsonl:1: is not JSON",
    ),
    ("coco", "binary"): ({"s.json": BINARY}, "s.json:1: is not JSON"),
    ("coco", "missing column"): ({"s.json": COCO.replace('"category_id": 2', '"category": 2')}, "s.json: "),
    ("coco", "wrong width"): ({"s.json": COCO.replace('"category_id": 2', '"category_id": [2]')}, "is a list"),
    ("coco", "stray quote"): ({"s.json": COCO.replace('"b.jpg"', '"b".jpg"')}, "s.json:1: is not JSON from byte "),
    ("coco", "unknown label"): (
        {"s.json": COCO.replace('"category_id": 2', '"category_id": 3')},
        "s.json: annotation 2: refers to category 3",
    ),
    ("coco", "repeated image"): ({"s.json": COCO.replace("b.jpg", "é.jpg")}, "s.json: image 2: 'é.jpg' has: hat"),
    ("coco", "absolute path"): ({"s.json": COCO.replace('"b.jpg"', '"/b.jpg"')}, "the path '/b.jpg' is absolute"),
    ("coco", "leaves the root"): ({"s.json": COCO.replace('"b.jpg"', '"../b.jpg"')}, "the path '../b.jpg' leaves"),
    ("coco", "long line"): ({"s.json": COCO.replace("b.jpg", "x" * LONG)}, "the path is 10,485,760 bytes long"),
    ("mmpretrain", "binary"): ({"s.json": BINARY}, "s.json:1: is not JSON"),
    ("mmpretrain", "missing column"): ({"s.json": MM.replace('"gt_label": [1]', '"label": [1]')}, "s.json: "),
    ("mmpretrain", "wrong width"): ({"s.json": MM.replace("[1]", "[[1]]")}, "should be a list of class numbers"),
    ("mmpretrain", "stray quote"): ({"s.json": MM.replace('"b.jpg"', '"b".jpg"')}, "s.json:1: is not JSON from byte "),
    ("mmpretrain", "unknown label"): ({"s.json": MM.replace("[1]", "[2]")}, "image 2 of data_list: has the label 2"),
    ("mmpretrain", "repeated image"): ({"s.json": MM.replace("b.jpg", "é.jpg")}, "'é.jpg' has: hat"),
    ("mmpretrain", "absolute path"): ({"s.json": MM.replace("b.jpg", "/b.jpg")}, "the path '/b.jpg' is absolute"),
    ("mmpretrain", "leaves the root"): ({"s.json": MM.replace("b.jpg", "../b.jpg")}, "the path '../b.jpg' leaves"),
    ("mmpretrain", "long line"): ({"s.json": MM.replace("b.jpg", "x" * LONG)}, "the path is 10,485,760 bytes long"),
    ("paddlex", "binary"): ({"train.txt": BINARY}, NO_UTF8),
    ("paddlex", "missing column"): ({"train.txt": "é.jpg\n"}, "train.txt:1: "),
    ("paddlex", "wrong width"): ({"train.txt": "é.jpg\t1,0\nb.jpg\t0,1,1\n"}, "train.txt:2: "),
    ("paddlex", "stray quote"): ({"train.txt": 'é.jpg\t1,"0\n'}, "train.txt:1: "),
    ("paddlex", "unknown label"): (
        {"label.txt": "0 red\n", "train.txt": "é.jpg\t1,0\n"},
        "train.txt:1: number of values is 2, should be 1",
    ),
    ("paddlex", "repeated image"): ({"train.txt": "é.jpg\t1,0\né.jpg\t0,1\n"}, "train.txt:2: 'é.jpg' has: hat"),
    ("paddlex", "absolute path"): ({"train.txt": "/é.jpg\t1,0\n"}, "train.txt:1: the path '/é.jpg' is absolute"),
    ("paddlex", "leaves the root"): ({"train.txt": "../é.jpg\t1,0\n"}, "train.txt:1: the path '../é.jpg' leaves"),
    ("paddlex", "long line"): ({"train.txt": "é.jpg\t1" + ",0" * (LONG // 2)}, "train.txt:1: is longer than"),
    ("paddlex", "old line ends"): ({"train.txt": "é.jpg\t1,0\rb.jpg\t0,1\r"}, "train.txt:1: should be a path"),
    ("lst", "binary"): ({"s.lst": BINARY}, "is not a text file, should be an image list"),
    ("lst", "missing column"): ({"s.lst": "0\té.jpg\n"}, "s.lst:1: "),
    ("lst", "wrong width"): ({"s.lst": "0\t1\t0\té.jpg\n1\t1\tb.jpg\n"}, "s.lst:2: has 1 label, should be 2"),
    ("lst", "stray quote"): ({"s.lst": '0\t"1\t0\té.jpg\n'}, "s.lst:1: label 1 is '\"1'"),
    ("lst", "unknown label"): ({"labels.txt": "red\n"}, "labels.txt: has 1 label, should be 2 like s.lst: red"),
    ("lst", "repeated image"): ({"s.lst": "0\t1\t0\té.jpg\n1\t0\t1\té.jpg\n"}, "s.lst:2: 'é.jpg' has: hat"),
    ("lst", "absolute path"): ({"s.lst": "0\t1\t0\t/é.jpg\n"}, "s.lst:1: the path '/é.jpg' is absolute"),
    ("lst", "leaves the root"): ({"s.lst": "0\t1\t0\t../é.jpg\n"}, "s.lst:1: the path '../é.jpg' leaves"),
    ("lst", "long line"): ({"s.lst": "0\t1\t0\t" + "x" * LONG}, "s.lst:1: is longer than"),
    ("lst", "old line ends"): ({"s.lst": "0\t1\t0\té.jpg\r1\t0\t1\tb.jpg\r"}, "s.lst:1: holds a carriage return"),
    ("single-lst", "binary"): ({"s.lst": BINARY}, "is not a text file, should be an image list"),
    ("single-lst", "missing column"): ({"s.lst": "0\té.jpg\n"}, "s.lst:1: "),
    ("single-lst", "wrong width"): ({"s.lst": "0\t1\té.jpg\n1\t1\t0\tb.jpg\n"}, "s.lst:2: "),
    ("single-lst", "stray quote"): ({"s.lst": '0\t"1\té.jpg\n'}, "s.lst:1: "),
    ("single-lst", "unknown label"): (
        {"s.lst": "0\t2\té.jpg\n"},
        "s.lst:1: the class number is 2, should be",
    ),
    ("single-lst", "repeated image"): ({"s.lst": "0\t1\té.jpg\n1\t0\té.jpg\n"}, "s.lst:2: 'é.jpg' has: red"),
    ("single-lst", "absolute path"): ({"s.lst": "0\t1\t/é.jpg\n"}, "s.lst:1: the path '/é.jpg' is absolute"),
    ("single-lst", "leaves the root"): ({"s.lst": "0\t1\t../é.jpg\n"}, "s.lst:1: the path '../é.jpg' leaves"),
    ("single-lst", "long line"): ({"s.lst": "0\t1\t" + "x" * LONG}, "s.lst:1: is longer than"),
    ("single-lst", "old line ends"): ({"s.lst": "0\t1\té.jpg\r1\t0\tb.jpg\r"}, "s.lst:1: holds a carriage return"),
    ("rec", "binary"): ({"s.rec": BINARY}, "s.rec: record 1 at byte 0: begins with 0x"),
    ("rec", "missing column"): ({"s.lst": "0\té.jpg\n1\t0\t1\tb.jpg\n"}, "s.lst:1: "),
    ("rec", "wrong width"): ({"s.rec": record([1, 0]) + record([1], number=1)}, "s.rec: record 2"),
    ("rec", "stray quote"): ({"s.rec": b'"' + record([1, 0]) + record([0, 1], number=1)}, "s.rec: record 1"),
    ("rec", "unknown label"): ({"labels.txt": "red\n"}, "labels.txt: has 1 label, should be 2 like s.rec: red"),
    ("rec", "repeated image"): ({"s.lst": "0\t1\t0\té.jpg\n1\t0\t1\té.jpg\n"}, "s.rec: record 2"),
    ("rec", "absolute path"): (
        {"s.lst": "0\t1\t0\té.jpg\n1\t0\t1\t/b.jpg\n"},
        "s.lst:2: the path '/b.jpg' is absolute",
    ),
    ("rec", "leaves the root"): ({"s.lst": "0\t1\t0\té.jpg\n1\t0\t1\t../b.jpg\n"}, "s.lst:2: the path"),
    ("rec", "long line"): ({"s.lst": "0\t1\t0\té.jpg\n1\t0\t1\t" + "x" * LONG}, "s.lst:2: is longer than"),
    ("rec", "old line ends"): ({"s.lst": "0\t1\t0\té.jpg\r1\t0\t1\tb.jpg\r"}, "s.lst:1: holds a carriage return"),
    ("voc", "binary"): ({"tree/Annotations/b.xml": BINARY}, "b.xml:1: is not XML"),
    ("voc", "missing column"): ({"tree/Annotations/b.xml": "<annotation><object/></annotation>"}, "b.xml: "),
    ("voc", "wrong width"): ({"tree/ImageSets/Main/trainval.txt": "é\nb\nnone\n"}, "none"),
    ("voc", "stray quote"): ({"tree/Annotations/b.xml": '<annotation a="></annotation>'}, "b.xml:1: is not XML"),
    ("voc", "unknown label"): (
        {"tree/labels.txt": "red\n", "tree/Annotations/b.xml": XML.format("b").replace("red", "hat")},
        "the label 'hat' is not in tree/labels.txt",
    ),
    ("voc", "repeated image"): (
        {"tree/Annotations/é.xml": XML.format("b").replace("red", "hat")},
        "trainval.txt:2: 'b.jpg' has: red",
    ),
    ("voc", "absolute path"): ({"tree/Annotations/b.xml": XML.format("/b")}, "the path '/b.jpg' is absolute"),
    ("voc", "leaves the root"): ({"tree/ImageSets/Main/trainval.txt": "../../b\n"}, "../../b"),
    ("voc", "long line"): ({"tree/ImageSets/Main/trainval.txt": "x" * LONG}, "trainval.txt:1: is longer than"),
    ("voc", "old line ends"): ({"tree/ImageSets/Main/trainval.txt": "é\rb\r"}, "trainval.txt:1: the path"),
    ("text-files", "binary"): ({"texts/b.jpg.txt": BINARY}, "b.jpg.txt:1: is not UTF-8 text"),
    ("text-files", "missing column"): ({"texts/c.txt": "red\n"}, "texts/c.txt: belongs to no image"),
    ("text-files", "unknown label"): (
        {"texts/labels.txt": "red\n"},
        "b.jpg.txt: the label 'hat' is not in",
    ),
    ("text-files", "repeated image"): ({"texts/b.txt": "red\n"}, "texts/b.txt: 'b.jpg' has: red"),
    ("text-files", "long line"): ({"texts/b.jpg.txt": "x" * LONG}, "b.jpg.txt: has 10,485,760 bytes, should be"),
    ("text-files", "old line ends"): ({"texts/b.jpg.txt": "hat\rred\r"}, "b.jpg.txt: the label name 'hat"),
    ("folders", "missing column"): ({"tree/c.jpg": b""}, "holds 1 image in no labelled folder, such as 'c.jpg'"),
    ("folders", "unknown label"): ({"tree/labels.txt": "hat\n"}, "é.jpg: the label 'red' is not in tree/labels.txt"),
}
FAULTS = list(dict.fromkeys(fault for _, fault in BROKEN))

# Why a format cannot have a fault.
IMPOSSIBLE = {
    ("csv", "unknown label"): "the header states the labels",
    ("coco", "old line ends"): "JSON takes any line ends",
    ("mmpretrain", "old line ends"): "JSON takes any line ends",
    ("text-files", "wrong width"): "a file may hold any number of labels",
    ("text-files", "stray quote"): "a quote is a letter of a label",
    ("text-files", "absolute path"): "the files are found under the source, and so have relative paths",
    ("text-files", "leaves the root"): "the files are found under the source, and so have relative paths",
    ("folders", "binary"): "no file is opened; mxml check opens the images",
    ("folders", "wrong width"): "a folder may name any number of labels",
    ("folders", "stray quote"): "a quote is a letter of a label",
    ("folders", "repeated image"): "a file is in one folder",
    ("folders", "absolute path"): "the images are found under the source, and so have relative paths",
    ("folders", "leaves the root"): "the images are found under the source, and so have relative paths",
    ("folders", "long line"): "no file system holds a name that is too long",
    ("folders", "old line ends"): "nothing has lines",
}


def lay_out(place, files):
    for name, content in files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(content if isinstance(content, bytes) else content.encode())


def everything(place):
    return {str(path.relative_to(place)) for path in place.rglob("*")}


@pytest.fixture
def place(tmp_path, monkeypatch):
    (tmp_path / "images").mkdir()
    for name in ("é.jpg", "b.jpg"):
        (tmp_path / "images" / name).write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def refused(place, monkeypatch, capsys):
    """Run both commands on a source; return the one line that each prints, having checked that nothing is written."""

    def run(format, source, *options):
        # A root that holds the source lets the formats that are folders name their images.
        common = [source, "--from", format, *(["--root", "images"] if format != "folders" else []), *options]
        lines = set()
        before = everything(place)
        for command in (["make-lst", *common], ["convert", *common, "--to", "csv", "--out", "out/labels.csv"]):
            monkeypatch.setattr(sys, "argv", ["mxml", *command])
            with pytest.raises(SystemExit) as done:
                main()
            printed = capsys.readouterr()
            assert (done.value.code, printed.out) == (1, ""), printed
            assert printed.err.count("\n") == 1, printed.err
            assert len(printed.err) < 500, printed.err
            assert everything(place) == before
            lines.add(printed.err)
        (line,) = lines
        return line

    return run


@pytest.mark.parametrize("format", FORMAT_NAMES)
def test_the_good_ones_are_good(format, place, monkeypatch, capsys):
    source, files = GOOD[format]
    lay_out(place, files)
    root = ["--root", "tree" if format == "folders" else "images"]
    monkeypatch.setattr(
        sys, "argv", ["mxml", "convert", source, "--from", format, *root, "--to", "csv", "--out", "out.csv"]
    )
    with pytest.raises(SystemExit) as done:
        main()
    assert done.value.code == 0, capsys.readouterr().err
    assert (place / "out.csv").read_text().count(".jpg") == 2


def test_every_format_is_broken_in_every_way():
    assert BROKEN.keys() | IMPOSSIBLE.keys() == set(itertools.product(FORMAT_NAMES, FAULTS))
    assert not BROKEN.keys() & IMPOSSIBLE.keys()


@pytest.mark.parametrize(("format", "fault"), BROKEN)
def test_a_broken_source_is_one_line(format, fault, place, refused):
    source, files = GOOD[format]
    changed, words = BROKEN[format, fault]
    lay_out(place, {**files, **changed})
    assert words in refused(format, source)


@pytest.mark.parametrize("format", [format for format in FORMAT_NAMES if format != "folders"])
def test_a_latin_1_file_is_one_line(format, place, refused):
    source, files = GOOD[format]
    changed = MAIN.get(format, "s.lst" if format == "rec" else source)
    text = "rüd\n" if format == "text-files" else files[changed]
    lay_out(place, files)
    (place / changed).write_bytes(text.encode("latin-1"))
    line = refused(format, source)
    assert "UTF-8" in line or "JSON" in line
    assert changed in line


def test_a_latin_1_file_name_is_one_line(place, refused):
    source, files = GOOD["folders"]
    lay_out(place, files)
    (place / "tree/hat/\udce9.jpg").write_bytes(b"")
    assert "is not UTF-8" in refused("folders", source)


@pytest.mark.parametrize(("format", "pipe"), [("text-files", "texts/c.jpg.txt"), ("voc", "tree/Annotations/b.xml")])
def test_a_pipe_among_the_files_is_not_waited_for(format, pipe, place, refused):
    source, files = GOOD[format]
    lay_out(place, {name: content for name, content in files.items() if name != pipe})
    os.mkfifo(place / pipe)
    assert f"{pipe}: is not a regular file" in refused(format, source)


def test_a_line_end_in_a_file_name_is_one_line(place, refused):
    source, files = GOOD["folders"]
    lay_out(place, {**files, "tree/hat/c\nd.jpg": b""})
    assert r"tree/hat/c\nd.jpg: the path 'tree/hat/c" in refused("folders", source, "--root", ".")


def test_an_image_name_that_no_disk_holds_is_one_line(place, monkeypatch, capsys):
    lay_out(place, {"s.csv": "image,red\n" + "x" * 300 + ".jpg,1\n"})
    monkeypatch.setattr(sys, "argv", ["mxml", "make-lst", "s.csv", "--root", "images"])
    with pytest.raises(SystemExit) as done:
        main()
    printed = capsys.readouterr().err
    assert (done.value.code, printed.count("\n"), "does not exist" in printed) == (1, 1, True)


@pytest.mark.parametrize("extra", [[], ["--num-classes", "3"]])
def test_nothing_is_unpacked_where_the_labels_are_at_fault(extra, place, monkeypatch, capsys):
    value = 1 if extra else 7
    lay_out(place, {"s.rec": record([1, 0], JPEG) + record([value, 0], JPEG, number=1)})
    before = everything(place)
    monkeypatch.setattr(sys, "argv", ["mxml", "make-lst", "s.rec", "--root", "new", "--unpack", *extra])
    with pytest.raises(SystemExit) as done:
        main()
    assert (done.value.code, capsys.readouterr().err.count("\n")) == (1, 1)
    assert everything(place) == before


@pytest.mark.parametrize("format", FORMAT_NAMES)
def test_an_empty_source_is_one_line(format, place, refused):
    source, files = GOOD[format]
    if format in ("folders", "text-files"):
        (place / source).mkdir()
    else:
        lay_out(place, files)
        (place / MAIN.get(format, source)).write_bytes(b"")
    assert source in refused(format, source)


@pytest.mark.parametrize("format", FORMAT_NAMES)
def test_a_folder_in_place_of_a_file_or_the_reverse_is_one_line(format, place, refused):
    source, _ = GOOD[format]
    if format in ("voc", "text-files", "folders"):
        (place / source).write_text("a file")
    else:
        (place / source).mkdir()
    assert source in refused(format, source)


@pytest.mark.parametrize("format", FORMAT_NAMES)
def test_a_source_that_is_not_there_is_one_line(format, refused):
    assert "does not exist" in refused(format, GOOD[format][0])
