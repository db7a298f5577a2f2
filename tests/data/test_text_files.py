"""Labels in one text file an image."""

from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from labelled_sets import file_names, labelled, labelled_sets, reread, said

from mxml.data.formats import text_files
from mxml.data.formats.file_tree import blocked_files
from mxml.data.formats.options import FormatOptions
from mxml.errors import ListError

OPTIONS = FormatOptions()


def put(root, **files):
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


def read(path, root="images", options=OPTIONS):
    images = path.parent / root
    images.mkdir(exist_ok=True)
    return said(text_files.read(path, images, options))


def faults(call, *arguments):
    with pytest.raises(ListError) as caught:
        call(*arguments)
    return list(caught.value.faults)


# ---- reading


def test_a_folder_as_the_inception_repository_has_it(tmp_path):
    labels = put(
        tmp_path / "image_labels_dir",
        **{
            "labels.txt": "car\nbus\nred\n\n",
            "car1.jpg.txt": "car\nred\n",
            "bus.JPG.txt": "\ufeffbus\r\n\r\n red \r\nred",
            "none.png.txt": "",
            "more/old car.jpg.txt": "car",
            ".backup.jpg.txt": "not a label",
            "notes.md": "not a label",
        },
    )
    assert text_files.recognises(labels)
    assert read(labels) == (
        ["car", "bus", "red"],
        [
            ("bus.JPG", [0, 1, 1]),
            ("car1.jpg", [1, 0, 1]),
            ("more/old car.jpg", [1, 0, 0]),
            ("none.png", [0, 0, 0]),
        ],
    )


def test_without_labels_txt_or_with_classes_the_labels_are_free(tmp_path):
    labels = put(tmp_path / "texts", **{"a.jpg.txt": "red\nhat\n", "b.jpg.txt": "tie\n"})
    assert read(labels) == (["hat", "red", "tie"], [("a.jpg", [1, 1, 0]), ("b.jpg", [0, 0, 1])])
    put(labels, **{"labels.txt": "red\nhat\n"})
    assert faults(read, labels) == [
        f"{labels}/b.jpg.txt: the label 'tie' is not in {labels}/labels.txt; add it there, or give `classes_file`"
    ]
    assert read(labels, options=FormatOptions(classes=("red",)))[0] == ["hat", "red", "tie"]


def test_a_text_may_be_called_as_its_image_without_the_suffix(tmp_path):
    labels = put(tmp_path / "texts", **{"car.txt": "red\n", "in/v1.2.TXT": "hat\n", "odd.txt": "", "b.jpg.txt": "red"})
    put(tmp_path / "images", **{"car.jpeg": "", "in/v1.2.png": "", "car.xml": "", "odd": "", "in/car.jpg": ""})
    assert read(labels) == (
        ["hat", "red"],
        [("b.jpg", [0, 1]), ("car.jpeg", [0, 1]), ("in/v1.2.png", [1, 0]), ("odd", [0, 0])],
    )


def test_the_repository_s_own_layout_is_read(tmp_path):
    # Its images are in one folder a category, copied into each of theirs; its texts and labels.txt lie beside.
    labels = put(tmp_path / "image_labels_dir", **{"car.jpg.txt": "car\naccident", "tree.jpg.txt": "tree"})
    put(tmp_path, **{"labels.txt": "car\naccident\ntree\nhouse\n"})
    put(tmp_path / "images", **{"car/car.jpg": "1", "accident/car.jpg": "1", "tree/tree.jpg": "2"})
    found = text_files.read(labels, tmp_path / "images", OPTIONS)
    assert said(found) == (
        ["car", "accident", "tree", "house"],
        [("accident/car.jpg", [1, 1, 0, 0]), ("tree/tree.jpg", [0, 0, 1, 0])],
    )
    assert found.notes == (f"{tmp_path}/images: holds several copies of 1 image; the first of each is used",)


