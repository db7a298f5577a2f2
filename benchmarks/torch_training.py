"""PyTorch's side of train_speed.py: the same network, images, augmentation and optimizer; run by the peers' Python.

Prints one JSON object with ``images_per_second``. It is given what makes PyTorch fast on a CPU: channels_last
activations and inputs (batches are made channels_last, so nothing is copied), no gradient zeroing, and for reading
images a DataLoader whose workers decode, resize, crop, mirror and normalise with cv2, or none where that is faster.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn
from torch_models import NETWORKS

MEAN, STD = (123.68, 116.28, 103.53), (58.395, 57.12, 57.375)


class Photographs(torch.utils.data.Dataset):
    """The images of a ``.lst`` file as ((size, size, 3) float32, (C,) float32).

    They are RGB and normalised, or BGR less ``bgr_mean``. Augmented ones are cropped at random and half are mirrored.
    """

    def __init__(
        self,
        list_path: str,
        root: str,
        size: int,
        bgr_mean: tuple[float, float, float] | None = None,
        augmented: bool = True,
    ):
        rows = [line.split("\t") for line in Path(list_path).read_text().splitlines()]
        self.paths = [str(Path(root) / row[-1]) for row in rows]
        self.labels = [np.array(row[1:-1], np.float32) for row in rows]
        self.size = size
        self.is_bgr, self.augmented = bgr_mean is not None, augmented
        levels = np.arange(256, dtype=np.float32)
        scales = zip(MEAN, STD) if bgr_mean is None else zip(bgr_mean, (1.0, 1.0, 1.0))
        self.table = np.stack([(levels - mean) / std for mean, std in scales], 1)[None].astype(np.float32)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, position: int) -> tuple[np.ndarray, np.ndarray]:
        image = cv2.imread(self.paths[position])
        height, width = image.shape[:2]
        short = min(height, width)
        size = (self.size * width // short, self.size * height // short)
        image = cv2.resize(image, size, interpolation=cv2.INTER_CUBIC)
        top, left = (size[1] - self.size) // 2, (size[0] - self.size) // 2
        if self.augmented:
            top, left = random.randint(0, size[1] - self.size), random.randint(0, size[0] - self.size)
        image = image[top : top + self.size, left : left + self.size]
        if self.augmented and random.random() < 0.5:
            image = cv2.flip(image, 1)
        if not self.is_bgr:
            image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
        return cv2.LUT(image, self.table), self.labels[position]


def quiet_worker(_: int) -> None:
    cv2.setNumThreads(1)


def train(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Iterable,
    schedule: torch.optim.lr_scheduler.LRScheduler | None = None,
) -> int:
    """Take one step a batch and return how many images there were."""
    loss_of = nn.BCEWithLogitsLoss()
    images = 0
    total = torch.zeros(())
    for data, labels in batches:
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(network(data.permute(0, 3, 1, 2)), labels)
        loss.backward()
        optimizer.step()
        if schedule:
            schedule.step()
        total += loss.detach()
        images += len(data)
    if not torch.isfinite(total):
        raise SystemExit("the loss is not finite")
    return images


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", choices=NETWORKS, required=True)
    parser.add_argument("--source", choices=("memory", "files"), required=True)
    parser.add_argument("--list", required=True)
    parser.add_argument("--root", required=True)
    parser.add_argument("--batch-size", type=int, required=True)
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--epochs", type=int, required=True, help="after one to warm up")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--workers", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    cv2.setNumThreads(1)
    photographs = Photographs(options.list, options.root, options.size)
    network = NETWORKS[options.network](len(photographs.labels[0])).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.001, momentum=0.9, weight_decay=1e-4)
    batches = torch.utils.data.DataLoader(
        photographs,
        options.batch_size,
        shuffle=True,
        num_workers=options.workers if options.source == "files" else 0,
        worker_init_fn=quiet_worker,
        persistent_workers=options.source == "files" and options.workers > 0,
    )
    source = list(batches) if options.source == "memory" else batches
    train(network, optimizer, source)
    started = time.perf_counter()
    images = sum(train(network, optimizer, source) for _ in range(options.epochs))
    print(json.dumps({"images_per_second": images / (time.perf_counter() - started)}))


if __name__ == "__main__":
    main()
