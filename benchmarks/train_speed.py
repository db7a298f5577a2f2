"""Compares how fast mxml and PyTorch fine-tune SqueezeNet v1.0 and ResNet-18 on this machine's processors.

Both train on the same photographs of miml-scene in batches of 32: read from files (short side 224 pixels, cubic,
random crop 224, mirrored by half, a whole epoch with everything that it needs) or prepared in memory (the training
step alone). mxml runs its own ``fit``; PyTorch runs torch_training.py with whichever of one or all threads and none
or two loader workers is fastest here, which is tried first. Every figure is taken after one epoch to warm up.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
import peers
from harness import SHARED, alternate, machine, markdown_table, median, repeat_with, run

HERE = Path(__file__).resolve().parent
DATA = SHARED / "data" / "miml-scene"
SQUEEZENET = SHARED / "models" / "squeezenet_v1.0"
NETWORKS = {"squeezenet": "SqueezeNet v1.0", "resnet18": "ResNet-18"}
SIZE, BATCH = 224, 32
EPOCH_AGAINST_TORCH = {"squeezenet": 1.3, "resnet18": 1.0}
EPOCH_AGAINST_STEP = 0.95
RATE = "images_per_second"


def export_resnet18(folder: Path) -> str:
    """Write gluon's ResNet-18 with random parameters as a pretrained network would be, and return its prefix."""
    from mxml.runtime.imports import load_mxnet

    mx = load_mxnet()
    network = mx.gluon.model_zoo.vision.resnet18_v1()
    network.initialize(mx.init.Xavier())
    network.hybridize()
    network(mx.nd.zeros((1, 3, SIZE, SIZE)))
    network.export(str(folder / "resnet18"))
    return str(folder / "resnet18")


def config_for(network: str, folder: Path, list_path: str, epochs: int) -> Any:
    """Return the mxml run that torch_training.py repeats in PyTorch; it validates on eight images."""
    from mxml.training.config import TrainConfig

    val = folder / "val.lst"
    val.write_text("".join((DATA / "val.lst").read_text().splitlines(keepends=True)[:8]))
    return TrainConfig(
        model=str(SQUEEZENET) if network == "squeezenet" else export_resnet18(folder),
        prefix=str(folder / "run"),
        data_train=list_path,
        image_train=str(DATA / "images"),
        data_val=str(val),
        image_val=str(DATA / "images"),
        num_epoch=epochs,
        image_shape=(3, SIZE, SIZE),
        batch_size=BATCH,
        lr=0.001,
        head_lr_mult=1.0,
        lr_schedule="constant",
        device="cpu",
    )


def mxml_from_files(config: Any) -> float:
    """Fit as the command line does and return the images a second of the epochs after the first."""
    from mxml.runtime.imports import load_mxnet
    from mxml.training.fit import fit

    mx = load_mxnet()

    class Clock:
        """A progress that takes the time from the start of each epoch to the start of its validation."""

        def __init__(self) -> None:
            self.epochs: list[tuple[int, float]] = []
            self.images, self.started = 0, 0.0

        def start(self, total: int, what: str, done: int = 0) -> None:
            if what == "validation":
                mx.nd.waitall()  # the last step's backward pass belongs to the epoch
                self.epochs.append((self.images, time.perf_counter() - self.started))
            else:
                self.images, self.started = total, time.perf_counter()

        def advance(self, count: int = 1, detail: str = "") -> None:
            pass

        def note(self, text: str) -> None:
            pass

    clock = Clock()
    fit(config, clock)
    measured = clock.epochs[1:]
    return sum(images for images, _ in measured) / sum(seconds for _, seconds in measured)


def mxml_in_memory(config: Any) -> float:
    """Take fit's steps on batches that are ready and return the images a second."""
    from mxml.data.batches import Batches
    from mxml.data.image_sources import ImageFiles
    from mxml.data.lst_file import read_lst
    from mxml.runtime.imports import load_mxnet
    from mxml.training.bound_module import BoundModule
    from mxml.training.optimizers import OptimizerSettings
    from mxml.training.run_data import preprocess_of
    from mxml.training.starting_point import of_pretrained

    mx = load_mxnet()
    images = read_lst(config.data_train, config.image_train)
    with Batches(ImageFiles(images), preprocess_of(config), BATCH, labels=images.labels) as reader:
        batches = list(reader)
    point = of_pretrained(config, images.num_classes)
    module = BoundModule(
        point.symbol,
        point.arg_params,
        point.aux_params,
        devices=[mx.cpu()],
        provide_data=reader.provide_data,
        provide_label=reader.provide_label,
        optimizer=OptimizerSettings(config.optimizer, config.mom, config.wd),
    )
    started = time.perf_counter()
    for epoch in range(config.num_epoch):
        if epoch == 1:
            mx.nd.waitall()
            started = time.perf_counter()
        for batch in batches:
            module.step(batch, config.lr)
    mx.nd.waitall()
    return len(batches) * BATCH * (config.num_epoch - 1) / (time.perf_counter() - started)


