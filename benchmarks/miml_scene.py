"""Fine-tunes SqueezeNet v1.0 on miml-scene through the command line and prints the best validation mAP and the time.

Options that this script does not know go to ``mxml train`` and win over the recipe, such as ``--lr 0.001 --seed 1``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from harness import ROOT, SHARED, machine, markdown_table, repeat_with

DATA = SHARED / "data" / "miml-scene"
WANTED, ORIGINAL = 0.89, 0.878
RECIPE = (
    *("--model", str(SHARED / "models" / "squeezenet_v1.0"), "--preset", "caffe", "--image-shape", "3,227,227"),
    *("--data-train", str(DATA / "train.lst"), "--image-train", str(DATA / "images")),
    *("--data-val", str(DATA / "val.lst"), "--image-val", str(DATA / "images"), "--labels", str(DATA / "labels.txt")),
    *("--num-epoch", "10", "--optimizer", "adamw", "--lr", "0.0002", "--head-lr-mult", "10", "--wd", "0.01"),
    *("--lr-schedule", "cosine", "--warmup-epochs", "1"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prefix", help="where the run's files go; a temporary folder unless given")
    options, passed = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as folder:
        prefix = options.prefix or str(Path(folder) / "squeezenet")
        command = [sys.executable, "-m", "mxml", "train", *RECIPE, "--prefix", prefix, "--force", "--json", *passed]
        paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        started = time.perf_counter()
        done = subprocess.run(command, env={**os.environ, "PYTHONPATH": paths}, stdout=subprocess.PIPE, text=True)
        seconds = time.perf_counter() - started
    if done.returncode:
        sys.exit(done.returncode)
    result = json.loads(done.stdout)
    best = result["best"]
    rows = [
        ["mxml", f"{best['mAP']:.3f}", str(WANTED), result["best_epoch"], result["epochs"], f"{seconds / 60:.1f}"],
        ["the original recipe", f"{ORIGINAL:.3f}", "-", "-", 10, "-"],
    ]
    print(markdown_table(["fine-tuned by", "val mAP", "at least", "best epoch", "epochs", "minutes"], rows))
    print(f"\n{machine()}\n\nRepeat with: `{repeat_with()}`")


if __name__ == "__main__":
    main()
