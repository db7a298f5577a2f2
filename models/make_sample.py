"""Make everything of the sample: images/, lists/ and models/sample-*, the same bytes each time.

    python models/make_sample.py                    # all of it, into this checkout; about 4 minutes on 2 cores
    python models/make_sample.py --images-only      # without pretraining the network; seconds
    python models/make_sample.py --out DIR          # into DIR/images, DIR/lists and DIR/models, to compare

The world is figures on cluttered ground, which figures.py draws: each has a shape, a colour and a filling. The sample's
images hold one to three figures and carry eight labels, several at once. The network was pretrained, with a softmax
over 56 kinds of figure ("red star", "striped heart"), on other images of this world that hold one kind each, from other
seeds.

What is repeatable: images and lists come out byte for byte with opencv-python-headless 4.9.0.80 and any NumPy from
1.24 to 1.26, on any x86-64 (drawn in integers, and RandomState, whose stream NumPy has frozen). The parameters come
out bit for bit with mxnet 1.9.1 on the same type of processor: this script fixes the seeds and computes with one
thread, whatever OMP_NUM_THREADS says; another processor's instruction set rounds otherwise.

Run it where mxml is installed (``pip install -e .[cpu]``).
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from figures import COLOURS, FILLINGS, SHAPES, Figure, draw_scene, encode, pick

from mxml import atomic
from mxml.data.formats.sources import LabelSources
from mxml.prepare.make_lists import make_lists
from mxml.runtime.imports import load_cv2, load_mxnet

ROOT = Path(__file__).resolve().parent.parent
OPENCV_VERSION = "4.9.0"

LABELS = ("circle", "triangle", "star", "cross", "red", "blue", "striped", "dotted")
NUM_IMAGES = 720
FIGURES_PER_IMAGE = {1: 0.24, 2: 0.46, 3: 0.30}
# With this chance a figure takes the trait that its shape favours, so that labels occur together more than by chance.
FAVOUR = 0.4
FAVOURED = {"star": "red", "cross": "blue", "triangle": "striped", "circle": "dotted"}

LOOKS = ("red", "blue", "green", "yellow", "striped", "dotted", "checked")
KINDS = tuple(f"{look} {shape}" for shape in SHAPES for look in LOOKS)

SAMPLE_SEED, PRETRAINING_SEED, HELD_OUT_SEED, NETWORK_SEED = 2, 3, 5, 7


# The sample


def sample_image(position: int) -> tuple[bytes, np.ndarray]:
    """Return one image of the sample as JPEG bytes, and its labels, (8,) int8 of 0 and 1."""
    rng = np.random.RandomState([SAMPLE_SEED, position])
    figures = [_any_figure(rng) for _ in range(pick(rng, FIGURES_PER_IMAGE))]
    present = set().union(*(figure.traits for figure in figures))
    return encode(draw_scene(rng, figures)), np.array([name in present for name in LABELS], np.int8)


def _any_figure(rng: np.random.RandomState) -> Figure:
    shape, colour, filling = pick(rng, SHAPES), pick(rng, COLOURS), pick(rng, FILLINGS)
    favoured = FAVOURED.get(shape)
    if rng.random_sample() < FAVOUR:
        colour = favoured if favoured in COLOURS else colour
        filling = favoured if favoured in FILLINGS else filling
    return Figure(shape, colour, filling)


def image_name(position: int) -> str:
    """Return the file name of one image of the sample."""
    return f"{position:04d}.jpg"


def make_images(out: Path) -> None:
    """Write images/*.jpg and images/labels.csv."""
    (out / "images").mkdir(parents=True, exist_ok=True)
    rows = [",".join(("image", *LABELS))]
    for position in range(NUM_IMAGES):
        data, labels = sample_image(position)
        atomic.write_bytes(out / "images" / image_name(position), data)
        rows.append(",".join((image_name(position), *map(str, labels))))
    atomic.write_text(out / "images" / "labels.csv", "\n".join(rows) + "\n")


# The pretrained network

SIDE = 96  # pixels; the network's input is (3, SIDE, SIDE), RGB
MEAN = np.array([123.68, 116.28, 103.53], np.float32)
STD = np.array([58.395, 57.12, 57.375], np.float32)
NUM_PRETRAINING, NUM_HELD_OUT = 6000, 600
EPOCHS, BATCH = 14, 50
LEARNING_RATE, MOMENTUM, WEIGHT_DECAY = 0.1, 0.9, 1e-4


def kind_image(seed: int, position: int) -> np.ndarray:
    """Draw one or two figures of the kind ``position % 56``; (SIDE, SIDE, 3) uint8 RGB."""
    cv2 = load_cv2()
    rng = np.random.RandomState([seed, position])
    look, shape = KINDS[position % len(KINDS)].split()
    colour = look if look in COLOURS else pick(rng, COLOURS)
    filling = look if look in FILLINGS else "plain"
    image = draw_scene(rng, [Figure(shape, colour, filling)] * rng.randint(1, 3))
    image = cv2.imdecode(np.frombuffer(encode(image), np.uint8), cv2.IMREAD_COLOR)
    top, left = ((length - min(image.shape[:2])) // 2 for length in image.shape[:2])
    image = image[top : image.shape[0] - top, left : image.shape[1] - left]
    return cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)[:, :, ::-1]


def build_network() -> Any:
    """Return the softmax classifier: a residual network with BatchNorm, its head ``fc`` on ``flatten0``."""
    mx = load_mxnet()

    def convolution(data: Any, name: str, filters: int, kernel: int, stride: int, relu: bool = True) -> Any:
        data = mx.sym.Convolution(
            data,
            name=f"{name}_conv",
            num_filter=filters,
            kernel=(kernel, kernel),
            stride=(stride, stride),
            pad=(kernel // 2, kernel // 2),
            no_bias=True,
        )
        data = mx.sym.BatchNorm(data, name=f"{name}_bn", fix_gamma=False, eps=1e-5, momentum=0.9)
        return mx.sym.Activation(data, name=f"{name}_relu", act_type="relu") if relu else data

    data = convolution(mx.sym.var("data"), "stem", 32, 3, 2)
    for stage, (filters, stride) in enumerate(((32, 2), (64, 2), (128, 2)), start=1):
        name = f"stage{stage}"
        inner = convolution(data, f"{name}_a", filters, 3, stride)
        inner = convolution(inner, f"{name}_b", filters, 3, 1, relu=False)
        skip = data if stride == 1 else convolution(data, f"{name}_skip", filters, 1, stride, relu=False)
        data = mx.sym.Activation(inner + skip, name=f"{name}_relu", act_type="relu")
    data = mx.sym.Pooling(data, name="pool", kernel=(1, 1), pool_type="avg", global_pool=True)
    data = mx.sym.Flatten(data, name="flatten0")
    data = mx.sym.FullyConnected(data, name="fc", num_hidden=len(KINDS))
    return mx.sym.SoftmaxOutput(data, name="softmax")


def make_network(out: Path) -> None:
    """Pretrain the network and write models/sample-symbol.json and models/sample-0000.params."""
    # The sums of gradients round otherwise when another number of threads shares them.
    os.environ["OMP_NUM_THREADS"] = "1"
    from mxml.model.params_file import write_params

    started = time.monotonic()
    images, kinds = _kind_images(PRETRAINING_SEED, NUM_PRETRAINING)
    print(f"drew {len(images)} images of one kind in {time.monotonic() - started:.0f} s", flush=True)
    module = _pretrain(images, kinds)
    print(f"right on images held out: {_share_right(module, *_kind_images(HELD_OUT_SEED, NUM_HELD_OUT)):.3f}")
    arg_params, aux_params = module.get_params()
    params = {f"arg:{name}": value for name, value in arg_params.items()}
    params.update({f"aux:{name}": value for name, value in aux_params.items()})
    (out / "models").mkdir(parents=True, exist_ok=True)
    atomic.write_text(out / "models" / "sample-symbol.json", module.symbol.tojson())
    write_params(out / "models" / "sample-0000.params", params)


def _pretrain(images: np.ndarray, kinds: np.ndarray) -> Any:
    """Train the network from random weights; return its module."""
    mx = load_mxnet()
    rng = np.random.RandomState(NETWORK_SEED)
    mx.random.seed(NETWORK_SEED)
    batches = len(images) // BATCH
    module = mx.mod.Module(build_network())
    module.bind([("data", (BATCH, 3, SIDE, SIDE))], [("softmax_label", (BATCH,))])
    module.init_params(mx.init.Xavier(rnd_type="gaussian", factor_type="in", magnitude=2))
    schedule = mx.lr_scheduler.CosineScheduler(EPOCHS * batches, LEARNING_RATE, final_lr=0, warmup_steps=batches)
    settings = {"lr_scheduler": schedule, "learning_rate": LEARNING_RATE, "momentum": MOMENTUM, "wd": WEIGHT_DECAY}
    module.init_optimizer(optimizer="nag", optimizer_params=settings)
    for epoch in range(1, EPOCHS + 1):
        order = rng.permutation(len(images))
        right, started = 0, time.monotonic()
        for first in range(0, batches * BATCH, BATCH):
            chosen = order[first : first + BATCH]
            module.forward(_batch(_augment(rng, images[chosen]), kinds[chosen]), is_train=True)
            module.backward()
            module.update()
            right += _count_right(module, kinds[chosen])
        seconds = time.monotonic() - started
        print(f"epoch {epoch} of {EPOCHS}: right {right / (batches * BATCH):.3f}, {seconds:.0f} s", flush=True)
    return module


def _share_right(module: Any, images: np.ndarray, kinds: np.ndarray) -> float:
    right = 0
    for first in range(0, len(images) // BATCH * BATCH, BATCH):
        module.forward(_batch(images[first : first + BATCH], kinds[first : first + BATCH]), is_train=False)
        right += _count_right(module, kinds[first : first + BATCH])
    return right / (len(images) // BATCH * BATCH)


def _count_right(module: Any, kinds: np.ndarray) -> int:
    return int((module.get_outputs()[0].asnumpy().argmax(axis=1) == kinds).sum())


def _kind_images(seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    return np.stack([kind_image(seed, position) for position in range(count)]), np.arange(count) % len(KINDS)


def _augment(rng: np.random.RandomState, images: np.ndarray) -> np.ndarray:
    """Mirror each image, and shift it by up to 8 pixels over its own mirrored border, by chance."""
    padded = np.pad(images, ((0, 0), (8, 8), (8, 8), (0, 0)), mode="reflect")
    shifted = np.empty_like(images)
    for position, image in enumerate(padded):
        top, left = rng.randint(0, 17, 2)
        crop = image[top : top + SIDE, left : left + SIDE]
        shifted[position] = crop[:, ::-1] if rng.randint(2) else crop
    return shifted


def _batch(images: np.ndarray, kinds: np.ndarray) -> Any:
    mx = load_mxnet()
    data = ((images.astype(np.float32) - MEAN) / STD).transpose(0, 3, 1, 2)
    return mx.io.DataBatch([mx.nd.array(data)], [mx.nd.array(kinds)])


def main(arguments: list[str] | None = None) -> int:
    """Make what was asked for and say how large it is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT, help="folder to write into (default: this checkout)")
    parser.add_argument("--images-only", action="store_true", help="leave the pretrained network out")
    options = parser.parse_args(arguments)
    if not load_cv2().__version__.startswith(OPENCV_VERSION):
        print(f"OpenCV {load_cv2().__version__}: the JPEG bytes may differ from those of 4.9.0.80", file=sys.stderr)
    make_images(options.out)
    sources = LabelSources((), options.out / "images", num_classes=len(LABELS))
    make_lists(sources, options.out / "lists", force=True)
    if not options.images_only:
        make_network(options.out)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
