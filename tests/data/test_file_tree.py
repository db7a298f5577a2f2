"""Finding files under a folder, and which names can be found there again."""

from __future__ import annotations

import os

import pytest

from mxml.data.formats.file_tree import blocked_files, file_fault, find_files, find_images, relative_to
from mxml.errors import ListError


def test_files_are_found_by_their_suffix_below_a_folder(tmp_path):
    for name in ("b.jpg", "a/c.PNG", "a/b/d.txt", ".hidden.jpg", ".cache/e.jpg", "a.b/f.jpg", "jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "circle").symlink_to(tmp_path, target_is_directory=True)
    assert find_images(tmp_path) == ["a.b/f.jpg", "a/c.PNG", "b.jpg"]
    assert find_files(tmp_path, (".txt", ".png")) == ["a/b/d.txt", "a/c.PNG"]


def test_a_folder_that_cannot_be_read_is_refused(tmp_path):
    with pytest.raises(ListError, match="none: cannot be read: No such file or directory"):
        find_images(tmp_path / "none")


def test_what_leads_from_a_root_to_a_folder_under_it(tmp_path):
    assert relative_to(tmp_path / "a/b", tmp_path) == "a/b/"
    assert relative_to(tmp_path, tmp_path) == ""
    assert relative_to(tmp_path / "..a", tmp_path) == "..a/"
    with pytest.raises(ListError, match="is outside of the image root"):
        relative_to(tmp_path, tmp_path / "a")


@pytest.mark.parametrize("name", ["a.jpg", "a/b c/d.jpg", "a..b/c", "é" * 127 + "x"])
def test_names_that_a_file_may_have(tmp_path, name):
    assert file_fault(name) is None
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).touch()
    assert find_files(tmp_path, ("",)) == [name]


@pytest.mark.parametrize("name", ["", ".a", "a/.b", "a//b", "a/", "./a", "a/../b", "é" * 128])
def test_names_that_would_not_be_found_again(name):
    assert file_fault(name)


def test_a_file_where_a_folder_has_to_be_is_named():
    assert blocked_files(["a/b", "a/b/c/d", "e", "a/b.jpg", "f/g"]) == ["a/b"]
    assert blocked_files([os.sep.join("ab"), "b", "a.b"]) == []
