import os
import stat

import pytest

from mxml import atomic
from mxml.errors import StorageError


def test_a_failed_write_leaves_the_old_content_and_no_litter(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError, match="halfway"), atomic.replacing(path) as temporary:
        with open(temporary, "w") as file:
            file.write("half")
        raise RuntimeError("halfway")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file.txt"]


def test_the_new_content_replaces_the_old_under_the_umask(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    before = os.umask(0o027)
    try:
        atomic.write_text(path, "né\n")
    finally:
        os.umask(before)
    assert path.read_bytes() == b"n\xc3\xa9\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert os.listdir(tmp_path) == ["file.txt"]


def test_what_cannot_be_written_is_a_storage_error_that_names_the_file(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"file/list\.lst: cannot be written: Not a directory$"):
        atomic.write_bytes(tmp_path / "file" / "list.lst", b"")
