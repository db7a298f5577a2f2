"""Trains pretrained networks on several data sets with the defaults, with features alone, and with other recipes.

The table has a row for each network and data set: the validation mAP of the default recipe, of ``features``, and of the
best of the recipes that were searched, each over the seeds; only recipes that have the default's seeds are compared.
Every mAP is that of the epoch which the run keeps as its best; mAPs within 0.1 / sqrt(validation images) are equal to
it. Epoch 1 of the default recipe, lp-ft, is the head that ``features`` fits (same vectors, same fit): ``features`` is
taken from there, and runs by itself only where the default is not run; the default can be below it by that noise only.

Runs are kept (``kept_runs.py``): the script can be stopped and started again, and several copies with other
``--results``, ``--network``, ``--data`` or ``--seeds`` work side by side. The networks of Gluon begin with random
parameters and are trained on the sample's images of one figure first; EfficientNet-Lite0's are downloaded
(``efficientnet_lite.py``).
"""

from __future__ import annotations

import argparse
import fcntl
import json
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import kept_runs
from harness import ROOT, SHARED, environment
from kept_runs import KEPT, KeptRuns, Run

from mxml import atomic

SCENES = SHARED / "data" / "miml-scene"
SQUEEZENET = SHARED / "models" / "squeezenet_v1.0"
FEW, RARE, RARE_LABEL = 150, 20, 0
# About half the time of 224 and 96 pixels; SqueezeNet's recipes rank alike with 160 and 224.
MEDIUM, SMALL = "3,160,160", "3,64,64"
EFFICIENTNET = "EfficientNet-Lite0"
GLUON = ("resnet18", "mobilenet", "mobilenetv2", "densenet121", "squeezenet1.1")

