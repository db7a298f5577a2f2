"""run_train.sh as a new user meets it: a fresh copy of the checkout, an empty environment, the three commands."""

import os
import re
import shutil
import subprocess
import sys

import pytest
from needs import lacking


def copy_of(checkout, target):
    """Copy the files that git knows or would add, as a clone of the next commit would hold them."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=checkout,
        capture_output=True,
        check=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (checkout / name).exists():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(checkout / name, target / name)
    return target


def shell(command, folder, **environment):
    env = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")}
    return subprocess.run(
        ["sh", "-c", command], cwd=folder, capture_output=True, text=True, env={**env, **environment}, timeout=900
    )


@pytest.fixture(scope="module")
def clone(checkout, tmp_path_factory):
    # As git clone calls it.
    return copy_of(checkout, tmp_path_factory.mktemp("clone") / "mxml")


def test_the_three_commands_on_a_fresh_clone(clone):
    first = shell("sh run_train.sh --num-epoch 2", clone)
    assert first.returncode == 0, first.stderr
    assert "mxml: installing into ./.venv" in first.stderr
    assert re.search(r"^epoch 2/2: .*mAP 0\.\d+", first.stderr, re.MULTILINE)
    assert first.stdout.splitlines()[-2:] == [
        "next: mxml predict --prefix model",
        "to use mxml in this shell: . ./.venv/bin/activate",
    ]
    second = shell("sh run_train.sh --num-epoch=1", clone)
    assert second.returncode == 0, second.stderr
    assert "installing" not in second.stderr
    assert (clone / "model-0001.params").exists()
    assert not (clone / "model-0002.params").exists()
    made = shell(". .venv/bin/activate && mxml make-lst --num-classes 8", clone)
    assert made.returncode == 0, made.stderr
    assert "The lists are unchanged." in made.stdout.splitlines()
    tagged = shell(". .venv/bin/activate && mxml predict --prefix model", clone)
    assert tagged.returncode == 0, tagged.stderr
    assert len(tagged.stdout.splitlines()) == len((clone / "lists" / "val.lst").read_text().splitlines())


def test_an_own_prefix_is_not_replaced_and_can_be_resumed(clone):
    """Runs after the test above, in the environment that it made."""
    if not (clone / ".venv" / "bin" / "mxml").exists():
        lacking("needs the environment that the test before makes")
    options = "--prefix own/run --num-epoch 1 --batch-size 64"
    assert shell(f"sh run_train.sh {options}", clone).returncode == 0
    again = shell(f"sh run_train.sh {options}", clone)
    assert again.returncode == 1
    assert "own/run.json: already exists" in again.stderr
    resumed = shell("sh run_train.sh --prefix own/run --resume", clone)
    assert resumed.returncode == 0, resumed.stderr
    assert "resuming after epoch 1" in resumed.stderr


def test_the_python_api_is_found_from_the_folder_that_holds_the_clone(clone):
    """Runs in the same environment; the clone's folder is called as the package is."""
    if not (clone / ".venv" / "bin" / "mxml").exists():
        lacking("needs the environment that a test before makes")
    script = "import mxml; from mxml import Classifier; print(mxml.__file__)"
    found = shell(f"mxml/.venv/bin/python -c '{script}'", clone.parent)
    assert found.returncode == 0, found.stderr
    assert found.stdout.strip() == str(clone / "mxml" / "__init__.py")


def commands_only(folder, *names):
    """Make a folder for PATH with the tools that the scripts call, and stand-ins for Pythons that do not run."""
    folder.mkdir()
    for tool in ("sh", "dirname", "cat", "cksum", "env"):
        (folder / tool).symlink_to(shutil.which(tool))
    for name in names:
        (folder / name).write_text("#!/bin/sh\nexit 127\n")
        (folder / name).chmod(0o755)
    return folder


FIND = "root=.; . scripts/environment.sh; find_python"


def test_a_python_that_only_pretends_to_be_there_is_passed_over(checkout, tmp_path):
    path = commands_only(tmp_path / "bin", "python3.12", "python3.11")
    (path / "python3").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (path / "python3").chmod(0o755)
    found = shell(FIND, checkout, PATH=str(path))
    assert (found.returncode, found.stdout.strip()) == (0, str(path / "python3"))


def test_without_a_supported_python_one_line_says_what_is_needed(checkout, tmp_path):
    path = commands_only(tmp_path / "bin", "python3.12")
    (path / "python3").write_text("#!/bin/sh\necho 0\n")
    (path / "python3").chmod(0o755)
    found = shell("sh run_train.sh", checkout, PATH=str(path))
    assert found.returncode == 1
    assert found.stderr == "mxml: needs Python 3.9, 3.10, 3.11 or 3.12 on PATH, and found none\n"


def test_changing_between_the_builds_of_mxnet_installs_again(checkout, tmp_path):
    """With stand-ins for Python and pip: what counts is which installations the script takes for done."""
    root = tmp_path / "a checkout"
    (root / ".venv" / "bin").mkdir(parents=True)
    for name in ("python", "mxml"):
        (root / ".venv" / "bin" / name).write_text("#!/bin/sh\nexit 0\n")
        (root / ".venv" / "bin" / name).chmod(0o755)
    for name in ("setup.py", "constraints.txt"):
        shutil.copy(checkout / name, root / name)
    script = f"root=.; . '{checkout}/scripts/environment.sh'"

    def installed(*asked):
        done = shell("; ".join([script, *(f"install {extra} {mark}" for extra, mark in asked)]), root)
        assert done.returncode == 0, done.stderr
        return done.stderr.count("installing"), sorted(path.name for path in (root / ".venv").glob("installed-*"))

    assert installed(("cpu", "cpu"), ("cpu,test", "test"), ("cpu", "cpu")) == (2, ["installed-cpu", "installed-test"])
    assert installed(("gpu", "gpu"), ("gpu", "gpu")) == (1, ["installed-gpu"])
    assert installed(("cpu,test", "test"), ("gpu", "gpu")) == (2, ["installed-gpu"])
