"""The whole of mxml make-lst on a table of many images: seconds and peak memory.

Makes that many empty files and their table of 8 labels in a temporary folder, and splits them in three with groups by
name. With ``--ignore-duplicates``: without it, mxml make-lst also opens every image to keep those that look alike
together. That takes 0.4 ms of a processor for a photograph of 384 x 256 pixels (check_speed.py measures it), which is
some 4 minutes for a million of them on two processors, and longer for larger ones.

    python benchmarks/make_lst.py --images 1000000
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import harness
import numpy as np

CLASSES, A_FOLDER = 8, 1000
OPTIONS = ("--split", "0.8,0.1,0.1", "--group-by", "^(.*/..)", "--ignore-duplicates")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    count = arguments.images
    command = [sys.executable, "-m", "mxml", "make-lst", "labels.csv", *OPTIONS]
    environment = {**os.environ, "PYTHONPATH": str(harness.ROOT)}
    taken = []
    with tempfile.TemporaryDirectory() as place:
        make_data(Path(place), count)
        for _ in range(arguments.rounds):
            # Images that are in lists already would not be split again.
            shutil.rmtree(Path(place) / "lists", ignore_errors=True)
            started = time.perf_counter()
            subprocess.run(command, cwd=place, env=environment, check=True, stdout=subprocess.DEVNULL)
            taken.append(time.perf_counter() - started)
    seconds = harness.Median.of(taken)
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"{harness.machine()}\n")
    print(f"`mxml make-lst labels.csv {' '.join(OPTIONS)}`, {count:,} images; {arguments.rounds} rounds:\n")
    print(
        harness.markdown_table(
            ["images x labels", "seconds", "peak memory, MB"], [[f"{count:,} x {CLASSES}", seconds, memory]]
        )
    )
    print(f"\nRepeat with `{harness.repeat_with()}`.")


def make_data(place: Path, count: int) -> None:
    chance = np.random.default_rng(0)
    labels = (chance.random((count, CLASSES)) < np.linspace(0.02, 0.4, CLASSES)).astype(int).tolist()
    with open(place / "labels.csv", "w") as table:
        print("image", *(f"label{number}" for number in range(CLASSES)), sep=",", file=table)
        for number, row in enumerate(labels):
            name = f"{number // A_FOLDER:04}/{number % A_FOLDER:03}.jpg"
            if number % A_FOLDER == 0:
                (place / "images" / name).parent.mkdir(parents=True)
            (place / "images" / name).touch()
            print(name, *row, sep=",", file=table)


if __name__ == "__main__":
    main()
