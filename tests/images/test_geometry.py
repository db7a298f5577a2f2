"""What turns, moves, shears, zooms, flips and erases, by hand, against Pillow and against plain NumPy."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mxml.data import sampling
from mxml.errors import MxmlError
from mxml.images import draw_columns as column
from mxml.images.network_input import Transform
from mxml.images.transforms import Augment, Preprocess

SQUARE = np.arange(16, dtype=np.uint8).reshape(4, 4)


def raw(size, short_side=None, **more):
    return Preprocess(size, short_side, mean=(0, 0, 0), std=(1, 1, 1), **more)


def drawn(**numbers):
    """Return random numbers that change nothing, but for those that are given by their column's name."""
    row = np.full(Transform.COLUMNS, 0.5)
    for name, value in numbers.items():
        row[getattr(column, name)] = value
    return row


def written(transform, image, row):
    plan = transform.plan(image.shape[1], image.shape[0], row)
    assert plan.reduction == 1
    out = np.full(transform.preprocess.data_shape, np.nan, np.float32)
    transform.write(np.ascontiguousarray(image[:, :, ::-1]), plan, out)
    return out


def varied(plane, row, **changes):
    """Return one plane of an input as large as the image, in which ``plane`` is red, green and blue."""
    height, width = plane.shape
    out = written(Transform(raw((height, width)), Augment(**changes)), np.stack([plane] * 3, axis=2), row)
    assert np.array_equal(out[0], out[1]) and np.array_equal(out[0], out[2])
    return out[0]


def test_a_quarter_turn_of_four_by_four_pixels():
    turned = [[3, 7, 11, 15], [2, 6, 10, 14], [1, 5, 9, 13], [0, 4, 8, 12]]  # counter-clockwise
    assert varied(SQUARE, drawn(ROTATE=0.75), rotate=180).tolist() == turned
    assert np.array_equal(varied(SQUARE, drawn(ROTATE=0.25), rotate=180), np.rot90(SQUARE, -1))
    assert np.array_equal(varied(SQUARE, drawn(ROTATE=0.0), rotate=180), np.rot90(SQUARE, 2))


def test_a_shift_by_a_pixel_shows_the_mirror_image_of_what_is_there():
    right = varied(SQUARE, drawn(SHIFT_X=1.0), shift=0.25)
    assert right[0].tolist() == [0, 0, 1, 2]
    down = varied(SQUARE, drawn(SHIFT_Y=1.0), shift=0.5)
    assert down[:, 0].tolist() == [4, 0, 0, 4]
    both = varied(SQUARE, drawn(SHIFT_X=0.0, SHIFT_Y=0.0), shift=0.25)
    assert both.tolist() == [[5, 6, 7, 7], [9, 10, 11, 11], [13, 14, 15, 15], [13, 14, 15, 15]]


def test_shear_moves_rows_by_their_distance_from_the_middle():
    plane = np.tile(np.arange(8, dtype=np.uint8) * 10, (3, 1))
    sheared = varied(plane, drawn(SHEAR=1.0), shear=1)
    assert sheared.tolist() == [
        [0, 0, 10, 20, 30, 40, 50, 60],
        [0, 10, 20, 30, 40, 50, 60, 70],
        [10, 20, 30, 40, 50, 60, 70, 70],
    ]


def test_zoom_shows_less_or_more_of_each_side():
    columns = np.tile(np.arange(0, 160, 10, dtype=np.uint8), (16, 1))
    inner = varied(columns, drawn(ZOOM_X=0.0), zoom=0.5)
    assert np.allclose(inner[0], np.interp(np.arange(16) / 2 + 3.75, np.arange(16), columns[0]), atol=0.51)
    outer = varied(columns, drawn(ZOOM_X=1.0), zoom=0.5)
    place = np.abs((np.arange(16) + 0.5 - 8) * 1.5 + 8)  # 16.25 is mirrored to 15.75
    place = np.where(place > 16, 32 - place, place) - 0.5
    assert np.allclose(outer[0], np.interp(place, np.arange(16), columns[0]), atol=0.51)
    assert np.array_equal(varied(columns, drawn(ZOOM_Y=0.0), zoom=0.5), columns)