NETWORKS: dict[str, list[str]] = {
    "SqueezeNet v1.0": ["--model", str(SQUEEZENET), "--image-shape", MEDIUM],
    "SqueezeNet v1.0, caffe": ["--model", str(SQUEEZENET), "--image-shape", MEDIUM, "--preset", "caffe"],
    "SqueezeNet v1.0, original (wrong)": ["--model", str(SQUEEZENET), "--image-shape", MEDIUM, "--preset", "original"],
    EFFICIENTNET: ["--model", str(KEPT / "efficientnet-lite0"), "--image-shape", "3,96,96"],
    "the sample's": ["--model", str(ROOT / "models" / "sample"), "--image-shape", "3,96,96"],
    **{name: ["--model", str(KEPT / name), "--image-shape", SMALL] for name in GLUON},
}
DEFAULT, FEATURES = "default", "features"
RECIPES: dict[str, list[str]] = {
    DEFAULT: [],
    FEATURES: ["--method", "features"],
    "rate 0.004": ["--method", "lp-ft", "--lr", "0.004"],
    "rate 0.005": ["--method", "lp-ft", "--lr", "0.005"],
    "rate 0.01": ["--method", "lp-ft", "--lr", "0.01"],
    "rate 0.02": ["--method", "lp-ft", "--lr", "0.02"],
    "rate 0.04": ["--method", "lp-ft", "--lr", "0.04"],
    "rate 0.08": ["--method", "lp-ft", "--lr", "0.08"],
    "adamw 0.0002": ["--method", "lp-ft", "--optimizer", "adamw", "--lr", "0.0002"],
    "adamw 0.0005": ["--method", "lp-ft", "--optimizer", "adamw", "--lr", "0.0005"],
    "adamw 0.001": ["--method", "lp-ft", "--optimizer", "adamw", "--lr", "0.001"],
    "resized crops": ["--min-area", "0.35"],
    "finetune, sgd 0.01": ["--method", "finetune", "--optimizer", "sgd", "--lr", "0.01"],
    "finetune, sgd 0.001": ["--method", "finetune", "--optimizer", "sgd", "--lr", "0.001"],
    "finetune, adamw": ["--method", "finetune"],
}
DATA_SETS = ("miml-scene", f"{FEW} of miml-scene", f"miml-scene, {RARE} of one label", "the sample")
HEADER = ["network", "data", "seeds", "default", "features", "best found", "best recipe", "of", "default less best"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", action="append", choices=list(NETWORKS), default=[])
    parser.add_argument("--data", action="append", choices=DATA_SETS, default=[])
    parser.add_argument("--recipe", action="append", choices=list(RECIPES), default=[])
    kept_runs.add_options(parser, "recipes")
    options = parser.parse_args()
    cells = [(network, data) for network in options.network or NETWORKS for data in options.data or DATA_SETS]
    chosen = options.recipe or RECIPES
    # In the script's order: the default recipe brings the features.
    recipes = [recipe for recipe in RECIPES if recipe in chosen or (recipe == FEATURES and DEFAULT in chosen)]
    runs = kept_runs.open_runs(options, "network", "data", "recipe", "seed")
    # Seed by seed, so that what a stopped script has found compares alike.
    keys = [(*cell, recipe, seed) for seed in options.seeds for cell in cells for recipe in recipes]
    if not options.table:
        run_missing(keys, runs)
    rows = [
        row(cell, recipes, options.seeds, runs) for cell in cells if any(key[:2] == cell for key in keys if key in runs)
    ]
    shown = [runs[key] for key in keys if key in runs]
    kept_runs.print_table(HEADER, rows, [run for run in shown if "taken_from" not in run])


def run_missing(keys: Iterable[tuple[str, str, str, int]], runs: KeptRuns) -> None:
    with tempfile.TemporaryDirectory() as folder:
        data_sets = write_data(Path(folder))
        for key in keys:
            if key in runs:
                continue
            network, data, recipe, seed = key
            if network in GLUON or network == EFFICIENTNET:
                prepare(network, Path(folder))
            given = [*NETWORKS[network], *data_sets[data], *RECIPES[recipe], "--seed", str(seed)]
            with tempfile.TemporaryDirectory() as own:
                run = kept_runs.train(given, Path(own) / "run")
            runs.add(key, run)
            as_features = (network, data, FEATURES, seed)
            if run and run["epochs"] and recipe == DEFAULT and as_features not in runs:
                runs.add(as_features, first_epoch(run), taken_from=f"epoch 1 of {DEFAULT}")


def first_epoch(run: Run) -> Run:
    """Return the part of an lp-ft run that is a run of features."""
    first = run["epochs"][0]
    return {**run, "mAP": first["mAP"], "CF1": first["CF1"], "epochs": [first], "diverged": 0, "seconds": first["at"]}


def write_data(folder: Path) -> dict[str, list[str]]:
    """Write the lists, and return each data set's options."""
    sample = [("train", ROOT / "lists" / "train.lst"), ("val", ROOT / "lists" / "val.lst")]
    options = {"the sample": lists_options(dict(sample), ROOT / "images", ROOT / "lists" / "labels.txt")}
    lines = (SCENES / "train.lst").read_text(encoding="utf-8").splitlines(keepends=True)
    shuffled = random.Random(0).sample(lines, len(lines))
    rare = [line for line in shuffled if line.split("\t")[1 + RARE_LABEL].startswith("1")]
    chosen = {
        DATA_SETS[0]: lines,
        DATA_SETS[1]: shuffled[:FEW],
        DATA_SETS[2]: [line for line in lines if line not in set(rare[RARE:])],
    }
    for number, (name, some) in enumerate(chosen.items()):
        train = folder / f"train{number}.lst"
        train.write_text("".join(some), encoding="utf-8")
        options[name] = lists_options(
            {"train": train, "val": SCENES / "val.lst"}, SCENES / "images", SCENES / "labels.txt"
        )
    return options


def lists_options(lists: Mapping[str, Path], root: Path, labels: Path) -> list[str]:
    options = ["--labels", str(labels)]
    for subset, path in lists.items():
        options += [f"--data-{subset}", str(path), f"--image-{subset}", str(root)]
    return options


def prepare(network: str, folder: Path) -> None:
    """Write a network that is neither in the checkout nor beside it, once, to where ``NETWORKS`` says."""
    prefix = Path(NETWORKS[network][1])
    KEPT.mkdir(exist_ok=True)
    with open(KEPT / "networks.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another copy of this script may be at it
        if Path(f"{prefix}-0000.params").exists():
            return
        if network == EFFICIENTNET:
            subprocess.run([sys.executable, str(ROOT / "benchmarks" / "efficientnet_lite.py"), str(prefix)], check=True)
        else:
            pretrain(network, prefix, folder)


def pretrain(network: str, prefix: Path, folder: Path) -> None:
    """Train a network from random parameters on the sample's images of one figure, as an ordinary classifier."""
    lists = {}
    for subset in ("train", "val"):
        lines = (ROOT / "lists" / f"{subset}.lst").read_text(encoding="utf-8").splitlines(keepends=True)
        lists[subset] = folder / f"single-{subset}.lst"
        single = [line for line in lines if sum(map(float, line.split("\t")[1:-1])) == 1]
        lists[subset].write_text("".join(single), encoding="utf-8")
    run_prefix = folder / network.replace(".", "_")
    command = [sys.executable, "-m", "mxml", "train", "--network", network, "--single-label"]
    command += lists_options(lists, ROOT / "images", ROOT / "lists" / "labels.txt")
    command += ["--image-shape", SMALL, "--num-epoch", "30", "--json", "--prefix", str(run_prefix)]
    done = subprocess.run(command, env=environment(), stdout=subprocess.PIPE, text=True, check=True)
    # Without the sidecar, as networks of others are.
    best = f"{run_prefix}-{json.loads(done.stdout)['best_epoch']:04d}.params"
    atomic.write_bytes(f"{prefix}-symbol.json", Path(f"{run_prefix}-symbol.json").read_bytes())
    atomic.write_bytes(f"{prefix}-0000.params", Path(best).read_bytes())


def row(cell: tuple[str, str], recipes: Iterable[str], seeds: Iterable[int], runs: KeptRuns) -> list[object]:
    seeds = [seed for seed in seeds if (*cell, DEFAULT, seed) in runs] or list(seeds)
    compared = {}
    for recipe in recipes:
        keys = [(*cell, recipe, seed) for seed in seeds]
        if all(key in runs for key in keys):
            compared[recipe] = [runs[key] for key in keys]
    means = {
        recipe: statistics.mean(run["mAP"] for run in of_recipe)
        for recipe, of_recipe in compared.items()
        if all(run["mAP"] is not None for run in of_recipe)
    }
    best = max(means, key=means.__getitem__, default="-")
    less = f"{means[DEFAULT] - means[best]:+.4f}" if DEFAULT in means else "-"
    shown = [written(compared.get(recipe, [])) for recipe in (DEFAULT, FEATURES, best)]
    return [*cell, str(len(seeds)), *shown, best, str(len(compared)), less]


def written(runs: Sequence[Run]) -> str:
    values = [run["mAP"] for run in runs if run["mAP"] is not None]
    if len(values) < len(runs):
        return f"{len(runs) - len(values)} of {len(runs)} ended by diverging"
    survived = sum(run["diverged"] > 0 for run in runs)
    return (kept_runs.spread(values) if values else "-") + (f", {survived} diverged once" if survived else "")


if __name__ == "__main__":
    main()
