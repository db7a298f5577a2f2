"""The tutorial's page: its commands, as they stand, on a small set of drawings and for fewer epochs."""

from __future__ import annotations

import csv
import json
import os
import re
import shlex
import subprocess
import sys

import cv2
import garments
import pytest

EPOCHS = 3


def shell_blocks(checkout):
    text = (checkout / "docs" / "tutorial.md").read_text(encoding="utf-8")
    return re.findall(r"^```sh\n(.*?)^```", text, re.M | re.S)


@pytest.fixture(scope="module")
def followed(checkout, tmp_path_factory):
    """A folder in which all commands of the page have run, in their order; and what each block printed."""
    folder = tmp_path_factory.mktemp("tutorial")
    garments.make_folders(folder / "dataset", 12, folder / "examples")
    mxml = f'set -eu\nmxml() {{ {shlex.quote(sys.executable)} -m mxml "$@"; }}\n'
    printed = []
    for block in shell_blocks(checkout):
        block, changed = re.subn(r"--num-epoch \d+", f"--num-epoch {EPOCHS}", block)
        assert changed == block.count("mxml train")
        run = subprocess.run(
            ["sh", "-c", mxml + block],
            capture_output=True,
            text=True,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": f"{checkout}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"},
        )
        assert run.returncode == 0, f"{block}\n{run.stdout}{run.stderr}"
        printed.append(run.stdout)
    return folder, printed


def history(folder, name):
    with open(folder / "runs" / f"{name}-history.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_the_commands_of_the_page_leave_what_it_says(followed):
    folder, _ = followed
    assert (folder / "lists" / "labels.txt").read_text().split() == ["black", "blue", "dress", "jeans", "red", "shirt"]
    lines = {name: len((folder / "lists" / f"{name}.lst").read_text().splitlines()) for name in ("train", "val")}
    assert sum(lines.values()) == 72 and 10 <= lines["val"] <= 18
    rows = history(folder, "fashion")
    assert len(rows) == EPOCHS and float(rows[-1]["train_loss"]) < float(rows[0]["train_loss"])
    assert cv2.imread(str(folder / "runs" / "fashion-curves.png")) is not None
    config = json.loads((folder / "runs" / "fashion.json").read_text())["config"]
    assert (config["network"], config["image_shape"], config["rand_mirror"]) == ("smallervgg", [3, 96, 96], True)


def test_every_example_is_classified_and_drawn_with_its_labels(followed):
    folder, printed = followed
    predicted = next(out for out in printed if out.startswith("examples/"))
    lines = predicted.splitlines()
    assert [line.partition(":")[0] for line in lines] == [f"examples/{name}.png" for name in garments.FOLDERS]
    assert all(re.fullmatch(r"[^:]+: \w+ \d\.\d\d, \w+ \d\.\d\d(; unlike .*)?", line) for line in lines), (
        "two labels each"
    )
    for name in garments.FOLDERS:
        drawing, original = (
            cv2.imread(str(folder / path)) for path in (f"drawn/{name}_res.jpg", f"examples/{name}.png")
        )
        assert drawing.shape[0] > original.shape[0], "with a panel below"


def test_the_check_names_what_never_occurs_together(followed):
    _, printed = followed
    (report,) = (out for out in printed if "no errors" in out)
    assert re.search(r"every image with black \(\d+\) has jeans", report)


def test_the_classes_of_the_last_part_are_single_labels(followed):
    folder, printed = followed
    rows = history(folder, "classes")
    assert len(rows) == EPOCHS and all(0 <= float(row["accuracy"]) <= 1 for row in rows)
    assert re.search(r"^accuracy +\d\.\d{4} +\(", printed[-1], re.M)
    predicted = [line for line in printed[-1].splitlines() if line.startswith("examples/")]
    assert len(predicted) == len(garments.FOLDERS) and all(line.count(",") == 0 for line in predicted)