@pytest.mark.parametrize("moves", [{}, {"shift": 0.1}], ids=["alone", "in a warp"])
def test_flips_reverse_columns_rows_or_both(moves):
    for mirror in (0.4, 0.6):
        for flip in (0.4, 0.6):
            shown = varied(SQUARE, drawn(MIRROR=mirror, FLIP=flip), rand_mirror=True, vertical_flip=True, **moves)
            assert np.array_equal(shown, SQUARE[:: -1 if flip < 0.5 else 1, :: -1 if mirror < 0.5 else 1])


def test_cutout_sets_a_rectangle_to_the_channel_means():
    image = np.full((8, 12, 3), 200, np.uint8)
    transform = Transform(Preprocess((8, 12), None, (100, 90, 80), (1, 2, 4)), Augment(cutout=0.25))
    expected = np.array([100, 55, 30])[:, None, None] * np.ones((3, 8, 12))
    inside = expected.copy()
    inside[:, 3:5, 5:8] = 0  # two rows and three columns around row 4 and column 6
    assert np.array_equal(written(transform, image, drawn()), inside)
    corner = expected.copy()
    corner[:, :1, 10:] = 0
    assert np.array_equal(written(transform, image, drawn(CUTOUT_X=0.99, CUTOUT_Y=0.0)), corner)


def test_an_unmoved_warp_is_opencvs_resize():
    image = np.random.default_rng(3).integers(0, 256, (60, 80, 3)).astype(np.uint8)
    transform = Transform(raw((50, 50), 50), Augment(rotate=30))
    plain = cv2.resize(image[:, 10:70], (50, 50), interpolation=cv2.INTER_LINEAR)
    # A warp knows places to 1/32 of a pixel.
    assert np.abs(written(transform, image, drawn()) - plain.transpose(2, 0, 1)).max() <= 255 / 32


