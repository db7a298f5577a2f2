"""Files that appear together, or not at all."""

from __future__ import annotations

import errno
import os

import pytest

from mxml.errors import StorageError
from mxml.staging import staged


def tree(folder):
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def write(folder, contents, force=False):
    with staged(folder, force) as staging:
        for name, text in contents.items():
            (staging.path / name).parent.mkdir(exist_ok=True)
            (staging.path / name).write_text(text)
    return {path.name: state for path, state in staging.files}


def test_files_and_folders_appear_with_what_became_of_them(tmp_path):
    out = tmp_path / "deep" / "lists"
    assert write(out, {"a": "1", "b": "2", "tree/c": "3"}) == {"a": "written", "b": "written", "tree": "written"}
    assert tree(tmp_path) == {"deep/lists/a": "1", "deep/lists/b": "2", "deep/lists/tree/c": "3"}
    assert write(out, {"a": "1", "b": "new"}, force=True) == {"a": "unchanged", "b": "replaced"}
    assert (out / "b").read_text() == "new"
    assert sorted(path.name for path in out.iterdir()) == ["a", "b", "tree"], "no temporary folder is left"


def test_files_that_are_there_are_not_touched(tmp_path, monkeypatch):
    write(tmp_path, {"a": "1", "b": "2"})
    inodes = [path.stat().st_ino for path in (tmp_path / "a", tmp_path / "b")]
    monkeypatch.setattr(os, "rename", None)
    assert write(tmp_path, {"a": "1", "b": "2"}) == {"a": "unchanged", "b": "unchanged"}
    assert [path.stat().st_ino for path in (tmp_path / "a", tmp_path / "b")] == inodes


def test_other_content_is_kept_and_nothing_else_appears(tmp_path):
    (tmp_path / "b").write_text("old")
    with pytest.raises(StorageError, match=r"b: already exist with other content; nothing .*; `force` replaces"):
        write(tmp_path, {"a": "1", "b": "2"})
    assert tree(tmp_path) == {"b": "old"}


def test_a_folder_that_holds_something_is_never_replaced(tmp_path):
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/mine").write_text("old")
    with pytest.raises(StorageError, match="tree: is a folder that holds something already"):
        write(tmp_path, {"tree/c": "3"}, force=True)
    with pytest.raises(StorageError, match="tree: is a folder that holds something already"):
        write(tmp_path, {"tree": "a file"}, force=True)
    (tmp_path / "file").write_text("old")
    with pytest.raises(StorageError, match="file: is a file already"):
        write(tmp_path, {"file/c": "3"}, force=True)
    assert tree(tmp_path) == {"tree/mine": "old", "file": "old"}


def test_what_is_no_file_is_never_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(StorageError, match="pipe: is not a regular file; nothing was written"):
        write(tmp_path, {"a": "1", "pipe": "2"}, force=True)
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]


def test_an_empty_folder_may_be_filled(tmp_path):
    (tmp_path / "tree").mkdir()
    assert write(tmp_path, {"tree/c": "3"}) == {"tree": "written"}
    assert tree(tmp_path) == {"tree/c": "3"}


def test_a_failure_leaves_no_trace(tmp_path):
    with pytest.raises(RuntimeError), staged(tmp_path / "new" / "place", force=False) as staging:
        (staging.path / "a").write_text("1")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(StorageError, match="File name too long"), staged(tmp_path / "new" / ("x" * 300), force=False):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    inside = tmp_path / "file" / "lists"
    with pytest.raises(StorageError, match=r"file.*: cannot be written"), staged(inside, force=True):
        pass


def test_a_move_that_fails_takes_the_others_back(tmp_path, monkeypatch):
    (tmp_path / "a").write_text("old")
    replace = os.replace

    def failing(source, target):
        if str(target).endswith("/c"):
            raise OSError(errno.EIO, "Input/output error", str(target))
        replace(source, target)

    monkeypatch.setattr(os, "replace", failing)
    with pytest.raises(StorageError, match=r"/c: cannot be written: Input/output error"):
        write(tmp_path, {"a": "new", "b": "2", "c": "3"}, force=True)
    assert tree(tmp_path) == {"a": "old"}


def test_a_second_process_that_has_begun_to_move_is_named(tmp_path):
    (tmp_path / "a").write_text("old")
    with pytest.raises(StorageError) as caught, staged(tmp_path, force=True) as staging:
        (staging.path / "a").write_text("new")
        (tmp_path / ".mxml.moving" / "new").mkdir(parents=True)
    assert str(caught.value) == (
        f"{tmp_path}: another process has just begun to replace files there; nothing was written; start again once it "
        "has ended"
    )
    assert tree(tmp_path) == {"a": "old"} and sorted(os.listdir(tmp_path)) == [".mxml.moving", "a"]
