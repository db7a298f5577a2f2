"""Every form of labels, broken in every way that people break files: one clear line, exit 1, and nothing written."""

from __future__ import annotations

import os
import struct
import sys

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

# The name of each form's source, and its files; a good one.
GOOD = {
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
BROKEN = {
    ("csv", "missing column"): ({"s.csv": "image\né.jpg\n"}, "s.csv:1: has no label columns"),
    ("csv", "wrong width"): ({"s.csv": "image,red,hat\né.jpg,1\n"}, "s.csv:2: has 1 label"),
    ("csv", "stray quote"): ({"s.csv": 'image,red\n"é.jpg,1\nb.jpg,0\n'}, "stray quote"),
    ("csv", "leaves the root"): ({"s.csv": "image,red\n../é.jpg,1\n"}, "s.csv:2: the path '../é.jpg' leaves"),
    ("csv", "long line"): ({"s.csv": "image,red\n" + "x" * LONG}, "s.csv:2: is longer than"),
    ("csv", "old line ends"): ({"s.csv": "image,red\ré.jpg,1\r"}, "s.csv:1: holds a carriage return"),
    ("tags", "missing column"): ({"s.csv": "image\né.jpg\n"}, "s.csv:1: "),
    ("tags", "wrong width"): ({"s.csv": "image,tags\né.jpg,red,hat\n"}, "s.csv:2: "),
    ("tags", "stray quote"): ({"s.csv": 'image,tags\né.jpg,"red\nb.jpg,hat\n'}, "stray quote"),
    ("tags", "leaves the root"): ({"s.csv": "image,tags\na/../../é.jpg,red\n"}, "s.csv:2: the path"),
    ("tags", "long line"): ({"s.csv": "image,tags\né.jpg," + "x" * LONG}, "s.csv:2: is longer than"),
    ("jsonl", "missing column"): ({"s.jsonl": '{"image": "é.jpg"}\n'}, "s.jsonl:1: "),
    ("jsonl", "wrong width"): ({"s.jsonl": '{"image": "é.jpg", "labels": "red"}\n'}, "s.jsonl:1: "),
    ("jsonl", "stray quote"): ({"s.jsonl": '{"image": "é".jpg", "labels": []}\n'}, "s.jsonl:1: "),
    ("jsonl", "leaves the root"): ({"s.jsonl": '{"image": "/é.jpg", "labels": ["red"]}\n'}, "s.jsonl:1: the path"),
    ("jsonl", "long line"): ({"s.jsonl": '{"image": "' + "x" * LONG + '"}\n'}, "s.jsonl:1: is longer than"),
    ("coco", "missing column"): ({"s.json": COCO.replace('"category_id": 2', '"category": 2')}, "s.json: "),
    ("coco", "wrong width"): ({"s.json": COCO.replace('"category_id": 2', '"category_id": 3')}, "s.json: "),
    ("coco", "stray quote"): ({"s.json": COCO.replace('"b.jpg"', '"b".jpg"')}, "s.json:1: is not JSON from byte "),
    ("coco", "leaves the root"): ({"s.json": COCO.replace('"b.jpg"', '"../b.jpg"')}, "the path '../b.jpg' leaves"),
    ("coco", "long line"): ({"s.json": COCO.replace("b.jpg", "x" * LONG)}, "the path is 10,485,760 bytes long"),
    ("mmpretrain", "missing column"): ({"s.json": MM.replace('"gt_label": [1]', '"label": [1]')}, "s.json: "),
    ("mmpretrain", "wrong width"): ({"s.json": MM.replace("[1]", "[2]")}, "s.json: "),
    ("mmpretrain", "stray quote"): ({"s.json": MM.replace('"b.jpg"', '"b".jpg"')}, "s.json:1: is not JSON from byte "),
    ("mmpretrain", "leaves the root"): ({"s.json": MM.replace("b.jpg", "../b.jpg")}, "the path '../b.jpg' leaves"),
    ("mmpretrain", "long line"): ({"s.json": MM.replace("b.jpg", "x" * LONG)}, "the path is 10,485,760 bytes long"),
    ("paddlex", "missing column"): ({"train.txt": "é.jpg\n"}, "train.txt:1: "),
    ("paddlex", "wrong width"): ({"train.txt": "é.jpg\t1,0\nb.jpg\t0,1,1\n"}, "train.txt:2: "),
    ("paddlex", "stray quote"): ({"train.txt": 'é.jpg\t1,"0\n'}, "train.txt:1: "),
    ("paddlex", "leaves the root"): ({"train.txt": "../é.jpg\t1,0\n"}, "train.txt:1: the path '../é.jpg' leaves"),
    ("paddlex", "long line"): ({"train.txt": "é.jpg\t1" + ",0" * (LONG // 2)}, "train.txt:1: is longer than"),
    ("lst", "missing column"): ({"s.lst": "0\té.jpg\n"}, "s.lst:1: "),
    ("lst", "wrong width"): ({"s.lst": "0\t1\t0\té.jpg\n1\t1\tb.jpg\n"}, "s.lst:2: has 1 label, should be 2"),
    ("lst", "stray quote"): ({"s.lst": '0\t"1\t0\té.jpg\n'}, "s.lst:1: label 1 is '\"1'"),
    ("lst", "leaves the root"): ({"s.lst": "0\t1\t0\t../é.jpg\n"}, "s.lst:1: the path '../é.jpg' leaves"),
    ("lst", "long line"): ({"s.lst": "0\t1\t0\t" + "x" * LONG}, "s.lst:1: is longer than"),
    ("single-lst", "missing column"): ({"s.lst": "0\té.jpg\n"}, "s.lst:1: "),
    ("single-lst", "wrong width"): ({"s.lst": "0\t1\té.jpg\n1\t1\t0\tb.jpg\n"}, "s.lst:2: "),
    ("single-lst", "stray quote"): ({"s.lst": '0\t"1\té.jpg\n'}, "s.lst:1: "),
    ("single-lst", "leaves the root"): ({"s.lst": "0\t1\t/é.jpg\n"}, "s.lst:1: the path '/é.jpg' is absolute"),
    ("single-lst", "long line"): ({"s.lst": "0\t1\t" + "x" * LONG}, "s.lst:1: is longer than"),
    ("rec", "missing column"): ({"s.lst": "0\té.jpg\n1\t0\t1\tb.jpg\n"}, "s.lst:1: "),
    ("rec", "wrong width"): ({"s.rec": record([1, 0]) + record([1], number=1)}, "s.rec: record 2"),
    ("rec", "stray quote"): ({"s.rec": b'"' + record([1, 0]) + record([0, 1], number=1)}, "s.rec: record 1"),
    ("rec", "leaves the root"): ({"s.lst": "0\t1\t0\té.jpg\n1\t0\t1\t../b.jpg\n"}, "s.lst:2: the path"),
    ("rec", "long line"): ({"s.lst": "0\t1\t0\té.jpg\n1\t0\t1\t" + "x" * LONG}, "s.lst:2: is longer than"),
    ("voc", "missing column"): ({"tree/Annotations/b.xml": "<annotation><object/></annotation>"}, "b.xml: "),
    ("voc", "wrong width"): ({"tree/ImageSets/Main/trainval.txt": "é\nb\nnone\n"}, "none"),
    ("voc", "stray quote"): ({"tree/Annotations/b.xml": '<annotation a="></annotation>'}, "b.xml:1: is not XML"),
    ("voc", "leaves the root"): ({"tree/ImageSets/Main/trainval.txt": "../../b\n"}, "../../b"),
    ("voc", "long line"): ({"tree/ImageSets/Main/trainval.txt": "x" * LONG}, "trainval.txt:1: is longer than"),
    ("text-files", "missing column"): ({"texts/b.txt": "red\n"}, "b.txt"),
    ("text-files", "wrong width"): ({"texts/b.jpg.txt": "red\nblue\n", "texts/labels.txt": "red\nhat\n"}, "'blue'"),
    ("text-files", "long line"): ({"texts/b.jpg.txt": "x" * LONG}, "b.jpg.txt: has 10,485,760 bytes, should be"),
    ("folders", "missing column"): ({"tree/c.jpg": b""}, "1 image is in no labelled folder, such as 'c.jpg'"),
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

    def run(form, source, *options):
        # A root that holds the source lets the folder forms name their images.
        common = [source, "--from", form, *(["--root", "images"] if form != "folders" else []), *options]
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


@pytest.mark.parametrize("form", FORMAT_NAMES)
def test_the_good_ones_are_good(form, place, monkeypatch, capsys):
    source, files = GOOD[form]
    lay_out(place, files)
    root = ["--root", "tree" if form == "folders" else "images"]
    monkeypatch.setattr(
        sys, "argv", ["mxml", "convert", source, "--from", form, *root, "--to", "csv", "--out", "out.csv"]
    )
    with pytest.raises(SystemExit) as done:
        main()
    assert done.value.code == 0, capsys.readouterr().err
    assert (place / "out.csv").read_text().count(".jpg") == 2


@pytest.mark.parametrize(("form", "fault"), BROKEN)
def test_a_broken_source_is_one_line(form, fault, place, refused):
    source, files = GOOD[form]
    changed, words = BROKEN[form, fault]
    lay_out(place, {**files, **changed})
    assert words in refused(form, source)


@pytest.mark.parametrize("form", [form for form in FORMAT_NAMES if form != "folders"])
def test_a_latin_1_file_is_one_line(form, place, refused):
    source, files = GOOD[form]
    changed = MAIN.get(form, "s.lst" if form == "rec" else source)
    text = "rüd\n" if form == "text-files" else files[changed]
    lay_out(place, files)
    (place / changed).write_bytes(text.encode("latin-1"))
    line = refused(form, source)
    assert "UTF-8" in line or "JSON" in line
    assert changed in line


def test_a_latin_1_file_name_is_one_line(place, refused):
    source, files = GOOD["folders"]
    lay_out(place, files)
    (place / "tree/hat/\udce9.jpg").write_bytes(b"")
    assert "is not UTF-8" in refused("folders", source)


@pytest.mark.parametrize(("form", "pipe"), [("text-files", "texts/c.jpg.txt"), ("voc", "tree/Annotations/b.xml")])
def test_a_pipe_among_the_files_is_not_waited_for(form, pipe, place, refused):
    source, files = GOOD[form]
    lay_out(place, {name: content for name, content in files.items() if name != pipe})
    os.mkfifo(place / pipe)
    assert f"{pipe}: is no regular file" in refused(form, source)


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
    assert (done.value.code, printed.count("\n"), "is not there" in printed) == (1, 1, True)


@pytest.mark.parametrize("extra", [[], ["--num-classes", "3"]])
def test_nothing_is_unpacked_where_the_labels_are_at_fault(extra, place, monkeypatch, capsys):
    value = 1 if extra else 7
    jpeg = cv2.imencode(".jpg", np.zeros((8, 8, 3), np.uint8))[1].tobytes()
    lay_out(place, {"s.rec": record([1, 0], jpeg) + record([value, 0], jpeg, number=1)})
    before = everything(place)
    monkeypatch.setattr(sys, "argv", ["mxml", "make-lst", "s.rec", "--root", "new", "--unpack", *extra])
    with pytest.raises(SystemExit) as done:
        main()
    assert (done.value.code, capsys.readouterr().err.count("\n")) == (1, 1)
    assert everything(place) == before


@pytest.mark.parametrize("form", FORMAT_NAMES)
def test_an_empty_source_is_one_line(form, place, refused):
    source, files = GOOD[form]
    if form in ("folders", "text-files"):
        (place / source).mkdir()
    else:
        lay_out(place, files)
        (place / MAIN.get(form, source)).write_bytes(b"")
    assert source in refused(form, source)


@pytest.mark.parametrize("form", FORMAT_NAMES)
def test_a_folder_in_place_of_a_file_or_the_reverse_is_one_line(form, place, refused):
    source, _ = GOOD[form]
    if form in ("voc", "text-files", "folders"):
        (place / source).write_text("a file")
    else:
        (place / source).mkdir()
    assert source in refused(form, source)


@pytest.mark.parametrize("form", FORMAT_NAMES)
def test_a_source_that_is_not_there_is_one_line(form, refused):
    assert "is not there" in refused(form, GOOD[form][0])
