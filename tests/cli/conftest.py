"""What tests of the command line share: a folder in which a run has trained, and ways to run a command."""

from __future__ import annotations

import re
import shlex
import shutil
import sys

import pytest
import tiny
from commands import ORIGINAL, process

from mxml import cli


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A folder in which the original script's command line, as one types it, has trained; and what that printed."""
    folder = tmp_path_factory.mktemp("cli")
    tiny.make_data(folder)
    run = process(folder, "train", *shlex.split(ORIGINAL))
    out, err = run.communicate(timeout=120)
    assert run.returncode == 0, err
    return folder, out, err


@pytest.fixture
def folder(trained, tmp_path, monkeypatch):
    """A fresh copy of that folder, and the working directory."""
    shutil.copytree(trained[0], tmp_path / "d")
    monkeypatch.chdir(tmp_path / "d")
    return tmp_path / "d"


@pytest.fixture
def mxml(capfd, monkeypatch):
    """Return a function that runs a command in this process, and returns its exit code, stdout and stderr."""

    def run(*arguments):
        capfd.readouterr()
        monkeypatch.setattr(sys, "argv", ["mxml", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return end.value.code, *capfd.readouterr()

    return run


def snapshot(folder):
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="session")
def wrong(trained, tmp_path_factory):
    """A folder with a trained run, models and lists that are each wrong in one way."""
    folder = tmp_path_factory.mktemp("wrong") / "d"
    shutil.copytree(trained[0], folder)
    symbol, params = (folder / name for name in ("net-symbol.json", "net-0000.params"))
    for name, content in (("text", b"hello\n" * 99), ("cut", params.read_bytes()[:-100])):
        shutil.copy(symbol, folder / f"{name}-symbol.json")
        (folder / f"{name}-0000.params").write_bytes(content)
    shutil.copy(params, folder / "garbage-0000.params")
    (folder / "garbage-symbol.json").write_text('{"nodes": 3')
    shutil.copy(symbol, folder / "folder-symbol.json")
    (folder / "folder-0000.params").mkdir()
    shutil.copy(symbol, folder / "alone-symbol.json")
    for name in ("-symbol.json", "-0002.params"):
        shutil.copy(folder / f"saved/multi{name}", folder / f"old{name}")
        shutil.copy(folder / f"saved/multi{name}", folder / f"hurt{name}")
    (folder / "hurt.json").write_text((folder / "saved" / "multi.json").read_text()[:300])
    lines = (folder / "lists" / "val.lst").read_text().splitlines()
    (folder / "lists" / "wide.lst").write_text("".join(line.replace("\t", "\t0\t", 1) + "\n" for line in lines))
    (folder / "two.txt").write_text("red\ngreen\n")
    (folder / "text.jpg").write_text("hello")
    (folder / "empty").mkdir()
    return folder


@pytest.fixture
def refused(wrong, monkeypatch, mxml):
    """Return a function that checks how a command is refused: its exit code, one line on stderr, nothing written."""

    def check(code, arguments, message):
        monkeypatch.chdir(wrong)
        before = snapshot(wrong)
        found, out, err = mxml(*arguments)
        assert found == code, err
        assert out == ""
        *notes, line = err.splitlines()
        assert all(note.startswith("note: ") for note in notes), err
        assert re.match("mxml: .*" + message, line), err
        if code == 2:
            assert re.search(r"; see mxml[a-z -]* --help$", line)
        assert snapshot(wrong) == before

    return check
