"""Tags photographs with ONNX Runtime as people write it: OpenCV in a thread pool, one session, batches, float32.

    python onnx_predict.py NETWORK PHOTOS IMAGES BATCH SIZE FOLDER

The network has random parameters and 1,000 outputs; it is exported from PyTorch into FOLDER. Prints the rate as JSON.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import torch
from torch import nn
from torch_models import squeezenet

MEAN = np.array([123.68, 116.28, 103.53], np.float32)
STD = np.array([58.395, 57.12, 57.375], np.float32)


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions and a shortcut, activated after the sum; the stride is in the first, as in v1."""

    def __init__(self, channels_in: int, width: int, stride: int):
        super().__init__()
        out = 4 * width
        self.body = nn.Sequential(
            *(nn.Conv2d(channels_in, width, 1, stride, bias=False), nn.BatchNorm2d(width), nn.ReLU()),
            *(nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()),
            *(nn.Conv2d(width, out, 1, bias=False), nn.BatchNorm2d(out)),
        )
        project = nn.Sequential(nn.Conv2d(channels_in, out, 1, stride, bias=False), nn.BatchNorm2d(out))
        self.shortcut = project if channels_in != out or stride != 1 else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.body(x) + self.shortcut(x))


def resnet50(num_classes: int) -> nn.Module:
    """ResNet-50 (v1): (B, 3, H, W) to (B, num_classes) logits."""
    layers: list[nn.Module] = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
    layers.append(nn.MaxPool2d(3, 2, 1))
    channels = 64
    for stage, (blocks, width) in enumerate(((3, 64), (4, 128), (6, 256), (3, 512))):
        for block in range(blocks):
            layers.append(Bottleneck(channels, width, 2 if stage and not block else 1))
            channels = 4 * width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, num_classes))


NETWORKS: dict[str, Callable[[int], nn.Module]] = {"squeezenet": squeezenet, "resnet50": resnet50}


def exported(network: str, folder: Path, size: int) -> str:
    """Export the network with a dynamic batch, once, and return its file."""
    path = folder / f"{network}.onnx"
    if not path.exists():
        torch.manual_seed(0)
        names = {"input_names": ["data"], "output_names": ["logits"], "dynamic_axes": {"data": {0: "batch"}}}
        model = NETWORKS[network](1000).eval()
        torch.onnx.export(model, (torch.zeros(1, 3, size, size),), str(path), dynamo=False, **names)
    return str(path)


def prepared(path: str, size: int) -> np.ndarray:
    """Return the network's input (3, size, size): the short side to ``size``, its centre, normalised."""
    image = cv2.imread(path)
    height, width = image.shape[:2]
    scale = size / min(height, width)
    image = cv2.resize(
        image, (max(size, round(width * scale)), max(size, round(height * scale))), interpolation=cv2.INTER_CUBIC
    )
    top, left = (image.shape[0] - size) // 2, (image.shape[1] - size) // 2
    rgb = cv2.cvtColor(image[top : top + size, left : left + size], cv2.COLOR_BGR2RGB)
    return ((rgb.astype(np.float32) - MEAN) / STD).transpose(2, 0, 1)


def tagged(session: onnxruntime.InferenceSession, paths: list[str], batch: int, size: int) -> Iterator[str]:
    """Yield one line of JSON for each image; the next batch is decoded while the network computes."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        starts = range(0, len(paths), batch)
        waiting = [pool.submit(prepared, path, size) for path in paths[:batch]]
        for start in starts:
            later = [pool.submit(prepared, path, size) for path in paths[start + batch : start + 2 * batch]]
            data = np.stack([job.result() for job in waiting])
            (logits,) = session.run(None, {"data": data})
            powers = np.exp(logits - logits.max(axis=1, keepdims=True))
            scores = powers / powers.sum(axis=1, keepdims=True)
            for path, row in zip(paths[start : start + batch], scores):
                best = np.argsort(-row)[:5]
                yield json.dumps({"path": path, "class_ids": best.tolist(), "scores": row[best].round(5).tolist()})
            waiting = later


def main() -> None:
    """Measure and print the rate."""
    network, photos, count, batch, size, folder = sys.argv[1:]
    files = sorted(map(str, Path(photos).glob("*.jpg")))
    paths = [files[number % len(files)] for number in range(int(count))]
    cv2.setNumThreads(1)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = os.cpu_count() or 1
    model = exported(network, Path(folder), int(size))
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    for _ in tagged(session, paths[: 2 * int(batch)], int(batch), int(size)):
        pass
    started = time.perf_counter()
    letters = sum(map(len, tagged(session, paths, int(batch), int(size))))
    assert letters > len(paths)
    print(json.dumps({"images_per_second": len(paths) / (time.perf_counter() - started)}))


if __name__ == "__main__":
    main()
