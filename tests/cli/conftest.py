"""Fixtures of the commands' tests: a folder with a trained run, one in which much is wrong, and the command itself."""

from __future__ import annotations

import shlex
import shutil
import sys

import pytest
import tiny
from commands import ORIGINAL, process

from mxml import cli


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder in which the original script's command line, as one types it, has trained; and what that printed."""
    folder = tmp_path_factory.mktemp("cli")
    tiny.make_data(folder)
    run = process(folder, "train", *shlex.split(ORIGINAL), "--keep", "all")
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


@pytest.fixture(scope="module")
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
    rows = "".join(f"2-{number}.png,1,0,0\n" for number in range(12))
    (folder / "labels.csv").write_text(f"image,red,green,blue\n{rows}")
    (folder / "empty").mkdir()
    return folder
