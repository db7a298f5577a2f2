"""Trains pretrained networks on several data sets with the defaults, with features alone, and with other recipes.

The table has a row for each network and data set: the validation mAP of the default recipe, of ``features``, and of the
best of the recipes that were searched, each over the seeds. A run that is done is written to the results file at once,
so that the script can be stopped at any time; started again, it goes on with what is missing. ``--network``, ``--data``
and ``--recipe`` choose some of the rows and recipes.

The networks of Gluon begin with random parameters and are trained on the sample's images of one figure first.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from harness import ROOT, SHARED, machine, markdown_table, repeat_with

from mxml import atomic

SCENES = SHARED / "data" / "miml-scene"
SQUEEZENET = SHARED / "models" / "squeezenet_v1.0"
KEPT = ROOT / "benchmarks" / ".data"
FEW, RARE, RARE_LABEL = 150, 20, 0
SMALL = "3,96,96"
GLUON = ("resnet18", "mobilenet", "mobilenetv2", "densenet121", "squeezenet1.1")

NETWORKS: dict[str, list[str]] = {
    "SqueezeNet v1.0": ["--model", str(SQUEEZENET)],
    "SqueezeNet v1.0, caffe": ["--model", str(SQUEEZENET), "--preset", "caffe"],
    "SqueezeNet v1.0, original (wrong)": ["--model", str(SQUEEZENET), "--preset", "original"],
    "the sample's": ["--model", str(ROOT / "models" / "sample"), "--image-shape", SMALL],
    **{name: ["--model", str(KEPT / name), "--image-shape", SMALL] for name in GLUON},
}
DEFAULT, FEATURES = "default", "features"
RECIPES: dict[str, list[str]] = {
    DEFAULT: [],
    FEATURES: ["--method", "features"],
    "rate 0.004": ["--method", "lp-ft", "--lr", "0.004"],
    "rate 0.04": ["--method", "lp-ft", "--lr", "0.04"],
    "adamw 0.0002": ["--method", "lp-ft", "--optimizer", "adamw", "--lr", "0.0002"],
    "adamw 0.0005": ["--method", "lp-ft", "--optimizer", "adamw", "--lr", "0.0005"],
    "adamw 0.001": ["--method", "lp-ft", "--optimizer", "adamw", "--lr", "0.001"],
    "resized crops": ["--min-area", "0.35"],
    "finetune, sgd 0.01": ["--method", "finetune", "--optimizer", "sgd", "--lr", "0.01"],
    "finetune, sgd 0.001": ["--method", "finetune", "--optimizer", "sgd", "--lr", "0.001"],
    "finetune, adamw": ["--method", "finetune"],
}
DATA_SETS = ("miml-scene", f"{FEW} of miml-scene", f"miml-scene, {RARE} of one label", "the sample")
HEADER = ["network", "data", "seeds", "default", "features", "best found", "best recipe", "default less best"]


@dataclass(frozen=True)
class Result:
    """One run: what was run, and its best epoch's validation mAP; None where it failed, and then why."""

    network: str
    data: str
    recipe: str
    seed: int
    mAP: float | None
    seconds: float
    failure: str = ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", default="0,1,2", help="seeds, separated by commas (default: 0,1,2)")
    parser.add_argument("--network", action="append", choices=list(NETWORKS), default=[])
    parser.add_argument("--data", action="append", choices=DATA_SETS, default=[])
    parser.add_argument("--recipe", action="append", choices=list(RECIPES), default=[])
    parser.add_argument("--results", type=Path, default=KEPT / "recipes.jsonl")
    options = parser.parse_args()
    seeds = [int(seed) for seed in options.seeds.split(",")]
    networks, data_sets = options.network or list(NETWORKS), options.data or DATA_SETS
    recipes = options.recipe or list(RECIPES)
    done = read(options.results)
    with tempfile.TemporaryDirectory() as folder:
        data = write_data(Path(folder))
        for network in networks:
            if network in GLUON:
                pretrain(network, Path(folder))
        # Seed by seed, so that what a stopped script has found compares alike.
        for seed in seeds:
            for network in networks:
                for name in data_sets:
                    for recipe in recipes:
                        key = (network, name, recipe, seed)
                        if key in done:
                            continue
                        done[key] = run(network, name, recipe, seed, data[name])
                        write(options.results, done.values())
                        found = done[key]
                        reached = found.failure if found.mAP is None else f"mAP {found.mAP:.4f}"
                        line = f"{', '.join(map(str, key))}: {reached} ({found.seconds:.0f} s)"
                        print(line, file=sys.stderr, flush=True)
    rows = [row(network, name, recipes, seeds, done) for network in networks for name in data_sets]
    print(markdown_table(HEADER, rows))
    print(f"\n{machine()}\n\nRepeat with: `{repeat_with()}`")


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


