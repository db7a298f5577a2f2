"""Make everything of the sample: images/, lists/ and models/sample-*, the same bytes each time.

    python models/make_sample.py                    # all of it, into this checkout; about 4 minutes on 2 cores
    python models/make_sample.py --images-only      # without pretraining the network; seconds
    python models/make_sample.py --out DIR          # into DIR/images, DIR/lists and DIR/models, to compare

The world is figures on cluttered ground: each figure has a shape, a colour and a filling. The sample's images hold one
to three figures and carry eight labels, several at once. The network was pretrained, with a softmax over 56 kinds of
figure ("red star", "striped heart"), on other images of this world that hold one kind each, from other seeds.

What is repeatable: images and lists come out byte for byte with opencv-python-headless 4.9.0.80 and any NumPy from
1.24 to 1.26, on any x86-64 (drawn in integers, and RandomState, whose stream NumPy has frozen). The parameters come
out bit for bit with mxnet 1.9.1 on the same type of processor: this script fixes the seeds and computes with one
thread, whatever OMP_NUM_THREADS says; another processor's instruction set rounds otherwise.

Run it where mxml is installed (``pip install -e .[cpu]``).
"""

from __future__ import annotations

import argparse
import colorsys
import math
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mxml import atomic
from mxml.data.formats.sources import LabelSources
from mxml.prepare.make_lists import make_lists
from mxml.runtime.imports import load_cv2, load_mxnet

ROOT = Path(__file__).resolve().parent.parent
OPENCV_VERSION = "4.9.0"

LABELS = ("circle", "triangle", "star", "cross", "red", "blue", "striped", "dotted")
NUM_IMAGES = 720
# One disk block each: 720 files then take on a disk what their bytes add up to.
MAX_JPEG_BYTES = 4096

# Chance of each shape, colour and filling; what is not among LABELS is there to be told apart from them.
SHAPES = {
    "circle": 0.19,
    "triangle": 0.16,
    "star": 0.14,
    "cross": 0.10,
    "square": 0.14,
    "heart": 0.10,
    "crescent": 0.09,
    "arrow": 0.08,
}
COLOURS = {"red": 0.20, "blue": 0.16, "green": 0.20, "yellow": 0.18, "white": 0.13, "black": 0.13}
FILLINGS = {"plain": 0.42, "striped": 0.20, "dotted": 0.16, "checked": 0.22}
FIGURES_PER_IMAGE = {1: 0.24, 2: 0.46, 3: 0.30}
# With this chance a figure takes the trait that its shape favours, so that labels occur together more than by chance.
FAVOUR = 0.4
FAVOURED = {"star": "red", "cross": "blue", "triangle": "striped", "circle": "dotted"}

LOOKS = ("red", "blue", "green", "yellow", "striped", "dotted", "checked")
KINDS = tuple(f"{look} {shape}" for shape in SHAPES for look in LOOKS)

SAMPLE_SEED, PRETRAINING_SEED, HELD_OUT_SEED, NETWORK_SEED = 2, 3, 5, 7

# Edges are smooth because a scene is drawn this many times larger and averaged.
SCALE = 3


@dataclass(frozen=True)
class Figure:
    """What one figure looks like; where it is and how large is drawn with the scene."""

    shape: str
    colour: str
    filling: str

    @property
    def labels(self) -> set[str]:
        """Return the sample's labels that the figure carries."""
        return {self.shape, self.colour, self.filling}.intersection(LABELS)


# Drawing


def draw_scene(rng: np.random.RandomState, figures: list[Figure]) -> np.ndarray:
    """Draw the figures on cluttered ground: (H, W, 3) uint8 BGR, sides of 96 to 128 pixels, of random aspect.

    Every figure lies within the square at the centre, which a centre crop keeps.
    """
    short, long = rng.randint(96, 113), rng.randint(96, 129)
    height, width = (short, max(short, long)) if rng.randint(2) else (max(short, long), short)
    canvas = _draw_ground(rng, height, width)
    for figure, (x, y, radius) in zip(figures, _place(rng, len(figures), height, width)):
        _draw_figure(canvas, rng, figure, x, y, radius)
    image = np.zeros((height, width, 3), np.int32)
    for row in range(SCALE):
        for column in range(SCALE):
            image += canvas[row::SCALE, column::SCALE]
    image //= SCALE**2
    brightness = rng.randint(205, 282)
    image = image * brightness // 256 + rng.randint(-7, 8, image.shape)
    return np.clip(image, 0, 255).astype(np.uint8)