def smooth(height, width, seed=0):
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 6, 3)).astype(np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


@settings(max_examples=40, deadline=None)
@given(st.floats(0, 0.999), st.floats(0, 0.999), st.floats(0, 0.999), st.floats(0, 0.999), st.integers(0, 3))
def test_everything_together_is_what_numpy_computes(angle, moved, sheared, zoomed, flips):
    """Follow each pixel of the input back, one change after the other, into the mirrored image."""
    image = smooth(48, 70)
    out_height, out_width = 32, 40
    transform = Transform(
        raw((out_height, out_width), 36),
        Augment(rotate=50, shift=0.2, shear=0.3, zoom=0.4, rand_mirror=True, vertical_flip=True, rand_crop=True),
    )
    mirror, flip = flips & 1, flips >> 1
    row = drawn(
        ROTATE=angle,
        SHIFT_X=moved,
        SHIFT_Y=1 - moved,
        SHEAR=sheared,
        ZOOM_X=zoomed,
        MIRROR=1 - mirror,
        FLIP=1 - flip,
        X=0.25,
        Y=0.75,
    )
    plan = transform.plan(70, 48, row)
    if plan.reduction != 1:
        return
    got = written(transform, image, row)

    y, x = np.mgrid[0:out_height, 0:out_width].astype(float)
    x, y = x + 0.5 - out_width / 2, y + 0.5 - out_height / 2
    x, y = (-x if mirror else x), (-y if flip else y)
    x, y = x - 0.2 * (2 * moved - 1) * out_width, y - 0.2 * (1 - 2 * moved) * out_height
    turn = math.radians(50 * (2 * angle - 1))
    x, y = math.cos(turn) * x - math.sin(turn) * y, math.sin(turn) * x + math.cos(turn) * y
    x = x + 0.3 * (2 * sheared - 1) * y
    x = x * (1 + 0.4 * (2 * zoomed - 1))
    scale = 48 / 36  # the crop is 40 * 4/3 by 32 * 4/3 pixels of the image
    x = x * scale + 0.25 * (70 - out_width * scale) + out_width * scale / 2 - 0.5
    y = y * scale + 0.75 * (48 - out_height * scale) + out_height * scale / 2 - 0.5
    expected = mirrored_samples(image, x, y)
    assert np.abs(got - expected.transpose(2, 0, 1)).max() < 4


def mirrored_samples(image, x, y):
    """Interpolate linearly in an image that is mirrored at its edges, again and again."""

    def at(columns, rows):
        height, width = image.shape[:2]
        columns, rows = columns % (2 * width), rows % (2 * height)
        columns = np.where(columns >= width, 2 * width - 1 - columns, columns)
        rows = np.where(rows >= height, 2 * height - 1 - rows, rows)
        return image[rows, columns].astype(float)

    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    across, down = (x - left)[..., None], (y - top)[..., None]
    above = (1 - across) * at(left, top) + across * at(left + 1, top)
    below = (1 - across) * at(left, top + 1) + across * at(left + 1, top + 1)
    return (1 - down) * above + down * below


def test_rotation_equals_pillows():
    image = smooth(64, 64)
    for draw in (0.1, 0.4, 0.7, 0.95):
        got = written(Transform(raw((64, 64)), Augment(rotate=40)), image, drawn(ROTATE=draw))
        turned = Image.fromarray(image).rotate(40 * (2 * draw - 1), Image.Resampling.BILINEAR)
        y, x = np.mgrid[0:64, 0:64] - 31.5
        inside = np.hypot(x, y) < 31  # what no turn takes out of the image
        assert np.abs(got - np.asarray(turned).transpose(2, 0, 1))[:, inside].max() < 3


def test_a_letterboxed_image_is_moved_inside_its_box():
    image = np.full((10, 40, 3), 120, np.uint8)
    transform = Transform(raw((40, 40), fit="letterbox"), Augment(rotate=45, shift=0.3))
    for row in sampling.uniforms(0, 0, np.arange(10), Transform.COLUMNS):
        out = written(transform, image, row)
        assert (out[:, 15:25] == 120).all() and (out[:, :15] == 0).all() and (out[:, 25:] == 0).all()


def test_an_image_too_long_for_one_warp_is_resized_first():
    columns = np.broadcast_to((np.arange(40_000) >= 20_000) * np.uint8(250), (30, 40_000))
    image = np.repeat(columns[:, :, None], 3, axis=2)
    transform = Transform(raw((30, 30), fit="stretch"), Augment(rotate=180))
    out = written(transform, image, drawn(ROTATE=0.75))
    assert (out[:, :14] == 250).all() and (out[:, 16:] == 0).all()


def test_enough_pixels_are_decoded_for_the_part_that_is_shown():
    zoom = Transform(raw((100, 100), 100), Augment(zoom=0.75))
    assert zoom.plan(800, 800, drawn()).reduction == 8
    assert zoom.plan(800, 800, drawn(ZOOM_X=0.0)).reduction == 2  # a quarter of the width fills the input
    turn = Transform(raw((100, 100), 100), Augment(rotate=90))
    assert all(
        turn.plan(800, 800, row).reduction == 8 for row in sampling.uniforms(0, 0, np.arange(300), Transform.COLUMNS)
    )


VARIED = Augment(
    rotate=180,
    shift=1,
    shear=1,
    zoom=0.9,
    vertical_flip=True,
    rand_mirror=True,
    rand_crop=True,
    rand_augment=(3, 10),
)


@given(
    st.integers(1, 300),
    st.integers(1, 300),
    st.integers(1, 60),
    st.integers(1, 60),
    st.sampled_from(["crop", "letterbox", "stretch"]),
    st.integers(0, 1000),
)
@settings(max_examples=150, deadline=None)
def test_any_size_fills_the_output(width, height, out_width, out_height, fit, seed):
    short = 40 if fit == "crop" else None
    transform = Transform(raw((out_height, out_width), short, fit=fit), VARIED)
    row = sampling.uniforms(seed, 0, np.arange(1), Transform.COLUMNS)[0]
    plan = transform.plan(width, height, row)
    image = np.full((max(1, height // plan.reduction), max(1, width // plan.reduction), 3), 77, np.uint8)
    out = np.full(transform.preprocess.data_shape, np.nan, np.float32)
    transform.write(image, plan, out)
    left, top, box_width, box_height = plan.box or (0, 0, out_width, out_height)
    inside = out[:, top : top + box_height, left : left + box_width]
    assert (inside == inside[:, :1, :1]).all() and ((inside >= 0) & (inside <= 255)).all()
    assert np.count_nonzero(out) == np.count_nonzero(inside)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("vertical_flip", 1),
        ("rotate", 181),
        ("rotate", -1),
        ("shift", 1.1),
        ("shear", "much"),
        ("zoom", 1.0),
        ("cutout", 2),
        ("rand_augment", 2),
        ("rand_augment", (0, 9)),
        ("rand_augment", (6, 9)),
        ("rand_augment", (2, 11)),
        ("rand_augment", (2, 9.5)),
    ],
)
def test_wrong_settings_are_named(name, value):
    with pytest.raises(MxmlError, match=f"^{name} is .*; it should be"):
        Augment(**{name: value})
