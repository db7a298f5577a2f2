"""What the sample's pretrained network is worth: the same fine-tuning from it and from random weights.

Both starts are the same network, lists, options and seeds; the random one has its weights drawn anew for each seed.
Prints the validation mAP of the best epoch, and of each, as a table.

    python benchmarks/sample_transfer.py --rounds 3
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import harness

from mxml.model.params_file import write_params
from mxml.model.symbol_file import load_symbol
from mxml.runtime.imports import load_mxnet

MODELS, LISTS, IMAGES = harness.ROOT / "models", harness.ROOT / "lists", harness.ROOT / "images"
# As run_train.sh has them.
SETTINGS = {"--image-shape": "3,96,96", "--batch-size": "32", "--lr": "0.02"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="runs from each start, with seeds 0, 1, ...")
    parser.add_argument("--num-epoch", type=int, default=10)
    arguments = parser.parse_args()
    epochs: dict[str, list[list[dict[str, Any]]]] = {"pretrained": [], "random weights": []}
    for seed in range(arguments.rounds):
        with tempfile.TemporaryDirectory() as folder:
            starts = {"pretrained": MODELS / "sample", "random weights": write_random_start(Path(folder), seed)}
            for name, start in starts.items():
                epochs[name].append(fine_tune(start, Path(folder) / "run", seed, arguments.num_epoch))
    print(f"{harness.machine()}\n")
    print(f"{arguments.num_epoch} epochs on the sample, {arguments.rounds} seeds; validation mAP.\n")
    header = ["start", "best epoch's", "lowest seed", "highest seed", "after epoch 1", "seconds of training"]
    print(harness.markdown_table(header, [[name, *summary(runs)] for name, runs in epochs.items()]))
    print(f"\nRepeat with `{harness.repeat_with()}`.")


def write_random_start(folder: Path, seed: int) -> Path:
    """Write the sample's network with weights as they are before any training; return its prefix."""
    mx = load_mxnet()
    symbol = load_symbol(MODELS / "sample-symbol.json")
    mx.random.seed(seed)
    module = mx.mod.Module(symbol)
    module.bind([("data", (1, 3, 96, 96))], [("softmax_label", (1,))])
    module.init_params(mx.init.Xavier(rnd_type="gaussian", factor_type="in", magnitude=2))
    arg_params, aux_params = module.get_params()
    params = {f"arg:{name}": value for name, value in arg_params.items()}
    params.update({f"aux:{name}": value for name, value in aux_params.items()})
    (folder / "random-symbol.json").write_text(symbol.tojson())
    write_params(folder / "random-0000.params", params)
    return folder / "random"


def fine_tune(start: Path, prefix: Path, seed: int, num_epoch: int) -> list[dict[str, Any]]:
    """Run `mxml train` on the sample; return each epoch's metrics as the sidecar has them."""
    options = {
        "--model": start,
        "--prefix": prefix,
        "--data-train": LISTS / "train.lst",
        "--image-train": IMAGES,
        "--data-val": LISTS / "val.lst",
        "--image-val": IMAGES,
        "--num-epoch": num_epoch,
        "--seed": seed,
        **SETTINGS,
    }
    command = [
        sys.executable,
        "-m",
        "mxml",
        "train",
        "--force",
        *(str(part) for pair in options.items() for part in pair),
    ]
    environment = {**os.environ, "PYTHONPATH": str(harness.ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{start.name}, seed {seed}: exit {done.returncode}\n{done.stderr}")
    metrics = [epoch["metrics"] for epoch in json.loads(Path(f"{prefix}.json").read_text())["epochs"]]
    curve = " ".join(f"{each['val']['mAP']:.3f}" for each in metrics)
    print(f"seed {seed}  {start.name}: {curve}", file=sys.stderr, flush=True)
    return metrics


def summary(runs: list[list[dict[str, Any]]]) -> list[float]:
    best = [max(epoch["val"]["mAP"] for epoch in epochs) for epochs in runs]
    first = statistics.median(epochs[0]["val"]["mAP"] for epochs in runs)
    seconds = statistics.median(sum(epoch["seconds"] for epoch in epochs) for epochs in runs)
    return [statistics.median(best), min(best), max(best), first, seconds]


if __name__ == "__main__":
    main()
