"""Which format of labels a file or folder has."""

from __future__ import annotations

import pytest

from mxml.data.formats import csv_columns, csv_tags, default_source, folder_names, json_lines, recognise, text_files
from mxml.errors import ListError


def put(root, **files):
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def test_the_table_in_the_image_folder_comes_before_the_folders_names(tmp_path):
    put(tmp_path, **{"red/a.jpg": ""})
    assert recognise(default_source(tmp_path)) is folder_names
    put(tmp_path, **{"labels.csv": "image,red\na.jpg,1\n"})
    assert recognise(default_source(tmp_path)) is csv_columns


@pytest.mark.parametrize(
    ("name", "content", "format"),
    [
        ("a.csv", "image,red\na.jpg,1\n", csv_columns),
        ("a.tsv", "image\ttags\na.jpg\tred\n", csv_tags),
        ("a.csv", "", csv_columns),
        ("a.jsonl", "", json_lines),
        ("folder/a.jpg.txt", "", text_files),
        ("folder/red/a.jpg", "", folder_names),
    ],
)
def test_each_form_is_known_by_its_looks(tmp_path, name, content, format):
    put(tmp_path, **{name: content})
    assert recognise(tmp_path / name.split("/")[0]) is format


def test_other_files_are_refused(tmp_path):
    put(tmp_path, **{"labels.xml": ""})
    with pytest.raises(ListError, match=r"in no known format; set `format` to one of: .*jsonl.*tags, csv"):
        recognise(tmp_path / "labels.xml")
    with pytest.raises(ListError, match="does not exist"):
        recognise(tmp_path / "labels.csv")
    with pytest.raises(ListError, match="does not exist"):
        recognise(tmp_path / ("x" * 300))


@pytest.mark.parametrize(
    ("file", "content", "format"),
    [
        ("annotations/instances.json", '{"images": [{"id": 1}], "annotations": []}', "coco"),
        ("tags.csv", "image,tags\na.jpg,red\n", "tags"),
        ("labels.csv", "image,red\na.jpg,1\n", "csv"),
        ("list.jsonl", '{"image": "a.jpg", "labels": []}\n', "jsonl"),
        ("texts/a.txt", "red\n", "text-files"),
        ("pack/x.lst", "0\t1\t0\ta.jpg\n", "lst"),
    ],
)
def test_a_folder_that_has_the_labels_in_a_file_is_not_taken_for_labels_by_folders(tmp_path, file, content, format):
    (tmp_path / "images").mkdir()
    (tmp_path / "images/a.jpg").write_bytes(b"")
    assert recognise(tmp_path).NAME == "folders"
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text(content)
    where = tmp_path / (file.partition("/")[0] if format == "text-files" else file)
    with pytest.raises(ListError) as caught:
        recognise(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path}: holds {where}, which looks like labels of the format {format} (")
    assert str(caught.value).endswith("; give that as the source, or say that `format` is folders")


def test_a_folder_of_lists_that_are_split_already_says_how_to_train_on_them(tmp_path):
    for subset in ("train", "val"):
        (tmp_path / f"{subset}.lst").write_text("0\t1\t0\ta.jpg\n")
    (tmp_path / "labels.txt").write_text("red\nblue\n")
    (tmp_path / "images").mkdir()
    (tmp_path / "images/a.jpg").touch()
    with pytest.raises(ListError) as caught:
        recognise(tmp_path)
    options = (
        f"`data_train` {tmp_path}/train.lst `data_val` {tmp_path}/val.lst `image_train` {tmp_path}/images "
        f"`image_val` {tmp_path}/images `labels` {tmp_path}/labels.txt"
    )
    assert f"mxml train takes these as {options};" in str(caught.value)
    # A list alone is no split.
    (tmp_path / "val.lst").unlink()
    with pytest.raises(ListError, match=r"train\.lst, which looks like labels of the format lst"):
        recognise(tmp_path)
