"""Images of figures on cluttered ground: each figure has a shape, a colour and a filling.

The same random state gives the same bytes: all is drawn in integers, with NumPy's RandomState, whose stream is frozen.
"""

from __future__ import annotations

import colorsys
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from mxml.runtime.imports import load_cv2

# One disk block each: many files then take on a disk what their bytes add up to.
MAX_JPEG_BYTES = 4096

# Chance of each shape, colour and filling.
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

# Edges are smooth because a scene is drawn this many times larger and averaged.
_SCALE = 3


@dataclass(frozen=True)
class Figure:
    """What one figure looks like; where it is and how large is drawn with the scene."""

    shape: str
    colour: str
    filling: str

    @property
    def traits(self) -> set[str]:
        """Return all three."""
        return {self.shape, self.colour, self.filling}


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
    for row in range(_SCALE):
        for column in range(_SCALE):
            image += canvas[row::_SCALE, column::_SCALE]
    image //= _SCALE**2
    brightness = rng.randint(205, 282)
    image = image * brightness // 256 + rng.randint(-7, 8, image.shape)
    return np.clip(image, 0, 255).astype(np.uint8)


def _draw_ground(rng: np.random.RandomState, height: int, width: int) -> np.ndarray:
    """Return soft patches of light and tint under blots, scratches and specks, (H * _SCALE, W * _SCALE, 3) uint8."""
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
    canvas = ground.repeat(_SCALE, axis=0).repeat(_SCALE, axis=1)
    size = size * _SCALE
    # Most scratches have the colours of figures, so that how much red there is does not tell of a red figure.
    inks = [pick(rng, COLOURS), pick(rng, COLOURS)]
    for _ in range(rng.randint(10, 20)):
        start, along = rng.randint(0, 100, 2) * size // 100, _polar(rng.randint(360), rng.randint(10, 70) * _SCALE)
        end = np.round(start + along).astype(int)
        colour = _shade(rng, inks[rng.randint(2)]) if rng.randint(4) else _any_colour(rng, 1.0)
        cv2.line(canvas, _pair(start), _pair(end), colour, int(rng.randint(2, 3 * _SCALE)))
    for _ in range(rng.randint(15, 45)):
        centre = rng.randint(0, 100, 2) * size // 100
        cv2.circle(canvas, _pair(centre), int(rng.randint(_SCALE // 2, 2 * _SCALE)), _any_colour(rng, 1.0), -1)
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
        radius = int(rng.randint(smallest * _SCALE, largest * _SCALE))
        x = int(rng.randint(radius, side * _SCALE - radius)) + (width - side) * _SCALE // 2
        y = int(rng.randint(radius, side * _SCALE - radius)) + (height - side) * _SCALE // 2
        if all(100 * ((x - x0) ** 2 + (y - y0) ** 2) > 81 * (radius + radius0) ** 2 for x0, y0, radius0 in placed):
            placed.append((x, y, radius))
    return placed


def _draw_figure(canvas: np.ndarray, rng: np.random.RandomState, figure: Figure, x: int, y: int, radius: int) -> None:
    cv2 = load_cv2()
    turn = rng.randint(360)
    points = np.round([_polar(angle + turn, distance * radius) for angle, distance in _OUTLINES[figure.shape]])
    mask = np.zeros((2 * radius + 1, 2 * radius + 1), np.uint8)
    cv2.fillPoly(mask, [points.astype(np.int32) + radius], 1)
    colour, other = _shade(rng, figure.colour), _partner(rng, figure.colour)
    pattern = _pattern(rng, figure.filling, radius)
    box = canvas[y - radius : y + radius + 1, x - radius : x + radius + 1]
    box[mask == 1] = colour
    box[(mask == 1) & pattern] = other


_Corners = list[tuple[float, float]]


def _to_polar(corners: _Corners) -> _Corners:
    return [(math.degrees(math.atan2(y, x)), min(1.0, math.sqrt(x * x + y * y))) for x, y in corners]


def _crescent() -> _Corners:
    outer = [(math.cos(t * math.pi / 20), math.sin(t * math.pi / 20)) for t in range(7, 34)]
    # Back along a smaller circle, around (0.35, 0), that passes through the outer arc's two ends.
    x, y = outer[-1]
    reach = math.sqrt((x - 0.35) ** 2 + y**2)
    start = math.atan2(y, x - 0.35)
    inner = [start + (2 * math.pi + 2 * start) * -t / 20 for t in range(1, 20)]
    return _to_polar(outer + [(0.35 + reach * math.cos(turn), reach * math.sin(turn)) for turn in inner])


def _heart() -> _Corners:
    corners = []
    for t in (step * math.pi / 20 for step in range(40)):
        x = (13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t) + 2) / 16.5
        corners.append((x * 0.95, math.sin(t) ** 3 * 0.95))
    return _to_polar(corners)


# Each shape's corners as (angle in degrees, distance from the centre as a share of the radius).
_OUTLINES: dict[str, _Corners] = {
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


def pick(rng: np.random.RandomState, chances: dict[Any, float]) -> Any:
    """Draw one of the choices by their chances, which need not add up to 1."""
    place = rng.random_sample() * math.fsum(chances.values())
    for choice, chance in chances.items():
        place -= chance
        if place < 0:
            return choice
    return choice