def _draw_ground(rng: np.random.RandomState, height: int, width: int) -> np.ndarray:
    """Return soft patches of light and tint under blots, scratches and specks, (H * SCALE, W * SCALE, 3) uint8."""
    cv2 = load_cv2()
    size = np.array((width, height))
    patches = rng.randint(70, 190, (4, 4, 1)) + rng.randint(-25, 26, (1, 1, 3)) + rng.randint(-45, 46, (4, 4, 3))
    patches = np.clip(patches, 0, 255).astype(np.uint8)
    ground = cv2.resize(patches, (width, height), interpolation=cv2.INTER_LINEAR_EXACT)
    for _ in range(rng.randint(4, 9)):
        centre = rng.randint(0, 100, 2) * size // 100
        angles, reach = np.arange(7) * 51 + rng.randint(0, 30, 7), rng.randint(6, 24, 7)
        corners = np.array([_polar(angle, distance) for angle, distance in zip(angles, reach)])
        mask = np.zeros((height, width), np.uint8)
        cv2.fillPoly(mask, [np.round(corners + centre).astype(np.int32)], 1)
        blot = mask == 1
        ground[blot] = ground[blot] // 2 + np.array(_any_colour(rng, 0.75), np.uint8) // 2
    canvas = ground.repeat(SCALE, axis=0).repeat(SCALE, axis=1)
    size = size * SCALE
    # Most scratches have the colours of figures, so that how much red there is does not tell of a red figure.
    inks = [_pick(rng, COLOURS), _pick(rng, COLOURS)]
    for _ in range(rng.randint(10, 20)):
        start, along = rng.randint(0, 100, 2) * size // 100, _polar(rng.randint(360), rng.randint(10, 70) * SCALE)
        end = np.round(start + along).astype(int)
        colour = _shade(rng, inks[rng.randint(2)]) if rng.randint(4) else _any_colour(rng, 1.0)
        cv2.line(canvas, _pair(start), _pair(end), colour, int(rng.randint(2, 3 * SCALE)))
    for _ in range(rng.randint(15, 45)):
        centre = rng.randint(0, 100, 2) * size // 100
        cv2.circle(canvas, _pair(centre), int(rng.randint(SCALE // 2, 2 * SCALE)), _any_colour(rng, 1.0), -1)
    return canvas


def _place(rng: np.random.RandomState, count: int, height: int, width: int) -> list[tuple[int, int, int]]:
    """Return ``count`` places (x, y, radius), in canvas pixels, that overlap little."""
    side = min(height, width)
    smallest, largest = (13, 17) if count == 3 else (13, 21)
    placed: list[tuple[int, int, int]] = []
    tries = 0
    while len(placed) < count:
        tries += 1
        if tries == 200:  # the first figures left no room for the last
            placed, tries = [], 0
        radius = int(rng.randint(smallest * SCALE, largest * SCALE))
        x = int(rng.randint(radius, side * SCALE - radius)) + (width - side) * SCALE // 2
        y = int(rng.randint(radius, side * SCALE - radius)) + (height - side) * SCALE // 2
        if all(100 * ((x - x0) ** 2 + (y - y0) ** 2) > 81 * (radius + radius0) ** 2 for x0, y0, radius0 in placed):
            placed.append((x, y, radius))
    return placed


def _draw_figure(canvas: np.ndarray, rng: np.random.RandomState, figure: Figure, x: int, y: int, radius: int) -> None:
    cv2 = load_cv2()
    turn = rng.randint(360)
    points = np.round([_polar(angle + turn, distance * radius) for angle, distance in OUTLINES[figure.shape]])
    mask = np.zeros((2 * radius + 1, 2 * radius + 1), np.uint8)
    cv2.fillPoly(mask, [points.astype(np.int32) + radius], 1)
    colour, other = _shade(rng, figure.colour), _partner(rng, figure.colour)
    pattern = _pattern(rng, figure.filling, radius)
    box = canvas[y - radius : y + radius + 1, x - radius : x + radius + 1]
    box[mask == 1] = colour
    box[(mask == 1) & pattern] = other


Corners = list[tuple[float, float]]


def _to_polar(corners: Corners) -> Corners:
    return [(math.degrees(math.atan2(y, x)), min(1.0, math.sqrt(x * x + y * y))) for x, y in corners]


def _crescent() -> Corners:
    outer = [(math.cos(t * math.pi / 20), math.sin(t * math.pi / 20)) for t in range(7, 34)]
    # Back along a smaller circle, around (0.35, 0), that passes through the outer arc's two ends.
    x, y = outer[-1]
    reach = math.sqrt((x - 0.35) ** 2 + y**2)
    start = math.atan2(y, x - 0.35)
    inner = [start + (2 * math.pi + 2 * start) * -t / 20 for t in range(1, 20)]
    return _to_polar(outer + [(0.35 + reach * math.cos(turn), reach * math.sin(turn)) for turn in inner])


def _heart() -> Corners:
    corners = []
    for t in (step * math.pi / 20 for step in range(40)):
        x = (13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t) + 2) / 16.5
        corners.append((x * 0.95, math.sin(t) ** 3 * 0.95))
    return _to_polar(corners)


# Each shape's corners as (angle in degrees, distance from the centre as a share of the radius).
OUTLINES: dict[str, Corners] = {
    "circle": [(angle, 0.9) for angle in range(0, 360, 6)],
    "triangle": [(angle, 1.0) for angle in (0, 120, 240)],
    "star": [(36 * corner, 0.42 if corner % 2 else 1.0) for corner in range(10)],
    "cross": [(90 * arm + turn, reach) for arm in range(4) for turn, reach in ((-18, 1.0), (18, 1.0), (45, 0.437))],
    "square": [(angle, 1.0) for angle in (45, 135, 225, 315)],
    "heart": _heart(),
    "crescent": _crescent(),
    "arrow": _to_polar([(1, 0), (0.1, 0.8), (0.1, 0.3), (-0.95, 0.3), (-0.95, -0.3), (0.1, -0.3), (0.1, -0.8)]),
}


def _pattern(rng: np.random.RandomState, filling: str, radius: int) -> np.ndarray:
    """Return where the figure's second colour shows, as booleans over its box."""
    rows, columns = np.mgrid[-radius : radius + 1, -radius : radius + 1] * 256
    along, across = np.round(np.multiply(_polar(rng.randint(180), 1.0), 256)).astype(int)
    u, v = (columns * along + rows * across) // 65536, (rows * along - columns * across) // 65536
    half = int(rng.randint(10, 15))  # of a period, in canvas pixels: 3.3 to 4.7 image pixels
    if filling == "striped":
        return (u // half) % 2 == 1
    if filling == "checked":
        return (u // (half + 3) + v // (half + 3)) % 2 == 1
    if filling == "dotted":
        cell = 2 * half
        return (u % cell - half) ** 2 + (v % cell - half) ** 2 < (half * 5 // 8) ** 2
    return np.zeros(u.shape, bool)


def _shade(rng: np.random.RandomState, colour: str) -> tuple[int, int, int]:
    jitter = rng.randint(-100, 101) / 100
    saturation, value = rng.randint(72, 101) / 100, rng.randint(70, 101) / 100
    if colour == "white":
        return _bgr(0.12, 0.06, rng.randint(92, 101) / 100)
    if colour == "black":
        return _bgr(0.6, 0.2, rng.randint(5, 18) / 100)
    hue, spread = {"red": (0, 7), "blue": (224, 12), "green": (128, 18), "yellow": (53, 5)}[colour]
    return _bgr((hue + jitter * spread) / 360, saturation, value)


def _partner(rng: np.random.RandomState, colour: str) -> tuple[int, int, int]:
    light = rng.randint(2) == 1
    if colour in ("white", "yellow"):
        light = False
    if colour in ("black", "blue"):
        light = True
    return _shade(rng, "white" if light else "black")


def _any_colour(rng: np.random.RandomState, saturation: float) -> tuple[int, int, int]:
    return _bgr(rng.randint(360) / 360, saturation * rng.randint(20, 101) / 100, rng.randint(30, 101) / 100)


def _bgr(hue: float, saturation: float, value: float) -> tuple[int, int, int]:
    red, green, blue = colorsys.hsv_to_rgb(hue % 1, saturation, value)
    return round(255 * blue), round(255 * green), round(255 * red)


def _polar(degrees: float, distance: float) -> tuple[float, float]:
    # A half that is a hair off would be rounded up on one machine and down on the next.
    turn = math.radians(degrees)
    return round(distance * math.cos(turn), 6), round(distance * math.sin(turn), 6)


def _pair(point: np.ndarray) -> tuple[int, int]:
    return int(point[0]), int(point[1])


def encode(image: np.ndarray) -> bytes:
    """Return the image as a JPEG of the best quality that fits in MAX_JPEG_BYTES."""
    cv2 = load_cv2()
    for quality in range(92, 20, -4):
        data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
        if len(data) <= MAX_JPEG_BYTES:
            return data
    raise ValueError(f"an image of {image.shape} does not fit in {MAX_JPEG_BYTES} bytes")


# The sample


def sample_image(position: int) -> tuple[bytes, np.ndarray]:
    """Return one image of the sample as JPEG bytes, and its labels, (8,) int8 of 0 and 1."""
    rng = np.random.RandomState([SAMPLE_SEED, position])
    figures = [_any_figure(rng) for _ in range(_pick(rng, FIGURES_PER_IMAGE))]
    present = set().union(*(figure.labels for figure in figures))
    return encode(draw_scene(rng, figures)), np.array([name in present for name in LABELS], np.int8)


def _any_figure(rng: np.random.RandomState) -> Figure:
    shape, colour, filling = _pick(rng, SHAPES), _pick(rng, COLOURS), _pick(rng, FILLINGS)
    favoured = FAVOURED.get(shape)
    if rng.random_sample() < FAVOUR:
        colour = favoured if favoured in COLOURS else colour
        filling = favoured if favoured in FILLINGS else filling
    return Figure(shape, colour, filling)


def _pick(rng: np.random.RandomState, chances: dict[Any, float]) -> Any:
    place = rng.random_sample() * math.fsum(chances.values())
    for choice, chance in chances.items():
        place -= chance
        if place < 0:
            return choice
    return choice


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
    colour = look if look in COLOURS else _pick(rng, COLOURS)
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
