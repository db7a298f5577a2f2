"""Compares how fast batches are made from image files: mxml, MXNet, a bare cv2 thread pool, PyTorch.

All read the 1,400 photographs of miml-scene's train.lst in a random order, bring the short side to 224 pixels by
cubic interpolation, and cut a random 224 x 224 crop; all but the bare pool mirror half of them and normalise to
float32 NCHW batches of 32. Run it with the Python that has mxnet; ``--peers`` names the Python that has torch.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import peers
from harness import SHARED, alternate, machine, markdown_table, median, repeat_with

DATA = SHARED / "data" / "miml-scene"
BATCH, SIZE, WORKERS = 32, 224, 2
MEAN, STD = (123.68, 116.28, 103.53), (58.395, 57.12, 57.375)
NEEDED = {"mx.image.ImageIter": 3.5, "bare cv2 pool": 0.9, "torch DataLoader": 1.0}


def paths() -> list[str]:
    lines = (DATA / "train.lst").read_text().splitlines()
    return [str(DATA / "images" / line.split("\t")[-1]) for line in lines]


ARGUMENTS = {
    "batch_size": BATCH,
    "data_shape": (3, SIZE, SIZE),
    "label_width": 5,
    "path_imglist": str(DATA / "train.lst"),
    "path_root": str(DATA / "images"),
    "shuffle": True,
    "resize": SIZE,
    "rand_crop": True,
    "rand_mirror": True,
    "mean": True,
    "std": True,
}


def mxml_iter():
    from mxml import ImageIter

    batches = ImageIter(**ARGUMENTS, threads=WORKERS)
    while True:
        for batch in batches:
            batch.data[0].wait_to_read()
            yield BATCH - batch.pad
        batches.reset()


def mxnet_iter():
    from mxml.runtime.imports import load_mxnet

    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // 2)))  # MXNet's own choice

    mx = load_mxnet()
    batches = mx.image.ImageIter(**ARGUMENTS)
    while True:
        for batch in batches:
            batch.data[0].wait_to_read()
            yield BATCH - batch.pad
        batches.reset()


def crop(path: str):
    """Read, decode, resize and crop one image with cv2 and nothing else."""
    import cv2

    image = cv2.imread(path)
    height, width = image.shape[:2]
    short = min(height, width)
    image = cv2.resize(image, (SIZE * width // short, SIZE * height // short), interpolation=cv2.INTER_CUBIC)
    top, left = random.randint(0, image.shape[0] - SIZE), random.randint(0, image.shape[1] - SIZE)
    return image[top : top + SIZE, left : left + SIZE]


def bare_pool():
    import cv2

    cv2.setNumThreads(1)
    names = paths()
    with ThreadPoolExecutor(WORKERS) as pool:
        while True:
            random.shuffle(names)
            for _ in pool.map(crop, names):
                yield 1


class Photographs:
    def __init__(self):
        import numpy as np

        self.paths = paths()
        levels = np.arange(256, dtype=np.float32)
        self.tables = [(levels - np.float32(mean)) / np.float32(std) for mean, std in zip(MEAN, STD)]

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, i):
        import cv2
        import numpy as np
        import torch

        image = crop(self.paths[i])
        if random.random() < 0.5:
            image = cv2.flip(image, 1)
        planes = np.empty((3, SIZE, SIZE), np.float32)
        blue, green, red = cv2.split(image)
        for plane, channel, table in zip(planes, (red, green, blue), self.tables):
            cv2.LUT(channel, table, dst=plane)
        return torch.from_numpy(planes)


def start_worker(_):
    import cv2

    cv2.setNumThreads(1)


def torch_loader():
    import torch

    loader = torch.utils.data.DataLoader(
        Photographs(),
        BATCH,
        shuffle=True,
        num_workers=WORKERS,
        worker_init_fn=start_worker,
        persistent_workers=True,
    )
    while True:
        for batch in loader:
            yield len(batch)


CONTESTANTS = {
    "mxml.ImageIter": mxml_iter,
    "mx.image.ImageIter": mxnet_iter,
    "bare cv2 pool": bare_pool,
    "torch DataLoader": torch_loader,
}


def measure(contestant: str, seconds: float) -> dict[str, float]:
    """Count images for ``seconds``, after a quarter of that to warm up."""
    source = CONTESTANTS[contestant]()
    _count(source, seconds / 4)
    processor = time.process_time()
    images, taken = _count(source, seconds)
    processor = time.process_time() - processor
    return {"images_per_second": images / taken, "cpu_ms_an_image": processor / images * 1e3}


def _count(source, seconds: float) -> tuple[int, float]:
    images, started = 0, time.perf_counter()
    for count in source:
        images += count
        if time.perf_counter() - started >= seconds:
            break
    return images, time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each measurement")
    parser.add_argument("--only", choices=CONTESTANTS, help="measure one contestant in this process")
    options = parser.parse_args()
    if options.only:
        print(json.dumps(measure(options.only, options.seconds)))
        return
    python = peers.python()
    pythons = {"torch DataLoader": python}
    commands = {
        name: [pythons.get(name, sys.executable), __file__, "--only", name, "--seconds", str(options.seconds)]
        for name in CONTESTANTS
    }
    rates = median(alternate(commands, options.rounds), "images_per_second")
    ours = rates["mxml.ImageIter"]
    rows = [[name, rate, ours / rate, str(NEEDED.get(name, "-"))] for name, rate in rates.items()]
    print(markdown_table(["batches from files", "images/s", "mxml against it", "at least"], rows))
    print(f"\n{machine([sys.executable, python])}\n\nRepeat with: `{repeat_with()}`")


if __name__ == "__main__":
    main()
