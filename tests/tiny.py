"""A pretrained network and a data set small enough to train in a second."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mxml.data.image_list import ImageList
from mxml.data.label_names import write_label_names
from mxml.data.lst_file import write_lst
from mxml.model import params_file
from mxml.runtime.imports import load_mxnet
from mxml.runtime.types import NDArray, Symbol
from mxml.training.config import TrainConfig

mx = load_mxnet()
LABELS = ("red", "green", "blue")


def make_network(prefix: Path, dropout: float = 0.2, batch_norm: bool = True) -> None:
    """Write a softmax classifier of 3x32x32 images with random parameters."""
    net = mx.sym.Variable("data")
    net = mx.sym.Convolution(net, num_filter=8, kernel=(3, 3), stride=(2, 2), name="conv0")
    if batch_norm:
        net = mx.sym.BatchNorm(net, fix_gamma=False, name="bn0")
    net = mx.sym.Activation(net, act_type="relu", name="relu0")
    if dropout:
        net = mx.sym.Dropout(net, p=dropout, name="drop0")
    net = mx.sym.Pooling(net, global_pool=True, kernel=(1, 1), pool_type="avg", name="pool0")
    net = mx.sym.Flatten(net, name="flatten0")
    net = mx.sym.FullyConnected(net, num_hidden=5, name="fc")
    net = mx.sym.SoftmaxOutput(net, name="softmax")
    args, aux = random_parameters(net, (3, 32, 32), np.random.default_rng(7))
    net.save(f"{prefix}-symbol.json")
    params_file.write_params(f"{prefix}-0000.params", params_file.join_params(args, aux))


def random_parameters(
    symbol: Symbol, shape: tuple[int, ...], generator: np.random.Generator
) -> tuple[dict[str, NDArray], dict[str, NDArray]]:
    """Return random parameters of a network for images of ``shape``, and statistics: means 0 and variances 1."""
    shapes, _, aux_shapes = symbol.infer_shape(data=(1, *shape))
    args = {
        name: mx.nd.array(generator.normal(0, 0.2, shape))
        for name, shape in zip(symbol.list_arguments(), shapes)
        if name not in ("data", "softmax_label")
    }
    aux = {
        name: mx.nd.ones(shape) if "var" in name else mx.nd.zeros(shape)
        for name, shape in zip(symbol.list_auxiliary_states(), aux_shapes)
    }
    return args, aux


def make_images(folder: Path, count: int, seed: int) -> ImageList:
    """Draw noisy images in which a label is a bright channel, and return their list."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 2, (count, len(LABELS))).astype(np.int8)
    names = []
    for position, row in enumerate(labels):
        noise = generator.integers(0, 90, (40, 44, 3))
        rgb = np.clip(noise + 130 * row, 0, 255).astype(np.uint8)
        names.append(f"{seed}-{position}.png")
        assert cv2.imwrite(str(folder / names[-1]), rgb[..., ::-1])
    return ImageList.from_rows(names, labels, root=str(folder))


def make_data(folder: Path, train: int = 40, val: int = 12) -> None:
    """Write images, lists and label names below ``folder``."""
    (folder / "lists").mkdir(parents=True, exist_ok=True)
    for name, count, seed in (("train", train, 1), ("val", val, 2)):
        write_lst(folder / "lists" / f"{name}.lst", make_images(folder / "images", count, seed))
    write_label_names(folder / "lists" / "labels.txt", LABELS)
    make_network(folder / "net")


def settings(folder: Path, prefix: str = "run", **changes: Any) -> dict[str, Any]:
    """Return the settings of a short run on ``make_data``'s files."""
    return {
        "model": str(folder / "net"),
        "prefix": str(folder / prefix),
        "data_train": str(folder / "lists" / "train.lst"),
        "image_train": str(folder / "images"),
        "data_val": str(folder / "lists" / "val.lst"),
        "image_val": str(folder / "images"),
        "image_shape": (3, 32, 32),
        "preset": "original",
        "method": "finetune",
        "optimizer": "sgd",
        "batch_size": 8,
        "num_epoch": 3,
        "lr": 0.05,
        "device": "cpu",
        **changes,
    }


def config(folder: Path, prefix: str = "run", **changes: Any) -> TrainConfig:
    """Return ``settings`` as a TrainConfig."""
    return TrainConfig(**settings(folder, prefix, **changes))


def arguments(folder: Path, prefix: str = "run", **changes: Any) -> list[str]:
    """Return ``settings`` as options of ``mxml train``."""
    options = []
    for name, value in settings(folder, prefix, **changes).items():
        text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
        options += [f"--{name.replace('_', '-')}", text]
    return options
