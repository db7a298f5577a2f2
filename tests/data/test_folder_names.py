"""Labels in the names of folders."""

from __future__ import annotations

import os

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from labelled_sets import file_names, label_names, labelled, labelled_sets, said
from needs import lacking

from mxml.data.formats import folder_names
from mxml.data.formats.options import FormatOptions
from mxml.data.image_list import path_fault
from mxml.errors import ListError

OPTIONS = FormatOptions()
plain_labels = label_names.filter(lambda name: not any(sign in name for sign in "/_&") and not name.startswith("."))


def touch(root, *files):
    for name in files:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())


def read(path, root=None, options=OPTIONS):
    return said(folder_names.read(path, root or path, options))


def faults(call, *arguments):
    with pytest.raises(ListError) as caught:
        call(*arguments)
    return list(caught.value.faults)


# ---- reading


def test_labels_are_the_parts_of_the_folder_s_name(tmp_path):
    touch(tmp_path, "red_dress/2.jpg", "red_dress/1.JPG", "shop/blue__dress_/é 1.png", "hat/a.webp")
    touch(tmp_path, "hat/notes.txt", "hat/.hidden.jpg", ".cache/x.jpg", "dress_ red/3.jpg")
    labelled = folder_names.read(tmp_path, tmp_path, OPTIONS)
    assert said(labelled) == (
        ["blue", "dress", "hat", "red"],
        [
            ("dress_ red/3.jpg", [0, 1, 0, 1]),
            ("hat/a.webp", [0, 0, 1, 0]),
            ("red_dress/1.JPG", [0, 1, 0, 1]),
            ("red_dress/2.jpg", [0, 1, 0, 1]),
            ("shop/blue__dress_/é 1.png", [1, 1, 0, 0]),
        ],
    )
    assert labelled.images.path(1) == str(tmp_path / "hat/a.webp")


def test_another_character_splits_or_none(tmp_path):
    touch(tmp_path, "red-dark_dress/1.jpg", "hat/2.jpg")
    assert read(tmp_path, options=FormatOptions(split_char="-"))[0] == ["dark_dress", "hat", "red"]
    assert read(tmp_path, options=FormatOptions(split_char="")) == (
        ["hat", "red-dark_dress"],
        [("hat/2.jpg", [1, 0]), ("red-dark_dress/1.jpg", [0, 1])],
    )


def test_every_folder_on_the_way_gives_labels_where_they_are_nested(tmp_path):
    touch(tmp_path, "red/dress/1.jpg", "red/dark_hat/_/2.jpg", "_/3.jpg")
    assert read(tmp_path, options=FormatOptions(nested=True)) == (
        ["dark", "dress", "hat", "red"],
        [("_/3.jpg", [0, 0, 0, 0]), ("red/dark_hat/_/2.jpg", [1, 0, 1, 1]), ("red/dress/1.jpg", [0, 1, 0, 1])],
    )
    assert read(tmp_path) == (["dress"], [("_/3.jpg", [0]), ("red/dark_hat/_/2.jpg", [0]), ("red/dress/1.jpg", [1])])


def test_a_folder_within_the_root_keeps_names_relative_to_the_root(tmp_path):
    touch(tmp_path, "clothes/red_hat/1.jpg", "other/x.jpg")
    assert read(tmp_path / "clothes", tmp_path) == (["hat", "red"], [("clothes/red_hat/1.jpg", [1, 1])])
    nested = FormatOptions(nested=True)
    assert read(tmp_path / "clothes", tmp_path, nested) == (["hat", "red"], [("clothes/red_hat/1.jpg", [1, 1])])


def test_labels_txt_in_the_folder_fixes_the_labels_unless_classes_are_given(tmp_path):
    touch(tmp_path, "red/a.jpg", "hat/b.jpg")
    (tmp_path / "labels.txt").write_text("tie\nred\nhat\n")
    assert read(tmp_path) == (["tie", "red", "hat"], [("hat/b.jpg", [0, 0, 1]), ("red/a.jpg", [0, 1, 0])])
    (tmp_path / "labels.txt").write_text("tie\nred\n")
    assert faults(read, tmp_path) == [
        f"{tmp_path}/hat/b.jpg: the label 'hat' is not in {tmp_path}/labels.txt; add it there, or give `classes_file`"
    ]
    assert read(tmp_path, options=FormatOptions(classes=("red",)))[0] == ["hat", "red"]


def test_images_in_no_folder_are_named(tmp_path):
    touch(tmp_path, "loose.jpg", "red/a.jpg", "__/b.jpg", "other.png")
    assert faults(read, tmp_path) == [
        f"{tmp_path}: holds 2 images in no labelled folder, such as 'loose.jpg', should be in a folder such as "
        "red_dress; if a table or file has the labels, give that as the source"
    ]


