"""Trains SqueezeNet v1.0 on miml-scene by several methods: the best validation mAP, and the time to some values of it.

Each method is one whole command with all defaults but what its row names, timed from its start to its end; the cache of
feature vectors is empty, or warm from the run before. The time to an mAP is that of the command's beginning and of the
epochs up to the first that reaches it. The original script's recipe is run by mxml, which is faster than the script was
(``original_recipe.py``); ``--only`` chooses rows by a part of their names.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from harness import ROOT, SHARED, Median, machine, markdown_table, number, repeat_with

DATA = SHARED / "data" / "miml-scene"
SETTINGS = (
    *("--model", str(SHARED / "models" / "squeezenet_v1.0")),
    *("--data-train", str(DATA / "train.lst"), "--image-train", str(DATA / "images")),
    *("--data-val", str(DATA / "val.lst"), "--image-val", str(DATA / "images"), "--labels", str(DATA / "labels.txt")),
)
FEATURES = ("--method", "features")
ORIGINAL = ("--method", "finetune", "--optimizer", "sgd", "--lr", "0.001", "--mom", "0.9", "--wd", "0.0001")
ORIGINAL_REST = ("--preset", "original", "--lr-schedule", "step", "--head-lr-mult", "1", "--warmup-epochs", "0")
# In this order: a warm cache is that of the row before.
METHODS: dict[str, tuple[str, ...]] = {
    "features": FEATURES,
    "features, warm cache": FEATURES,
    "features, 160 pixels": (*FEATURES, "--image-shape", "3,160,160"),
    "features, 160 pixels, warm cache": (*FEATURES, "--image-shape", "3,160,160"),
    "all defaults (lp-ft)": (),
    "the original recipe": (*ORIGINAL, *ORIGINAL_REST),
}
THRESHOLDS = (0.87, 0.90, 0.93)
WARM = "warm cache"


@dataclass(frozen=True)
class Run:
    """One command: its best epoch's validation mAP, its seconds, and those until each threshold was reached."""

    mAP: float
    seconds: float
    seconds_to: tuple[float | None, ...]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", default="0", help="seeds, separated by commas (default: 0)")
    parser.add_argument("--only", action="append", default=[], metavar="PART", help="rows whose name has this in it")
    options = parser.parse_args()
    names = [name for name in METHODS if not options.only or any(part in name for part in options.only)]
    found: dict[str, list[Run]] = {name: [] for name in names}
    for seed in options.seeds.split(","):
        with tempfile.TemporaryDirectory() as folder:
            for name in names:
                # The cache lies beside the prefix: every method but the warm ones has a folder of its own.
                own = Path(folder) / name.removesuffix(f", {WARM}")
                own.mkdir(exist_ok=True)
                run = measure([*METHODS[name], "--seed", seed], own / "run")
                found[name].append(run)
                line = f"{name}, seed {seed}: mAP {run.mAP:.4f}, {run.seconds:.1f} s"
                print(line, file=sys.stderr, flush=True)
    header = ["method", "seeds", "val mAP", "seconds", *(f"seconds to mAP {value:.2f}" for value in THRESHOLDS)]
    print(markdown_table(header, [row(name, runs) for name, runs in found.items()]))
    print(f"\n{machine()}\n\nRepeat with: `{repeat_with()}`")


def measure(options: Sequence[str], prefix: Path) -> Run:
    command = [sys.executable, "-m", "mxml", "train", *SETTINGS, *options, "--prefix", str(prefix), "--force"]
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    started = time.perf_counter()
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True)
    seconds = time.perf_counter() - started
    if done.returncode:
        sys.exit(f"failed (exit {done.returncode}): {' '.join(command)}\n{done.stdout}{done.stderr}")
    sidecar = json.loads(Path(f"{prefix}.json").read_text(encoding="utf-8"))
    metrics = [epoch["metrics"] for epoch in sidecar["epochs"]]
    # What is not in an epoch's time: the start, and all that comes before the first one.
    spent = seconds - sum(epoch["seconds"] for epoch in metrics)
    reached: list[tuple[float, float]] = []
    for epoch in metrics:
        spent += epoch["seconds"]
        reached.append((epoch["val"]["mAP"], spent))
    seconds_to = tuple(next((at for value, at in reached if value >= wanted), None) for wanted in THRESHOLDS)
    return Run(max(value for value, _ in reached), seconds, seconds_to)


def row(name: str, runs: Sequence[Run]) -> list[str]:
    values = [run.mAP for run in runs]
    spread = f" ({min(values):.4f} to {max(values):.4f})" if len(values) > 1 else ""
    times = []
    for position in range(len(THRESHOLDS)):
        reached = [run.seconds_to[position] for run in runs]
        known = [seconds for seconds in reached if seconds is not None]
        times.append(number(Median.of(known)) if len(known) == len(runs) else "not reached")
    mean = f"{statistics.mean(values):.4f}{spread}"
    return [name, str(len(runs)), mean, number(Median.of([run.seconds for run in runs])), *times]


if __name__ == "__main__":
    main()
