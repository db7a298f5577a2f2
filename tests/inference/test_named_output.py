"""Files for drawings that a person names: what they may not replace."""

from __future__ import annotations

import os

import pytest

from mxml import atomic
from mxml.errors import MxmlError, StorageError
from mxml.inference.named_output import pages, require_output


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("in/a.jpg", "in/deep/b.jpg", "other/a.jpg", "sheet_2.jpg", "sheet_x.jpg", "clip.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "link.mp4").symlink_to("clip.mp4")
    (tmp_path / "some.txt").write_text("in/a.jpg\n")
    (tmp_path / "some.lst").write_text("0\t1\tin/a.jpg\n")
    return tmp_path


@pytest.mark.parametrize(
    ("path", "name", "root"),
    [
        ("clip.mp4", "clip.mp4", None),
        ("./in/../clip.mp4", "clip.mp4", None),
        ("clip.mp4", "link.mp4", None),
        ("clip.mp4", "*.mp4", None),
        ("in/a.jpg", "some.txt", None),
        ("in/a.jpg", "some.lst", "."),
        ("some.txt", "some.txt", None),
    ],
)
def test_an_input_is_replaced_by_no_means(folder, path, name, root):
    for replace in (False, True):
        with pytest.raises(MxmlError, match="is one of the inputs"):
            require_output(path, [name], root, replace=replace)
    require_output("new.jpg", [name], root)


def test_a_picture_in_a_folder_of_inputs_is_refused(folder):
    for path in ("in/a.jpg", "in/new.jpg", "in/deep/new/c.PNG", "other/../in/x.jpg"):
        with pytest.raises(MxmlError, match="would be tagged itself the next time"):
            require_output(path, ["in"], replace=True)
    require_output("inside.jpg", ["in"])
    require_output("in/new.mp4", ["in"])


def test_a_file_that_exists_is_replaced_where_that_is_allowed(folder):
    assert pages("sheet.jpg") == ["sheet_2.jpg"] and pages("none/sheet.jpg") == []
    for path, more in (("other/a.jpg", ()), ("sheet.jpg", pages("sheet.jpg"))):
        with pytest.raises(MxmlError, match="already exists; `force` replaces it"):
            require_output(path, ["in", "-", "http://x/a.jpg"], more=more)
        require_output(path, ["in", "gone.txt", "gone.lst"], replace=True, more=more)


def test_a_folder_that_allows_no_files_is_told_before_the_work(folder, monkeypatch):
    (folder / "locked").mkdir()
    may = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: "locked" not in str(path) and may(path, mode))
    for path in ("locked/x.html", "locked/new/x.html"):
        with pytest.raises(StorageError, match="allows no new files"):
            atomic.require_place(path)
    atomic.require_place("new/x.html")
