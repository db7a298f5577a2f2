"""Compares this checkout with another one of mxml, such as an earlier commit, on the work that users wait for.

Contestants alternate in processes of their own, on the photographs and the network in ../shared: batches from files
(ImageIter as MXNet's, the second epoch), a training epoch of SqueezeNet (the second), the whole of ``mxml check`` and
of ``mxml predict``. A ratio above 1 says that this checkout is faster. Processor time is shown beside, which other work
on the machine disturbs less.

    git worktree add ../before caa3f36
    python benchmarks/before_after.py ../before --rounds 5
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
import harness

DATA = harness.SHARED / "data" / "miml-scene"
NETWORK = harness.SHARED / "models" / "squeezenet_v1.0"
IMAGES = 256


def loader() -> dict[str, float]:
    """Time the second epoch of batches from files."""
    from mxml import ImageIter

    settings: dict[str, Any] = {
        "path_imglist": str(DATA / "train.lst"),
        "path_root": str(DATA / "images"),
        "shuffle": True,
        "resize": 224,
        "rand_crop": True,
        "rand_mirror": True,
        "mean": True,
        "std": True,
        "seed": 1,
    }
    batches = ImageIter(32, (3, 224, 224), 5, **settings)
    for batch in batches:
        batch.data[0].wait_to_read()
    batches.reset()
    started, processor = time.perf_counter(), time.process_time()
    images = 0
    for batch in batches:
        batch.data[0].wait_to_read()
        images += 32 - batch.pad
    seconds = time.perf_counter() - started
    return {
        "images_per_second": images / seconds,
        "cpu_ms_per_image": (time.process_time() - processor) / images * 1e3,
    }


def epoch() -> dict[str, float]:
    """Time the second epoch of training on some photographs."""
    from mxml import TrainConfig, fit

    with tempfile.TemporaryDirectory() as folder:
        lines = (DATA / "train.lst").read_text().splitlines(keepends=True)
        (Path(folder) / "train.lst").write_text("".join(lines[:IMAGES]))
        (Path(folder) / "val.lst").write_text("".join(lines[IMAGES : IMAGES + 32]))
        config = TrainConfig(
            model=str(NETWORK),
            prefix=f"{folder}/run",
            data_train=f"{folder}/train.lst",
            image_train=str(DATA / "images"),
            data_val=f"{folder}/val.lst",
            image_val=str(DATA / "images"),
            num_epoch=3,
            image_shape=(3, 227, 227),
            preset="caffe",
            optimizer="adamw",
            lr=0.0001,
        )
        began = time.process_time()
        fit(config)
        spent = time.process_time() - began
        header, *rows = (Path(folder) / "run-history.csv").read_text().splitlines()
    column = header.split(",").index("images_per_second")
    rates = [float(row.split(",")[column]) for row in rows]
    return {"images_per_second": sum(rates[1:]) / len(rates[1:]), "cpu_ms_per_image": spent / (3 * IMAGES) * 1e3}


def check() -> dict[str, float]:
    """Time the whole command."""
    return command("check", str(DATA / "train.lst"), str(DATA / "val.lst"), "--root", str(DATA / "images"))


def predict() -> dict[str, float]:
    """Time the whole command on the images of a folder, with the checkpoint that the original script wrote."""
    prefix = harness.SHARED / "models" / "legacy-multilabel"
    return command("predict", "--prefix", str(prefix), "--json", str(DATA / "images"))


def command(*arguments: str) -> dict[str, float]:
    """Run a command of mxml and return the seconds that it took."""
    started = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "mxml", *arguments], capture_output=True, text=True)
    seconds = time.perf_counter() - started
    if done.returncode not in (0, 1) or not done.stdout:
        sys.exit(done.stderr)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    images = len(os.listdir(DATA / "images"))
    return {
        "images_per_second": images / seconds,
        "cpu_ms_per_image": (used.ru_utime + used.ru_stime) / images * 1e3,
    }


WORK = {"loader": loader, "epoch": epoch, "check": check, "predict": predict}
TITLES = {
    "loader": "batches from files",
    "epoch": "training epoch, SqueezeNet v1.0",
    "check": "mxml check, whole command",
    "predict": "mxml predict, whole command",
}


def main() -> None:
    """Run every work in turn and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("other", type=Path, nargs="?", help="root of the other checkout")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--work", choices=WORK, nargs="*", default=list(WORK))
    parser.add_argument("--only", choices=WORK, help="measure this in this process and print JSON")
    options = parser.parse_args()
    if options.only:
        print(json.dumps(WORK[options.only]()))
        return
    if options.other is None:
        parser.error("name the other checkout")
    rows: list[list[Any]] = []
    for work in options.work:
        commands = {
            name: ["env", f"PYTHONPATH={root}", sys.executable, str(Path(__file__).resolve()), "--only", work]
            for name, root in (("before", options.other.resolve()), ("after", harness.ROOT))
        }
        results = harness.alternate(commands, options.rounds)
        rate, processor = harness.median(results, "images_per_second"), harness.median(results, "cpu_ms_per_image")
        # Pair by pair, since the machine's speed drifts.
        pairs = zip(results["before"], results["after"])
        ratio = harness.Median.of([after["images_per_second"] / before["images_per_second"] for before, after in pairs])
        rows.append([TITLES[work], rate["before"], rate["after"], ratio, processor["after"] / processor["before"]])
    header = ["work", "before, images/s", "after, images/s", "after to before", "processor time, after to before"]
    print(harness.markdown_table(header, rows))
    print(f"\n{options.rounds} rounds. {harness.machine()}\n\nRepeat with: `{harness.repeat_with()}`")


if __name__ == "__main__":
    main()
