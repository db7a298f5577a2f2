"""Fixtures for the tests of training."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tiny


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory):
    """The data and the network of ``tiny``, to be copied."""
    folder = tmp_path_factory.mktemp("data")
    tiny.make_data(folder)
    return folder


@pytest.fixture
def folder(tiny_data, tmp_path):
    """A fresh copy of these, to be written beside."""
    shutil.copytree(tiny_data, tmp_path / "d")
    return tmp_path / "d"


@pytest.fixture(scope="module")
def killer():
    """Run ``mxml train`` in a folder, killed as killer.py describes, and return its code and its output."""
    command = [sys.executable, str(Path(__file__).with_name("killer.py"))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin and process.stdout
        commands, answers = process.stdin, process.stdout

        def run(folder, arguments, *kill):
            commands.write(json.dumps([str(folder), arguments, kill]) + "\n")
            commands.flush()
            return int(answers.readline()), (folder / "output").read_text()

        yield run
    assert process.returncode == 0