def measure(network: str, source: str, list_path: str, epochs: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        config = config_for(network, Path(folder), list_path, epochs + 1)
        return {RATE: (mxml_from_files if source == "files" else mxml_in_memory)(config)}


def mxml_command(network: str, source: str, list_path: Path, epochs: int) -> list[str]:
    arguments = ["--only", network, "--source", source, "--list", str(list_path), "--epochs", str(epochs)]
    return [sys.executable, str(HERE / "train_speed.py"), *arguments]


def torch_command(
    python: str, network: str, source: str, list_path: Path, epochs: int, threads: int, workers: int
) -> list[str]:
    arguments = ["--network", network, "--source", source, "--list", str(list_path), "--root", str(DATA / "images")]
    arguments += ["--batch-size", str(BATCH), "--size", str(SIZE), "--epochs", str(epochs)]
    arguments += ["--threads", str(threads), "--workers", str(workers)]
    return [python, str(HERE / "torch_training.py"), *arguments]


def fastest_torch(python: str, network: str, source: str, list_path: Path) -> tuple[int, int]:
    """Try one and all threads, with no worker and with two, for one epoch each; return the best pair."""
    threads = sorted({1, len(os.sched_getaffinity(0))})
    rates = {}
    for pair in itertools.product(threads, (0, 2) if source == "files" else (0,)):
        name = f"PyTorch {network}, {source}, {pair[0]} threads, {pair[1]} workers"
        rates[pair] = run(name, torch_command(python, network, source, list_path, 1, *pair))[RATE]
        print(f"{name}: {rates[pair]:.1f} img/s", file=sys.stderr, flush=True)
    return max(rates, key=rates.__getitem__)


def write_list(folder: str, images: int) -> Path:
    """Write the first ``images`` lines of train.lst, whole batches of them, and return the list's path."""
    lines = (DATA / "train.lst").read_text().splitlines(keepends=True)[: images // BATCH * BATCH]
    path = Path(folder) / "train.lst"
    path.write_text("".join(lines))
    return path


def compare(network: str, python: str, list_path: Path, epochs: int, rounds: int) -> list[list[Any]]:
    """Return the table's rows for one network."""
    commands, settings = {}, {}
    for source in ("memory", "files"):
        settings[source] = fastest_torch(python, network, source, list_path)
        commands[f"mxml {source}"] = mxml_command(network, source, list_path, epochs)
        commands[f"torch {source}"] = torch_command(python, network, source, list_path, epochs, *settings[source])
    rates = median(alternate(commands, rounds), RATE)
    rows = []
    for source, what in (("memory", "training step"), ("files", "whole epoch")):
        ours, theirs = rates[f"mxml {source}"], rates[f"torch {source}"]
        threads, workers = settings[source]
        wanted = f"{EPOCH_AGAINST_TORCH[network]}" if source == "files" else "-"
        peer = f"PyTorch ({threads} threads, {workers} workers)"
        rows.append([NETWORKS[network], what, ours, peer, theirs, f"{ours / theirs:.2f}", wanted])
    step, epoch = rates["mxml memory"], rates["mxml files"]
    wanted = str(EPOCH_AGAINST_STEP)
    rows.append([NETWORKS[network], "whole epoch", epoch, "mxml's training step", step, f"{epoch / step:.2f}", wanted])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--images", type=int, default=320, help="images an epoch")
    parser.add_argument("--epochs", type=int, default=1, help="measured epochs a round, after one to warm up")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=NETWORKS, help="measure mxml on one network in this process")
    parser.add_argument("--source", choices=("files", "memory"), default="files", help="with --only")
    parser.add_argument("--list", help="with --only: the training list")
    options = parser.parse_args()
    if options.only:
        print(json.dumps(measure(options.only, options.source, options.list, options.epochs)))
        return
    python = peers.python()
    with tempfile.TemporaryDirectory() as folder:
        list_path = write_list(folder, options.images)
        rows = [
            row
            for network in options.networks
            for row in compare(network, python, list_path, options.epochs, options.rounds)
        ]
    print(markdown_table(["network", "what", "mxml img/s", "against", "img/s", "ratio", "at least"], rows))
    print(f"\n{machine([sys.executable, python])}\n\nRepeat with: `{repeat_with()}`")


if __name__ == "__main__":
    main()
