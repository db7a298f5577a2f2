"""``mxml make-lst`` that is killed while it replaces lists: nobody reads a mixture of old and new ones."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from mxml.data.formats.sources import LabelSources
from mxml.data.lst_file import read_good_lines, read_lst
from mxml.errors import ListError, StorageError
from mxml.prepare.check import check_lists
from mxml.prepare.make_lists import make_lists
from mxml.staging import finish_move, is_half_moved, staged

OLD, NEW = "red,hat", "red,hat,blue"
MAKE = ["make-lst", "labels.csv", "--root", "images", "--ignore-duplicates"]
REPLACE = [*MAKE, "--new-split", "--seed", "3", "--force"]
# Runs mxml and kills the process before a file with the name and folder given appears.
KILLED = """
import os, signal, sys
name, folder, *sys.argv[1:] = sys.argv[1:]
def kill(event, arguments):
    if event == "os.rename" and os.fspath(arguments[1]) == os.path.join(folder, name):
        os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(kill)
from mxml.cli import main
main()
"""


def write_table(names):
    count = len(names.split(","))
    rows = [[f"{number}.jpg", *(str(number >> bit & 1) for bit in range(count))] for number in range(40)]
    Path("labels.csv").write_text(f"image,{names}\n" + "".join(f"{','.join(row)}\n" for row in rows))


def contents(folder):
    return {path.name: path.read_bytes() for path in Path(folder).iterdir() if path.is_file()}


@pytest.fixture
def before(tmp_path, monkeypatch):
    """The lists that are there, and those that are to replace them."""
    monkeypatch.chdir(tmp_path)
    Path("images").mkdir()
    for number in range(40):
        Path("images", f"{number}.jpg").write_bytes(b"")
    write_table(OLD)
    subprocess.run([sys.executable, "-m", "mxml", *MAKE], check=True, capture_output=True)
    shutil.copytree("lists", "others")
    write_table(NEW)
    subprocess.run([sys.executable, "-m", "mxml", *REPLACE, "--out", "others"], check=True, capture_output=True)
    old, new = contents("lists"), contents("others")
    assert all(old[name] != new[name] for name in ("labels.txt", "train.lst", "val.lst"))
    return old, new


@pytest.mark.parametrize("name", ["labels.txt", "train.lst", "val.lst"])
def test_lists_that_are_half_replaced_are_refused_until_the_command_is_started_again(before, name):
    old, new = before
    done = subprocess.run([sys.executable, "-c", KILLED, name, "lists", *REPLACE], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert contents("lists")["val.lst"] == old["val.lst"]

    for read in (read_lst, read_good_lines, lambda path: check_lists([path])):
        with pytest.raises(ListError) as caught:
            read("lists/val.lst")
        assert caught.value.faults == (
            "lists/val.lst: may not belong to the lists beside it: a process was killed while it replaced the files in "
            "lists, or is still at it; start the command that makes them again, which finishes that first",
        )
    # Without --force, which would let it replace lists: these are replaced already.
    done = subprocess.run([sys.executable, "-m", "mxml", *MAKE], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "lists: finished replacing the files there, which a killed process had begun" in done.stderr
    assert contents("lists") == new and "The lists are unchanged." in done.stdout
    assert read_lst("lists/val.lst").num_classes == 3
    assert not is_half_moved(Path("lists")) and ".mxml.moving" not in os.listdir("lists")


def test_a_process_killed_before_it_moves_anything_leaves_the_old_lists(before):
    old, _ = before
    done = subprocess.run([sys.executable, "-c", KILLED, ".mxml.moving", "lists", *REPLACE], capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert contents("lists") == old and read_lst("lists/val.lst").num_classes == 2
    make_lists(LabelSources((Path("labels.csv"),), Path("images")), Path("lists"), force=True)
    assert read_lst("lists/val.lst").num_classes == 3


def test_a_conversion_that_was_killed_is_finished_by_the_same_command(before):
    # Its source is in the folder that it writes to.
    Path("lists/train.csv").write_text("old")
    convert = ["convert", "lists/train.lst", "--to", "csv", "--out", "lists/train.csv", "--force"]
    done = subprocess.run(
        [sys.executable, "-c", KILLED, "train.csv", "lists", *convert], capture_output=True, text=True
    )
    assert done.returncode == -signal.SIGKILL and ".mxml.moving" in os.listdir("lists"), done.stderr
    done = subprocess.run([sys.executable, "-m", "mxml", *convert], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "lists: finished replacing the files there, which a killed process had begun" in done.stderr
    assert ".mxml.moving" not in os.listdir("lists") and Path("lists/train.csv").read_text().startswith("image,")


def test_a_reader_waits_for_a_process_that_is_still_moving(tmp_path, monkeypatch):
    for name in "ab":
        (tmp_path / name).write_text("old")
    waits, answers, replace, flock = threading.Event(), [], os.replace, fcntl.flock
    reader = threading.Thread(target=lambda: answers.append(is_half_moved(tmp_path)))

    def locking(handle, how):
        try:
            flock(handle, how)
        except BlockingIOError:
            waits.set()
            raise

    def replacing(source, target):
        if Path(target).name == "b":
            reader.start()
            assert waits.wait(60) and answers == []
        replace(source, target)

    monkeypatch.setattr("mxml.staging._PATIENCE", 120)
    monkeypatch.setattr(fcntl, "flock", locking)
    monkeypatch.setattr(os, "replace", replacing)
    with staged(tmp_path, force=True) as staging:
        for name in "ab":
            (staging.path / name).write_text("new")
    reader.join()
    assert answers == [False]


def begin_move(folder):
    """Return the handle by which a process holds the folder that it moves files out of."""
    (folder / ".mxml.moving" / "new").mkdir(parents=True)
    (folder / ".mxml.moving" / "new" / "b").write_text("new")
    handle = os.open(folder / ".mxml.moving", os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    return handle


@pytest.mark.parametrize("call", [is_half_moved, finish_move])
def test_a_move_that_begins_while_one_looks_is_another_process_business(tmp_path, monkeypatch, call):
    handles: list[int] = []
    open_file = os.open

    def opening(path, *flags, **options):
        try:
            return open_file(path, *flags, **options)
        except FileNotFoundError:
            monkeypatch.undo()
            handles.append(begin_move(tmp_path))
            raise

    monkeypatch.setattr(os, "open", opening)
    assert not call(tmp_path)
    os.close(handles.pop())
    assert os.listdir(tmp_path) == [".mxml.moving"] and is_half_moved(tmp_path)


def test_only_the_move_that_was_waited_for_is_finished(tmp_path, monkeypatch):
    os.close(begin_move(tmp_path))
    handles: list[int] = []
    flock = fcntl.flock

    def locking(handle, how):
        if not handles:
            # The process ends here, and another begins.
            monkeypatch.setattr(fcntl, "flock", flock)
            (tmp_path / ".mxml.moving").rename(tmp_path / "done")
            handles.append(begin_move(tmp_path))
        flock(handle, how)

    monkeypatch.setattr("mxml.staging._PATIENCE", 0)
    monkeypatch.setattr(fcntl, "flock", locking)
    with pytest.raises(StorageError, match="another process has been replacing files there"):
        finish_move(tmp_path)
    os.close(handles.pop())
    assert finish_move(tmp_path) and sorted(os.listdir(tmp_path)) == ["b", "done"]


def test_a_process_that_stopped_while_it_moves_is_not_waited_for_without_end(tmp_path, monkeypatch):
    handle = begin_move(tmp_path)
    monkeypatch.setattr("mxml.staging._PATIENCE", 0.1)
    with pytest.raises(ListError, match=r"or is still at it"):
        read_lst(tmp_path / "train.lst")
    with pytest.raises(StorageError, match=r"wait until it ends, or continue or end it where it was stopped"):
        finish_move(tmp_path)
    os.close(handle)


def test_a_link_to_another_folder_is_never_moved_out_of(tmp_path):
    (tmp_path / "mine" / "new").mkdir(parents=True)
    (tmp_path / "mine" / "new" / "val.lst").write_text("0\t1\ta.jpg\n")
    (tmp_path / "lists").mkdir()
    os.symlink("../mine", tmp_path / "lists" / ".mxml.moving")
    assert not finish_move(tmp_path / "lists") and not is_half_moved(tmp_path / "lists")
    assert (tmp_path / "mine" / "new" / "val.lst").exists()


@pytest.mark.parametrize("path", ["none/train.lst", "x" * 300 + "/train.lst", "x\0y/train.lst"])
def test_a_list_in_a_folder_that_cannot_be_is_one_line(tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    if "\0" in path:
        assert not is_half_moved(Path(path).parent)
    else:
        with pytest.raises(ListError, match=r"train\.lst: cannot be read: "):
            read_lst(path)