def test_folders_that_hold_nothing_or_lie_elsewhere_are_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "root").mkdir()
    with pytest.raises(ListError, match="holds no images"):
        read(tmp_path / "empty")
    with pytest.raises(ListError, match="is outside of the image root"):
        read(tmp_path / "empty", tmp_path / "root")
    touch(tmp_path, "_/a.jpg")
    with pytest.raises(ListError, match="holds no labels"):
        read(tmp_path)


def test_a_file_in_place_of_a_folder_is_refused(tmp_path):
    touch(tmp_path, "red")
    assert not folder_names.recognises(tmp_path / "red")
    assert faults(read, tmp_path / "red") == [
        f"{tmp_path}/red: is a file, should be a folder with folders of images named by their labels"
    ]


def test_names_that_are_not_utf8_are_refused(tmp_path):
    (tmp_path / "red").mkdir()
    try:
        (tmp_path / "red" / os.fsdecode(b"caf\xe9.jpg")).write_bytes(b"")
    except OSError:
        lacking("this file system holds no such names")
    assert "is not UTF-8" in faults(read, tmp_path)[0]


# ---- writing


def test_images_go_into_their_labels_folder_without_a_second_copy(tmp_path):
    root, target = tmp_path / "images", tmp_path / "tree"
    touch(root, "a/b.jpg", "c.png", "d/e.jpg", "hat_red/f.jpg")
    (root / "link.jpg").symlink_to("c.png")
    written = labelled(
        ["a/b.jpg", "c.png", "d/e.jpg", "hat_red/f.jpg", "link.jpg"],
        ["red", "hat", "tie"],
        [[1, 1, 0], [0, 1, 0], [0, 0, 0], [1, 1, 0], [1, 0, 0]],
        root,
    )
    folder_names.write(written, target, OPTIONS)
    assert read(target) == (
        ["red", "hat", "tie"],
        [
            ("a/red_hat/b.jpg", [1, 1, 0]),
            ("d/_/e.jpg", [0, 0, 0]),
            ("hat/c.png", [0, 1, 0]),
            ("hat_red/f.jpg", [1, 1, 0]),
            ("red/link.jpg", [1, 0, 0]),
        ],
    )
    assert (target / "a/red_hat/b.jpg").samefile(root / "a/b.jpg")
    assert (target / "red/link.jpg").read_bytes() == b"c.png"
    assert (target / "labels.txt").read_text() == "red\nhat\ntie\n"


def test_images_are_copied_where_they_cannot_be_linked(tmp_path, monkeypatch):
    root, target = tmp_path / "images", tmp_path / "tree"
    touch(root, "a.jpg")

    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    folder_names.write(labelled(["a.jpg"], ["red"], [[1]], root), target, OPTIONS)
    assert (target / "red/a.jpg").read_bytes() == b"a.jpg"
    assert not (target / "red/a.jpg").samefile(root / "a.jpg")


def test_what_was_read_is_written_as_it_was(tmp_path):
    root, target = tmp_path / "images", tmp_path / "tree"
    touch(root, "red_hat/a.jpg", "hat__red/b.jpg", "shop/__/c.jpg")
    folder_names.write(folder_names.read(root, root, OPTIONS), target, OPTIONS)
    assert read(target) == read(root)


@settings(max_examples=50, deadline=None)
@given(
    drawn=labelled_sets(file_names, plain_labels, (0, 1)), split=st.sampled_from(["_", "&", "__"]), nested=st.booleans()
)
def test_what_is_written_is_read_the_same(drawn, split, nested, tmp_path_factory):
    images, labels, rows = drawn
    # Nested folders would all be labels, so there the images lie side by side.
    images = [name.rpartition("/")[2] for name in images] if nested else images
    assume(not any(map(path_fault, images)) and "labels.txt" not in labels)
    assume(len({name.rpartition("/")[2] for name in images}) == len(images))
    folder = tmp_path_factory.mktemp("folders")
    touch(folder / "images", *images)
    options = FormatOptions(split_char=split, nested=nested)
    folder_names.write(labelled(images, labels, rows, folder / "images"), folder / "tree", options)
    assert folder_names.recognises(folder / "tree")
    label_names, found = read(folder / "tree", options=options)
    assert label_names == labels
    # Each image's bytes are its old name.
    old = [((folder / "tree" / name).read_bytes().decode(), row) for name, row in found]
    assert sorted(old) == sorted(zip(images, rows))


def test_one_label_a_folder_needs_no_split_character(tmp_path):
    touch(tmp_path / "images", "a.jpg", "b/c.jpg")
    options = FormatOptions(split_char="")
    written = labelled(["a.jpg", "b/c.jpg"], ["dark_red", "_"], [[1, 0], [0, 1]], tmp_path / "images")
    folder_names.write(written, tmp_path / "tree", options)
    assert read(tmp_path / "tree", options=options) == (
        ["dark_red", "_"],
        [("b/_/c.jpg", [0, 1]), ("dark_red/a.jpg", [1, 0])],
    )


LONG = "x" * 130


