"""``mxml make-lst`` that is killed while it replaces lists: nobody reads a mixture of old and new ones."""

from __future__ import annotations

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
from mxml.errors import ListError
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
            "lists; start the command that makes them again, which finishes that first",
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
    done = subprocess.run([sys.executable, "-c", KILLED, "train.csv", "lists", *convert], capture_output=True)
    assert done.returncode == -signal.SIGKILL and ".mxml.moving" in os.listdir("lists"), done.stderr
    done = subprocess.run([sys.executable, "-m", "mxml", *convert], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "lists: finished replacing the files there, which a killed process had begun" in done.stderr
    assert ".mxml.moving" not in os.listdir("lists") and Path("lists/train.csv").read_text().startswith("image,")


def test_a_reader_waits_for_a_process_that_is_still_moving(tmp_path, monkeypatch):
    for name in "ab":
        (tmp_path / name).write_text("old")
    reached, answers, replace = threading.Event(), [], os.replace
    reader = threading.Thread(target=lambda: answers.append(is_half_moved(tmp_path)))

    def replacing(source, target):
        if Path(target).name == "b":
            reader.start()
            reached.set()
        replace(source, target)

    monkeypatch.setattr(os, "replace", replacing)
    with staged(tmp_path, force=True) as staging:
        for name in "ab":
            (staging.path / name).write_text("new")
    reader.join()
    assert reached.is_set() and answers == [False]


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
