"""Trains SqueezeNet v1.0 on miml-scene by several methods: the best validation mAP, and the time to some values of it.

Each run is one whole command with all defaults but what its row names, timed from its start to its end. Those of
features run twice, with an empty cache of feature vectors and with the one that is there then. The original script's
recipe is run by mxml, which is faster than the script was (``original_recipe.py``); PyTorch runs
``torch_finetuning.py`` in the peers' environment (``peers.py``), at two rates.

The best mAP is that of the epoch which mxml keeps as its best (mAPs within 0.1 / sqrt(validation images) are equal to
it, and the lower loss decides); PyTorch's is its highest. The time to an mAP ends with the first epoch that reaches it;
what is in no epoch's time (the start, and the writing at the end) counts as before the first. Runs are kept
(``kept_runs.py``): the script can be stopped and started again. Times mean something only where nothing else runs.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import harness
import kept_runs
import numpy as np
import peers
from harness import SHARED, Median, number
from kept_runs import KeptRuns, Run

DATA = SHARED / "data" / "miml-scene"
SQUEEZENET = SHARED / "models" / "squeezenet_v1.0"
SETTINGS = (
    *("--model", str(SQUEEZENET)),
    *("--data-train", str(DATA / "train.lst"), "--image-train", str(DATA / "images")),
    *("--data-val", str(DATA / "val.lst"), "--image-val", str(DATA / "images"), "--labels", str(DATA / "labels.txt")),
)
FEATURES = ("--method", "features")
ORIGINAL = ("--method", "finetune", "--optimizer", "sgd", "--lr", "0.001", "--mom", "0.9", "--wd", "0.0001")
ORIGINAL_REST = ("--preset", "original", "--lr-schedule", "step", "--head-lr-mult", "1", "--warmup-epochs", "0")
METHODS: dict[str, tuple[str, ...]] = {
    "features": FEATURES,
    "features, 144 pixels": (*FEATURES, "--image-shape", "3,144,144"),
    "all defaults (lp-ft)": (),
    "the original recipe": (*ORIGINAL, *ORIGINAL_REST),
}
WARM = "warm cache"
# By the highest rate of the cycle: PyTorch should not lose by a rate that nobody tried.
PYTORCH = {f"PyTorch fine-tuning, rate {rate}": rate for rate in ("0.0005", "0.001")}
THRESHOLDS = (0.87, 0.90, 0.93)
HEADER = ["method", "seeds", "best val mAP", "seconds", *(f"seconds to mAP {value:.2f}" for value in THRESHOLDS)]
EPOCHS = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", default=[], metavar="PART", help="rows whose name has this in it")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--images", type=int, help="train on the first ones of the list only")
    kept_runs.add_options(parser, "miml_scene")
    options = parser.parse_args()
    methods = [name for name in (*METHODS, *PYTORCH) if not options.only or any(part in name for part in options.only)]
    runs = kept_runs.open_runs(options, "method", "num_epoch", "images", "seed")
    keys = {
        name: [(name, options.epochs, options.images, seed) for seed in options.seeds]
        for method in methods
        for name in names(method)
    }
    if not options.table:
        # Seed by seed, so that what a stopped script has found compares alike.
        for seed in options.seeds:
            for method in methods:
                run_missing(method, options.epochs, options.images, seed, runs)
    shown = {name: [runs[key] for key in of_name if key in runs] for name, of_name in keys.items()}
    rows = [row(name, found) for name, found in shown.items() if found]
    pythons = [sys.executable, *([peers.python()] if any(shown.get(name) for name in PYTORCH) else [])]
    kept_runs.print_table(HEADER, rows, [run for found in shown.values() for run in found], pythons)


def names(method: str) -> list[str]:
    """Return a method's rows, in the order in which they have to run."""
    return [method, f"{method}, {WARM}"] if method.startswith("features") else [method]


def run_missing(method: str, epochs: int, images: int | None, seed: int, runs: KeptRuns) -> None:
    keys = [(name, epochs, images, seed) for name in names(method)]
    if all(key in runs for key in keys):
        return
    with tempfile.TemporaryDirectory() as folder:
        train_list = Path(folder) / "train.lst"
        lines = (DATA / "train.lst").read_text(encoding="utf-8").splitlines(keepends=True)
        train_list.write_text("".join(lines[:images]), encoding="utf-8")
        if method in PYTORCH:
            runs.add(keys[0], train_torch(train_list, PYTORCH[method], epochs, seed))
            return
        given = [*SETTINGS, "--data-train", str(train_list), "--num-epoch", str(epochs), "--seed", str(seed)]
        for key in keys:
            # The cache lies beside the prefix. A cold run that is kept is repeated for the sake of the warm one.
            found = kept_runs.train([*given, *METHODS[method]], Path(folder) / "run")
            if key not in runs:
                runs.add(key, found)


def train_torch(train_list: Path, rate: str, epochs: int, seed: int) -> Run:
    python = peers.python()
    weights = train_list.with_name("weights.npz")
    write_weights(weights)
    script = str(Path(__file__).with_name("torch_finetuning.py"))
    arguments = ["--weights", str(weights), "--train", str(train_list), "--val", str(DATA / "val.lst")]
    arguments += ["--root", str(DATA / "images"), "--epochs", str(epochs), "--rate", rate, "--seed", str(seed)]
    commit, started = kept_runs.commit(), time.perf_counter()
    measured = harness.run("PyTorch", [python, script, *arguments])["epochs"]
    seconds = time.perf_counter() - started
    # What is not an epoch's, imports mostly, comes before the first.
    at = seconds - sum(epoch["seconds"] for epoch in measured)
    epochs_of_it = []
    for epoch in measured:
        at += epoch["seconds"]
        epochs_of_it.append({"mAP": epoch["mAP"], "at": at})
    best = max(epoch["mAP"] for epoch in epochs_of_it)
    return {"mAP": best, "epochs": epochs_of_it, "diverged": 0, "seconds": seconds, "commit": commit}


def write_weights(path: Path) -> None:
    """Write the pretrained parameters up to fire9, in the order of the layers."""
    from mxml.runtime.imports import load_mxnet

    symbol, parameters, _ = load_mxnet().model.load_checkpoint(str(SQUEEZENET), 0)
    wanted = [name for name in symbol.list_arguments() if name.startswith(("conv1_", "fire"))]
    np.savez(path, **{name: parameters[name].asnumpy() for name in wanted})


def row(name: str, runs: Sequence[Run]) -> list[str]:
    values = [run["mAP"] for run in runs if run["mAP"] is not None]
    best = kept_runs.spread(values) if values else "-"
    if len(values) < len(runs):
        best += f", {len(runs) - len(values)} ended by diverging"
    seconds = number(Median.of([run["seconds"] for run in runs]))
    return [name, str(len(runs)), best, seconds, *(time_to(wanted, runs) for wanted in THRESHOLDS)]


def time_to(wanted: float, runs: Sequence[Run]) -> str:
    times = [seconds for run in runs if (seconds := seconds_to(wanted, run)) is not None]
    if not times:
        return "not reached"
    return number(Median.of(times)) + (f", by {len(times)} of {len(runs)}" if len(times) < len(runs) else "")


def seconds_to(wanted: float, run: Run) -> float | None:
    """Return the seconds until the end of the first epoch with this mAP; None where there is none."""
    return next((epoch["at"] for epoch in run["epochs"] if epoch["mAP"] >= wanted), None)


if __name__ == "__main__":
    main()