def test_images_that_are_not_there_keep_their_texts_names(tmp_path):
    labels = put(tmp_path / "texts", **{"a.jpg.txt": "red", "in/b.jpg.txt": "red", "d/a.jpg.txt": "hat"})
    put(tmp_path / "images", **{"d/a.jpg": "", "b.jpg": "", "in/b.jpg.png": ""})
    assert read(labels) == (["hat", "red"], [("a.jpg", [0, 1]), ("d/a.jpg", [1, 0]), ("in/b.jpg", [0, 1])])


def test_a_text_of_no_or_of_several_images_is_refused(tmp_path):
    labels = put(tmp_path / "texts", **{"car.txt": "red\n", "bus.txt": "red\n", "tree.jpg.txt": "red\n"})
    images = put(tmp_path / "images", **{"car.jpeg": "1", "car.jpg": "2", "a/tree.jpg": "1", "b/tree.jpg": "2"})
    assert faults(read, labels) == [
        f"{labels}/bus.txt: belongs to no image; should be named like an image under {images}, with .txt added",
        f"{labels}/car.txt: may belong to several images: car.jpeg, car.jpg; "
        "should be named like one of them, with .txt added",
        f"{labels}/tree.jpg.txt: may belong to several images: a/tree.jpg, b/tree.jpg; "
        "should be named like one of them, with .txt added",
    ]
    (images / "a/tree.jpg").unlink()
    (images / "a/tree.jpg").symlink_to("nowhere")
    assert f"{labels}/tree.jpg.txt: {images}/a/tree.jpg: cannot be read: No such file" in faults(read, labels)[2]


def test_two_texts_of_one_image_say_the_same_or_are_refused(tmp_path):
    labels = put(tmp_path / "texts", **{"car.txt": "red\n", "car.jpg.txt": "red\n"})
    put(tmp_path / "images", **{"car.jpg": ""})
    assert read(labels) == (["red"], [("car.jpg", [1])])
    put(labels, **{"car.txt": "hat\n"})
    assert faults(read, labels) == [
        f"{labels}/car.txt: 'car.jpg' has: hat; in {labels}/car.jpg.txt it has: red; "
        "should appear once, or with the same labels"
    ]


def test_every_faulty_file_is_named(tmp_path):
    labels = put(
        tmp_path / "texts",
        **{
            "a.jpg.txt": b"red\ncaf\xe9\n",
            "b.jpg.txt": b"red\n\0\n",
            "c.jpg.txt": b"x" * 10_000_000,
            "d.jpg.txt": b"red\r\nha\rt\n",
            "e.jpg.txt": b"\xff\xfer\0e\0d\0",
        },
    )
    (labels / "f.jpg.txt").mkdir()
    (labels / "g.jpg.txt").symlink_to("nowhere")
    found = [fault.removeprefix(f"{labels}/") for fault in faults(read, labels)]
    assert [fault[: len(start)] for fault, start in zip(found, STARTS)] == STARTS
    assert len(found) == len(STARTS)


STARTS = [
    "a.jpg.txt:2: is not UTF-8 text (byte 0xe9 in column 4)",
    "b.jpg.txt:2: holds a NUL byte",
    "c.jpg.txt: has 10,000,000 bytes, should be one label per line in at most 1,048,576",
    "d.jpg.txt: the label name 'ha\\rt' holds a line end",
    "e.jpg.txt:1: is UTF-16 text, should be UTF-8",
    "g.jpg.txt: cannot be read: No such file or directory",
]


def test_what_is_no_folder_of_texts_is_refused(tmp_path):
    put(tmp_path, **{"a.txt": "red", "none/a.jpg": "", "only/labels.txt": "red\n"})
    assert faults(read, tmp_path / "a.txt") == [
        f"{tmp_path}/a.txt: is a file, should be a folder with a text file per image, such as car.jpg.txt"
    ]
    for folder in ("none", "only"):
        assert faults(read, tmp_path / folder) == [
            f"{tmp_path}/{folder}: holds no text files, should hold one per image, such as car.jpg.txt"
        ]


