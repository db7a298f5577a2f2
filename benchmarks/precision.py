"""Compares fine-tuning in float32 and in bfloat16 on this machine's processors: rate, and mAP on miml-scene.

SqueezeNet v1.0 (pretrained) and gluon's ResNet-18 (random parameters) train on batches of 32 photographs, with the same
seed, in epochs of which the first is not timed. A bfloat16 run validates in bfloat16; its best epoch is evaluated again
in float32, as it will be used.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
from harness import SHARED, alternate, machine, markdown_table, median, repeat_with
from train_speed import DATA, NETWORKS, RATE, SIZE, SQUEEZENET, export_resnet18, mxml_from_files

DTYPES = ("float32", "bfloat16")
WORST_MAP_DIFFERENCE = 0.01
MAP, MAP_FLOAT32 = "map", "map_in_float32"


def write_list(folder: Path, name: str, images: int | None) -> str:
    lines = (DATA / f"{name}.lst").read_text().splitlines(keepends=True)[:images]
    path = folder / f"{name}.lst"
    path.write_text("".join(lines))
    return str(path)


def measure(network: str, dtype: str, images: int | None, epochs: int, size: int, seed: int) -> dict[str, float]:
    """Train one network and return its rate, its run's own best mAP, and that of evaluating it in float32."""
    from mxml import Classifier
    from mxml.training.config import TrainConfig

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = TrainConfig(
            model=str(SQUEEZENET) if network == "squeezenet" else export_resnet18(folder),
            prefix=str(folder / "run"),
            data_train=write_list(folder, "train", images),
            data_val=write_list(folder, "val", None if images is None else images // 4),
            image_train=str(DATA / "images"),
            image_val=str(DATA / "images"),
            num_epoch=epochs,
            image_shape=(3, size, size),
            preset="caffe" if network == "squeezenet" else "original",
            optimizer="adamw",
            lr=0.0002,
            seed=seed,
            device="cpu",
            dtype=dtype,
        )
        rate = mxml_from_files(config)
        written = json.loads((folder / "run.json").read_text())
        best = next(entry for entry in written["epochs"] if entry["epoch"] == written["best_epoch"])
        again = Classifier.load(config.prefix).evaluate(config.data_val, config.image_val)
        return {RATE: rate, MAP: best["metrics"]["val"]["mAP"], MAP_FLOAT32: again.metrics.to_dict()["mAP"]}


def command(network: str, dtype: str, seed: int, arguments: argparse.Namespace) -> list[str]:
    own = ["--only", network, "--dtype", dtype, "--seed", str(seed)]
    own += ["--epochs", str(arguments.epochs), "--size", str(arguments.size)]
    own += [] if arguments.images is None else ["--images", str(arguments.images)]
    return [sys.executable, str(Path(__file__).resolve()), *own]


def compare(network: str, arguments: argparse.Namespace) -> list[list[Any]]:
    """Return the table's rows for one network; each round has a seed of its own."""
    results: dict[str, list[dict[str, Any]]] = {dtype: [] for dtype in DTYPES}
    for seed in range(arguments.rounds):
        commands = {dtype: command(network, dtype, seed, arguments) for dtype in DTYPES}
        for dtype, found in alternate(commands, 1).items():
            results[dtype] += found
    rates, own, again = (median(results, key) for key in (RATE, MAP, MAP_FLOAT32))
    rows: list[list[Any]] = []
    for dtype in DTYPES:
        difference = again[dtype] - again["float32"]
        ratio = f"{rates[dtype] / rates['float32']:.2f}"
        rows.append([NETWORKS[network], dtype, rates[dtype], ratio, own[dtype], again[dtype], f"{difference:+.4f}"])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, help="train on the first IMAGES alone")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--size", type=int, default=SIZE)
    parser.add_argument("--rounds", type=int, default=3, help="seeds")
    parser.add_argument("--only", choices=NETWORKS)
    parser.add_argument("--dtype", choices=DTYPES, help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.dtype:
        print(
            json.dumps(
                measure(
                    arguments.only,
                    arguments.dtype,
                    arguments.images,
                    arguments.epochs,
                    arguments.size,
                    arguments.seed,
                )
            )
        )
        return
    if not SHARED.is_dir():
        sys.exit(f"{SHARED}: is not there, and holds the photographs")
    rows = [row for network in NETWORKS if arguments.only in (None, network) for row in compare(network, arguments)]
    header = ["network", "computed in", "images/s", "of float32", "mAP of the run", "mAP in float32", "difference"]
    print(markdown_table(header, rows))
    print(f"\nWanted: differences within {WORST_MAP_DIFFERENCE}. {machine()}\n\n    {repeat_with()}")


if __name__ == "__main__":
    main()