@pytest.mark.parametrize(
    ("images", "labels", "rows", "options", "fault"),
    [
        (
            ["a.jpg"],
            ["red"],
            [[-1]],
            {},
            "'a.jpg' has unknown labels, which a folder's name cannot hold; csv, jsonl and",
        ),
        (
            ["a.jpg"],
            ["dark_red"],
            [[1]],
            {},
            "the label 'dark_red' of 'a.jpg' holds '_', which separates labels unless `split_char` is another; csv",
        ),
        (["a.jpg"], ["red/hat"], [[1]], {}, "the label 'red/hat' of 'a.jpg' holds '/', which separates labels; csv"),
        (["a.jpg"], [".net"], [[1]], {}, "the path '.net/a.jpg' has an empty or a hidden part, which no folder is"),
        (["a.jpg"], [LONG, LONG + "y"], [[1, 1]], {}, "the name 'xxxxxxxxxxxx"),
        (
            ["a.jpg"],
            ["red", "hat"],
            [[1, 1]],
            {"split_char": ""},
            "'a.jpg' has 2 labels, should have 1 where folder names are not split",
        ),
        (
            ["a.jpg"],
            ["red", "hat"],
            [[0, 0]],
            {"split_char": ""},
            "'a.jpg' has 0 labels, should have 1 where folder names are not split",
        ),
        (["b/a.jpg"], ["red"], [[1]], {"nested": True}, "the labels of 'b/a.jpg' would be read as b, red, given"),
        (["a.jpg"], ["x_", "y"], [[1, 1]], {"split_char": "__"}, "the labels of 'a.jpg' would be read as x, _y, given"),
        (["red/a.jpg", "a.jpg"], ["red"], [[1], [1]], {}, "'red/a.jpg' and 'a.jpg' would both be 'red/a.jpg'; rename"),
        (["a.jpg"], ["labels.txt"], [[1]], {}, "'labels.txt' would be a file where other images need a folder; csv"),
        (["a.gif"], ["red"], [[1]], {}, "the name 'a.gif' does not end as an image's does: .bmp, .jpeg, .jpg, "),
        ([".a.jpg"], ["red"], [[1]], {}, "the path '.a.jpg' has an empty or a hidden part, which no folder is read"),
        (["b//a.jpg"], ["red"], [[1]], {}, "the path 'b//a.jpg' has an empty or a hidden part"),
        (["b/../a.jpg"], ["red"], [[1]], {}, "the path 'b/../a.jpg' has an empty or a hidden part"),
        (["../a.jpg"], ["red"], [[1]], {}, "the path '../a.jpg' leaves the image root"),
        (["/etc/a.jpg"], ["red"], [[1]], {}, "the path '/etc/a.jpg' is absolute"),
    ],
)
def test_what_folders_cannot_hold_is_refused_before_anything_is_made(tmp_path, images, labels, rows, options, fault):
    root, target = tmp_path / "images", tmp_path / "tree"
    touch(root / "deep", *(name for name in images if not name.startswith("/")))
    written = labelled(images, labels, rows, root / "deep")
    found = faults(folder_names.write, written, target, FormatOptions(**options))
    assert len(found) == 1
    assert found[0].startswith(fault)
    assert not target.exists()


def test_missing_images_are_named_before_anything_is_made(tmp_path):
    touch(tmp_path, "images/b.jpg")
    written = labelled(["a.jpg", "b.jpg", "c.jpg"], ["red"], [[1], [1], [0]], tmp_path / "images")
    assert faults(folder_names.write, written, tmp_path / "tree", OPTIONS) == [
        f"{tmp_path}/images/{name}: does not exist, should be an image to put into its labels' folder"
        for name in ("a.jpg", "c.jpg")
    ]
    assert not (tmp_path / "tree").exists()


def test_images_in_formats_that_nothing_reads_are_counted(tmp_path):
    touch(tmp_path, "hat/1.jpg", "hat/2.HEIC", "red/3.heic", "red/4.gif", "red/notes.txt", "red/.5.gif")
    found = folder_names.read(tmp_path, tmp_path, OPTIONS)
    assert found.images.names() == ["hat/1.jpg"]
    assert found.notes == (
        f"{tmp_path}: 1 .gif, 2 .heic files are skipped: images end in .bmp .jpeg .jpg .png .tif .tiff .webp",
    )
    (tmp_path / "hat/1.jpg").unlink()
    assert faults(folder_names.read, tmp_path, tmp_path, OPTIONS) == [
        f"{tmp_path}: holds no images but 1 .gif, 2 .heic files, which are skipped; should hold folders of images "
        "named by their labels, or labels.csv"
    ]


def test_pictures_in_a_folder_that_is_no_label_have_no_labels(tmp_path):
    (tmp_path / "images").mkdir()
    for number in range(3):
        (tmp_path / "images" / f"{number}.jpg").touch()
    (tmp_path / "labels.txt").write_text("red\nblue\n")
    with pytest.raises(ListError, match=r"nothing says which image has which label: .* named images,") as caught:
        folder_names.read(tmp_path, tmp_path, FormatOptions())
    assert len(caught.value.faults) == 1
