"""Several sources read as one set, and what a person says about reading them."""

from __future__ import annotations

import pytest

from mxml.data.formats.sources import LabelSources
from mxml.errors import ListError, SettingError


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.csv").write_text("image,red,hat\na.jpg,1,0\n")
    (tmp_path / "b.csv").write_text("image,hat,tie\nb.jpg,1,1\na.jpg,0,0\n")
    (tmp_path / "classes.txt").write_text("tie\nred\n")
    return tmp_path


def sources(folder, *names, **settings):
    return LabelSources(tuple(folder / name for name in names), **settings)


def said(labelled):
    return list(labelled.label_names), list(zip(labelled.images.names(), labelled.images.labels.tolist()))


def test_sources_are_one_set(folder):
    (folder / "b.csv").write_text("image,hat,tie\nb.jpg,1,1\n")
    labelled, formats = sources(folder, "a.csv", "b.csv").read()
    assert said(labelled) == (["red", "hat", "tie"], [("a.jpg", [1, 0, 0]), ("b.jpg", [0, 1, 1])])
    assert [format.NAME for format in formats] == ["csv", "csv"]
    assert labelled.images.root == "images"


def test_wanted_labels_are_picked_and_others_left_out_on_request(folder):
    wanted = {"classes_file": folder / "classes.txt"}
    with pytest.raises(ListError, match=r"classes\.txt: lacks the label 'hat' .* `ignore_unknown` leaves it out"):
        sources(folder, "b.csv", **wanted).read()
    labelled, _ = sources(folder, "b.csv", **wanted, ignore_unknown=True).read()
    assert said(labelled) == (["tie", "red"], [("b.jpg", [1, 0]), ("a.jpg", [0, 0])])
    with pytest.raises(SettingError, match=r"^`classes_file` none: should be a file, as `ignore_unknown`"):
        sources(folder, "b.csv", ignore_unknown=True)


def test_another_number_of_labels_is_refused(folder):
    assert sources(folder, "a.csv", num_classes=2).read()
    with pytest.raises(ListError, match=r"a\.csv: has 2 labels, should be 3: red, hat$"):
        sources(folder, "a.csv", num_classes=3).read()


def test_roots_that_differ_are_refused(folder):
    (folder / "tree/red").mkdir(parents=True)
    (folder / "tree/red/c.jpg").write_bytes(b"")
    with pytest.raises(ListError, match=r"the images are under .*tree and images; `root` says where all are"):
        sources(folder, "a.csv", "tree").read()


def test_lists_keep_their_index_numbers_where_no_two_are_the_same(folder):
    (folder / "labels.txt").write_text("red\nhat\n")
    (folder / "a.lst").write_text("7\t1\t0\ta.jpg\n9\t0\t1\tb.jpg\n")
    (folder / "b.lst").write_text("8\t1\t1\tc.jpg\n9\t0\t1\tb.jpg\n")
    (folder / "c.lst").write_text("7\t1\t1\td.jpg\n")
    assert sources(folder, "a.lst", "b.lst").read()[0].images.index.tolist() == [7, 9, 8]
    assert sources(folder, "a.lst", "c.lst").read()[0].images.index.tolist() == [0, 1, 2]
