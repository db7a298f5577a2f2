"""Fine-tunes SqueezeNet v1.0 on miml-scene with several losses and augmentations; prints each one's validation mAP.

Every variant is run with every seed through the command line. A run that is done is written to the results file at
once, so that the script can be stopped at any time; started again, it goes on with what is missing. Options that this
script does not know go to ``mxml train`` for all variants and win over the recipe, such as ``--num-epoch 5``.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from harness import ROOT, machine, markdown_table, repeat_with
from miml_scene import SETTINGS

from mxml import atomic

VARIANTS = {
    "bce": "",
    "bce, pos_weight auto": "--pos-weight auto",
    "bce, smoothing 0.05": "--label-smoothing 0.05",
    "bce, smoothing 0.1": "--label-smoothing 0.1",
    "asymmetric": "--loss asymmetric",
    "asymmetric, gamma_neg 2, no margin": "--loss asymmetric --gamma-neg 2 --margin 0",
    "focal": "--loss focal",
    "focal, alpha 0.25": "--loss focal --alpha 0.25",
    "no mirroring": "--no-rand-mirror",
    "no random crop": "--no-rand-crop",
    "random resized crop, from 0.35": "--min-area 0.35",
    "jitter 0.2": "--jitter 0.2",
}
HEADER = ["variant", "runs", "val mAP", "lowest to highest", "of the last epoch", "val loss", "minutes each"]


@dataclass(frozen=True)
class Result:
    """One run: what was run, the best and the last epoch's validation mAP, the best epoch's validation loss."""

    options: str
    common: str
    seed: int
    mAP: float
    last_mAP: float
    loss: float
    seconds: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", default="0,1,2", help="seeds, separated by commas (default: 0,1,2)")
    parser.add_argument(
        "--variant",
        action="append",
        default=[],
        metavar="NAME=OPTIONS",
        help="run only the variants given so; '=OPTIONS' may be left out for those that the script has",
    )
    parser.add_argument(
        "--results",
        type=Path,
        default=ROOT / "benchmarks" / ".data" / "loss_table.jsonl",
        help="file of the runs that are done (default: benchmarks/.data/loss_table.jsonl)",
    )
    options, passed = parser.parse_known_args()
    variants = dict(map(variant_of, options.variant)) or VARIANTS
    common = shlex.join(passed)
    done = read(options.results)
    seeds = [int(seed) for seed in options.seeds.split(",")]
    # Seed by seed, so that what a stopped script has found compares alike.
    for seed in seeds:
        for name, text in variants.items():
            if (text, common, seed) in done:
                continue
            result = done[text, common, seed] = run(text, common, seed)
            write(options.results, done.values())
            print(f"{name}, seed {seed}: mAP {result.mAP:.4f}  ({result.seconds:.0f} s)", file=sys.stderr, flush=True)
    rows = [row(name, [done[text, common, seed] for seed in seeds]) for name, text in variants.items()]
    print(markdown_table(HEADER, rows))
    print(f"\n{machine()}\n\nRepeat with: `{repeat_with()}`")


def variant_of(given: str) -> tuple[str, str]:
    """Split NAME=OPTIONS."""
    name, sign, text = given.partition("=")
    if not sign and name not in VARIANTS:
        sys.exit(f"--variant {given}: should be NAME=OPTIONS, or one of {', '.join(map(repr, VARIANTS))}")
    return name, text if sign else VARIANTS[name]


def read(path: Path) -> dict[tuple[str, str, int], Result]:
    """Return the runs that are done."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    results = [Result(**json.loads(line)) for line in lines]
    return {(result.options, result.common, result.seed): result for result in results}


def write(path: Path, results: Iterable[Result]) -> None:
    """Write the runs that are done, whole or not at all: the script may be stopped here."""
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic.write_text(path, "".join(json.dumps(asdict(result)) + "\n" for result in results))


def run(text: str, common: str, seed: int) -> Result:
    """Train once, and return what the run's history says."""
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    with tempfile.TemporaryDirectory() as folder:
        prefix = str(Path(folder) / "run")
        command = [sys.executable, "-m", "mxml", "train", *SETTINGS, "--prefix", prefix, "--seed", str(seed), "--json"]
        command += [*shlex.split(common), *shlex.split(text)]
        started = time.perf_counter()
        done = subprocess.run(command, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True)
        seconds = time.perf_counter() - started
        if done.returncode:
            sys.exit(f"failed (exit {done.returncode}): {shlex.join(command)}\n{done.stdout}{done.stderr}")
        best = json.loads(done.stdout)["best"]
        with open(f"{prefix}-history.csv", newline="", encoding="utf-8") as file:
            last = list(csv.DictReader(file))[-1]
    return Result(text, common, seed, best["mAP"], float(last["mAP"]), best["val_loss"], seconds)


def row(name: str, results: Sequence[Result]) -> list[object]:
    """Return a variant's row of the table."""
    values = [result.mAP for result in results]
    return [
        name,
        str(len(results)),
        f"{statistics.mean(values):.4f}",
        f"{min(values):.4f} to {max(values):.4f}",
        f"{statistics.mean(result.last_mAP for result in results):.4f}",
        f"{statistics.mean(result.loss for result in results):.4f}",
        f"{statistics.mean(result.seconds for result in results) / 60:.1f}",
    ]


if __name__ == "__main__":
    main()