def pretrain(network: str, folder: Path) -> None:
    """Train a network from random parameters on the sample's images of one figure, as an ordinary classifier."""
    prefix = KEPT / network
    if Path(f"{prefix}-0000.params").exists():
        return
    lists = {}
    for subset in ("train", "val"):
        lines = (ROOT / "lists" / f"{subset}.lst").read_text(encoding="utf-8").splitlines(keepends=True)
        lists[subset] = folder / f"single-{subset}.lst"
        single = [line for line in lines if sum(map(float, line.split("\t")[1:-1])) == 1]
        lists[subset].write_text("".join(single), encoding="utf-8")
    run_prefix = folder / network.replace(".", "_")
    command = ["--network", network, "--single-label", "--image-shape", SMALL, "--num-epoch", "30", "--json"]
    command += lists_options(lists, ROOT / "images", ROOT / "lists" / "labels.txt")
    found = json.loads(train([*command, "--prefix", str(run_prefix)]).stdout)
    KEPT.mkdir(exist_ok=True)
    # Without the sidecar, as networks of others are.
    best = f"{run_prefix}-{found['best_epoch']:04d}.params"
    Path(f"{prefix}-symbol.json").write_bytes(Path(f"{run_prefix}-symbol.json").read_bytes())
    Path(f"{prefix}-0000.params").write_bytes(Path(best).read_bytes())


def run(network: str, data: str, recipe: str, seed: int, lists: Sequence[str]) -> Result:
    with tempfile.TemporaryDirectory() as folder:
        options = [*NETWORKS[network], *lists, *RECIPES[recipe], "--seed", str(seed), "--json"]
        started = time.perf_counter()
        done = train([*options, "--prefix", str(Path(folder) / "run")], check=False)
        seconds = time.perf_counter() - started
    if done.returncode:
        return Result(network, data, recipe, seed, None, seconds, done.stderr.strip().splitlines()[-1])
    return Result(network, data, recipe, seed, json.loads(done.stdout)["best"]["mAP"], seconds)


def train(options: Sequence[str], check: bool = True) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-m", "mxml", "train", *options]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True)
    if check and done.returncode:
        sys.exit(f"failed (exit {done.returncode}): {shlex.join(command)}\n{done.stdout}{done.stderr}")
    return done


def read(path: Path) -> dict[tuple[str, str, str, int], Result]:
    """Return the runs that are done."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    results = [Result(**json.loads(line)) for line in lines]
    return {(result.network, result.data, result.recipe, result.seed): result for result in results}


def write(path: Path, results: Iterable[Result]) -> None:
    """Write the runs that are done, whole or not at all: the script may be stopped here."""
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic.write_text(path, "".join(json.dumps(asdict(result)) + "\n" for result in results))


def row(
    network: str,
    data: str,
    recipes: Iterable[str],
    seeds: Sequence[int],
    done: Mapping[tuple[str, str, str, int], Result],
) -> list[object]:
    means: dict[str, float] = {}
    texts: dict[str, str] = {}
    for recipe in recipes:
        found = [done[network, data, recipe, seed].mAP for seed in seeds]
        values = [value for value in found if value is not None]
        if values:
            means[recipe] = statistics.mean(values)
            texts[recipe] = f"{means[recipe]:.4f} ({min(values):.4f} to {max(values):.4f})"
        if len(values) < len(found):
            means.pop(recipe, None)
            texts[recipe] = f"{len(found) - len(values)} of {len(found)} failed"
    best = max(means, key=means.__getitem__, default="-")
    less = f"{means[DEFAULT] - means[best]:+.4f}" if DEFAULT in means else "-"
    shown = [texts.get(recipe, "-") for recipe in (DEFAULT, FEATURES, best)]
    return [network, data, str(len(seeds)), *shown, best, less]


if __name__ == "__main__":
    main()