@pytest.mark.parametrize(
    ("files", "is_text_files"),
    [
        (["a.jpg.txt"], True),
        (["in/deep/a.PNG.TXT", "labels.txt"], True),
        (["a.txt", "b.txt"], True),
        (["a.jpg", "a.jpg.txt"], True),
        (["a.jpg", "a.txt"], False),
        (["red/a.jpg", "notes.txt"], False),
        (["labels.txt"], False),
        (["labels.txt", "red/a.jpg"], False),
        ([".a.txt", ".in/a.jpg.txt"], False),
        ([], False),
    ],
)
def test_it_is_told_from_folders_of_images(tmp_path, files, is_text_files):
    assert text_files.recognises(put(tmp_path, **dict.fromkeys(files, ""))) is is_text_files


def test_a_file_is_not_recognised(tmp_path):
    assert not text_files.recognises(put(tmp_path, **{"a.jpg.txt": ""}) / "a.jpg.txt")


# ---- writing


def test_the_written_files_are_plain(tmp_path):
    written = labelled(["b/é.jpg", "a.jpg"], ["red", "dark hat"], [[1, 1], [0, 0]])
    text_files.write(written, tmp_path / "texts", OPTIONS)
    found = {str(path.relative_to(tmp_path / "texts")): path for path in (tmp_path / "texts").rglob("*.txt")}
    assert {name: path.read_bytes() for name, path in found.items()} == {
        "labels.txt": b"red\ndark hat\n",
        "b/é.jpg.txt": b"red\ndark hat\n",
        "a.jpg.txt": b"",
    }


@settings(max_examples=60, deadline=None)
@given(drawn=labelled_sets(file_names, values=(0, 1)))
def test_what_is_written_is_read_the_same(drawn, tmp_path_factory):
    images, labels, rows = drawn
    assume(not blocked_files(f"{name}.txt" for name in images))
    folder = tmp_path_factory.mktemp("texts")
    found = reread(text_files, labelled(images, labels, rows, folder), folder / "texts", root=folder)
    assert found == (labels, sorted(zip(images, rows)))


def test_an_image_without_an_image_s_suffix_is_written_where_it_is_there(tmp_path):
    put(tmp_path / "images", **{"photo 7": ""})
    written = labelled(["photo 7"], ["red"], [[1]], tmp_path / "images")
    assert reread(text_files, written, tmp_path / "texts", root=tmp_path / "images") == (["red"], [("photo 7", [1])])


@pytest.mark.parametrize(
    ("images", "rows", "fault"),
    [
        (["a.jpg"], [[-1]], "'a.jpg' has unknown labels, which a text file cannot hold; csv, jsonl and coco can hold"),
        (["a"], [[1]], "the name 'a' does not end as an image's does: .bmp, "),
        (["labels"], [[1]], "the name 'labels' does not end as an image's does: .bmp, "),
        ([".a.jpg"], [[1]], "the path '.a.jpg' has an empty or a hidden part, which no folder is read for, so no text"),
        (["b/../a.jpg"], [[1]], "the path 'b/../a.jpg' has an empty or a hidden part"),
        (["b//a.jpg"], [[1]], "the path 'b//a.jpg' has an empty or a hidden part"),
        (["../a.jpg"], [[1]], "the path '../a.jpg' leaves the image root"),
        (["/etc/a.jpg"], [[1]], "the path '/etc/a.jpg' is absolute"),
        (["x" * 250 + ".jpg"], [[1]], "the name 'xxxxxxxxxxxxxxxxxxxx"),
        (
            ["a.jpg", "a.jpg.txt/b.jpg"],
            [[1], [0]],
            "'a.jpg.txt' would be a file where other images need a folder; rename",
        ),
    ],
)
def test_what_text_files_cannot_hold_is_refused_before_anything_is_made(tmp_path, images, rows, fault):
    written = labelled(images, ["red"], rows, tmp_path / "images")
    found = faults(text_files.write, written, tmp_path / "texts", OPTIONS)
    assert len(found) == 1
    assert found[0].startswith(fault)
    assert not (tmp_path / "texts").exists()


def test_an_image_whose_text_would_be_labels_txt_is_refused(tmp_path):
    put(tmp_path / "images", labels="")
    written = labelled(["labels"], ["red"], [[1]], tmp_path / "images")
    assert len(faults(text_files.write, written, tmp_path / "texts", OPTIONS)) == 1
    assert not (tmp_path / "texts").exists()
