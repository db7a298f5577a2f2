"""Images that are letterboxed or stretched instead of cropped."""

from __future__ import annotations

import json
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mxml.data import sampling
from mxml.errors import MxmlError
from mxml.images.choices import FITS
from mxml.images.decode import decode_reduced
from mxml.images.network_input import Transform, prepare
from mxml.images.transforms import PRESETS, Augment, Preprocess, preset
from mxml.training.config import train_settings

MEAN, STD = (10.0, 20.0, 30.0), (2.0, 4.0, 5.0)
PLAIN: dict[str, Any] = {"mean": (0, 0, 0), "std": (1, 1, 1)}
RED, BLUE = (210, 20, 30), (10, 20, 230)
# (pixel - mean) / std of both colours
RED_INPUT, BLUE_INPUT = [100, 0, 0], [0, 0, 40]


def draws(count: int, seed: int = 0) -> np.ndarray:
    return sampling.uniforms(seed, 0, np.arange(count), Transform.COLUMNS)


def written(transform: Transform, image: np.ndarray, row: np.ndarray | None = None) -> np.ndarray:
    """Run one RGB image through a transform that needs no reduced decoding."""
    plan = transform.plan(image.shape[1], image.shape[0], row)
    assert plan.reduction == 1
    out = np.full(transform.preprocess.data_shape, np.nan, np.float32)
    transform.write(np.ascontiguousarray(image[:, :, ::-1]), plan, out)
    return out


def two_colours(height: int, width: int) -> np.ndarray:
    """Red on the left, blue on the right."""
    image = np.empty((height, width, 3), np.uint8)
    image[:, : width // 2], image[:, width // 2 :] = RED, BLUE
    return image


def noise(height: int, width: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)


# ---- the values


@pytest.mark.parametrize("interpolation", ["nearest", "linear", "cubic", "area", "lanczos"])
def test_a_wide_image_lies_between_rows_of_zeros(interpolation):
    out = prepare(two_colours(4, 8), Preprocess((8, 8), None, MEAN, STD, "rgb", interpolation, "letterbox"))
    assert (out[:, :2] == 0).all() and (out[:, 6:] == 0).all()
    for row in (2, 5):
        assert out[:, row, 0].tolist() == RED_INPUT and out[:, row, 7].tolist() == BLUE_INPUT
    assert np.array_equal(out[:, 2:6, :4], np.broadcast_to(np.reshape(RED_INPUT, (3, 1, 1)), (3, 4, 4)))
    assert np.array_equal(out[:, 2:6, 4:], np.broadcast_to(np.reshape(BLUE_INPUT, (3, 1, 1)), (3, 4, 4)))


def test_a_tall_image_lies_between_columns_of_zeros_also_enlarged_or_in_bgr():
    tall = two_colours(4, 8).transpose(1, 0, 2)  # red above, blue below
    out = prepare(tall, Preprocess((16, 12), None, MEAN, STD, interpolation="nearest", fit="letterbox"))
    assert (out[:, :, :2] == 0).all() and (out[:, :, 10:] == 0).all()
    assert out[:, 0, 2].tolist() == out[:, 7, 9].tolist() == RED_INPUT
    assert out[:, 8, 2].tolist() == out[:, 15, 9].tolist() == BLUE_INPUT
    bgr = prepare(tall, Preprocess((16, 12), None, MEAN[::-1], STD[::-1], "bgr", "nearest", "letterbox"))
    assert np.array_equal(bgr, out[::-1])


def test_an_uneven_rest_is_larger_on_the_right_and_a_thin_image_keeps_a_pixel():
    value = Preprocess((5, 8), None, **PLAIN, fit="letterbox")
    out = prepare(np.full((10, 6, 3), 9, np.uint8), value)  # 3 x 5 of 8 x 5
    assert (out[0] == np.array([0, 0, 9, 9, 9, 0, 0, 0])).all()
    out = prepare(np.full((1, 1000, 3), 9, np.uint8), value)
    assert out[0].tolist() == [[0] * 8, [0] * 8, [9] * 8, [0] * 8, [0] * 8]


def test_an_image_of_the_inputs_shape_is_fitted_alike_by_all():
    image = noise(30, 45)
    crop = prepare(image, Preprocess((20, 30), 20, MEAN, STD))
    for fit in ("letterbox", "stretch"):
        assert np.array_equal(prepare(image, Preprocess((20, 30), None, MEAN, STD, fit=fit)), crop)


@pytest.mark.parametrize("size", [(20, 31), (70, 33), (90, 90)])
def test_stretch_equals_opencvs_resize(size):
    image = noise(47, 61)
    out = prepare(image, Preprocess(size, None, **PLAIN, fit="stretch"))
    expected = cv2.resize(image, size[::-1], interpolation=cv2.INTER_CUBIC)
    assert np.array_equal(out, expected.transpose(2, 0, 1))


def test_real_photographs_are_as_pillow_makes_them(shared):
    """Pillow averages where it shrinks, as does the decoder together with area interpolation."""
    paths = sorted((shared / "data" / "photos").glob("*.jpg"))[:6]
    assert paths
    for path in paths:
        picture = Image.open(path).convert("RGB")
        for size in ((224, 224), (96, 160)):
            for fit in ("letterbox", "stretch"):
                value = Preprocess(size, None, **PLAIN, interpolation="area", fit=fit)
                transform = Transform(value)
                pixels = decode_reduced(path.read_bytes(), transform.reduction)
                out = np.full(value.data_shape, np.nan, np.float32)
                transform.write(pixels.bgr, transform.plan(*pixels.size), out)
                box = pillows_box(*picture.size, size) if fit == "letterbox" else (0, 0, size[1], size[0])
                left, top, width, height = box
                expected = np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR), float)
                ours = out.transpose(1, 2, 0)[top : top + height, left : left + width]
                # Both average in ways of their own; a picture that is off by one pixel differs far more.
                shifted = min(np.abs(np.roll(ours, 1, axis) - expected).mean() for axis in (0, 1))
                assert np.abs(ours - expected).mean() < 0.5 * shifted, (path, size, fit)
                outside = np.ones(size, bool)
                outside[top : top + height, left : left + width] = False
                assert (out[:, outside] == 0).all()


def pillows_box(width: int, height: int, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Work the place of a letterboxed image out in whole numbers: the side that is not filled is rounded."""
    out_height, out_width = size
    if width * out_height >= height * out_width:
        box_width, box_height = out_width, max(1, (2 * height * out_width + width) // (2 * width))
    else:
        box_width, box_height = max(1, (2 * width * out_height + height) // (2 * height)), out_height
    return (out_width - box_width) // 2, (out_height - box_height) // 2, box_width, box_height


SIDES = st.integers(1, 700)
OUT_SIDES = st.integers(1, 90)


@given(SIDES, SIDES, OUT_SIDES, OUT_SIDES)
@settings(max_examples=200, deadline=None)
def test_of_any_size_the_whole_image_is_shown_with_zeros_around(width, height, out_width, out_height):
    size = (out_height, out_width)
    transform = Transform(Preprocess(size, None, **PLAIN, interpolation="linear", fit="letterbox"))
    plan = transform.plan(width, height)
    image = np.full((max(1, height // plan.reduction), max(1, width // plan.reduction), 3), 77, np.uint8)
    out = np.full((3, *size), np.nan, np.float32)
    transform.write(image, plan, out)
    left, top, box_width, box_height = pillows_box(width, height, size)
    expected = np.zeros((3, *size))
    expected[:, top : top + box_height, left : left + box_width] = 77
    assert np.array_equal(out, expected)
    assert box_width == out_width or box_height == out_height


@given(SIDES, SIDES, OUT_SIDES, OUT_SIDES, st.sampled_from([0.01, 0.5, 1.0]), st.integers(0, 1000))
@settings(max_examples=200, deadline=None)
def test_stretched_images_and_parts_fill_the_input(width, height, out_width, out_height, share, seed):
    varied = Augment(rand_crop=True, rand_resized_crop=share, rand_mirror=True)
    for augment in (Augment(), Augment(rand_crop=True), varied):
        transform = Transform(
            Preprocess((out_height, out_width), None, **PLAIN, interpolation="linear", fit="stretch"), augment
        )
        plan = transform.plan(width, height, draws(1, seed)[0])
        image = np.full((max(1, height // plan.reduction), max(1, width // plan.reduction), 3), 77, np.uint8)
        out = np.full(transform.preprocess.data_shape, np.nan, np.float32)
        transform.write(image, plan, out)
        assert (out == 77).all()


def test_the_decoder_is_asked_for_no_fewer_pixels_than_are_shown():
    letterbox = Transform(Preprocess((100, 200), None, fit="letterbox"))
    # The scale is that of the side which fills the frame; the crop would go by the other.
    sizes = {(400, 1): 2, (399, 1): 1, (200, 199): 1, (200, 200): 2, (1600, 10): 8, (10, 800): 8, (10, 799): 4}
    assert {size: letterbox.reduction(*size) for size in sizes} == sizes
    stretch = Transform(Preprocess((100, 200), None, fit="stretch"))
    sizes = {(400, 100): 1, (400, 199): 1, (400, 200): 2, (1600, 200): 2, (9000, 9000): 8}
    assert {size: stretch.reduction(*size) for size in sizes} == sizes


# ---- what training varies


@pytest.mark.parametrize("tall", [False, True])
def test_a_random_crop_places_the_letterboxed_image_anywhere_and_whole(tall):
    image = noise(8, 4) if tall else noise(4, 8)
    transform = Transform(
        Preprocess((8, 9) if tall else (9, 8), None, **PLAIN, fit="letterbox"), Augment(rand_crop=True)
    )
    places = set()
    for row in draws(200):
        out = written(transform, image, row)
        place = int(np.flatnonzero(out.any(axis=(0, 1 if tall else 2)))[0])
        expected = np.zeros_like(out)
        box = slice(place, place + 4)
        expected[(slice(None), slice(None), box) if tall else (slice(None), box)] = image.transpose(2, 0, 1)
        assert np.array_equal(out, expected)
        places.add(place)
    assert places == set(range(6))


def test_a_random_crop_moves_nothing_of_a_stretched_image():
    image = noise(6, 11)
    value = Preprocess((9, 8), None, **PLAIN, fit="stretch")
    for row in draws(20):
        assert np.array_equal(written(Transform(value, Augment(rand_crop=True)), image, row), prepare(image, value))


@pytest.mark.parametrize("fit", ["letterbox", "stretch"])
def test_a_random_part_is_cut_first_and_then_fitted(fit):
    rows, columns = np.mgrid[0:90, 0:120]
    image = np.stack([columns, rows, np.full_like(rows, 255)], axis=2).astype(np.uint8)
    value = Preprocess((60, 90), None, **PLAIN, interpolation="nearest", fit=fit)
    augment = Augment(rand_crop=True, rand_resized_crop=0.3)
    corners = set()
    for row in draws(100):
        transform = Transform(value, augment)
        region = transform.plan(120, 90, row).region
        assert region is not None
        left, top, across, down = region
        width, height = int(across * 120 + 0.5), int(down * 90 + 0.5)
        left, top = min(int(left * 120 + 0.5), 120 - width), min(int(top * 90 + 0.5), 90 - height)
        part = image[top : top + height, left : left + width]
        out = written(transform, image, row)
        shown = out[2] == 255
        assert (out[:, ~shown] == 0).all()
        corners.add((left, top))
        box_rows, box_columns = np.flatnonzero(shown.any(1)), np.flatnonzero(shown.any(0))
        fitted = cv2.resize(part, (len(box_columns), len(box_rows)), interpolation=cv2.INTER_NEAREST)
        box = np.ix_(np.arange(3), box_rows, box_columns)
        assert np.array_equal(out[box], fitted.transpose(2, 0, 1))
        if fit == "stretch":
            assert shown.all()
        else:
            assert abs(len(box_columns) / len(box_rows) - across * 120 / (down * 90)) < 0.03
            assert abs(box_columns[0] - (90 - len(box_columns)) / 2) <= 0.5, "in the middle"
            assert abs(box_rows[0] - (60 - len(box_rows)) / 2) <= 0.5
    assert len(corners) > 80


def test_colours_are_varied_and_mirrored_within_the_letterbox_alone():
    image = two_colours(4, 8)
    value = Preprocess((8, 8), None, MEAN, STD, interpolation="nearest", fit="letterbox")
    augment = Augment(rand_mirror=True, brightness=0.5, contrast=0.5, saturation=0.5, pca_noise=0.5)
    inner = Preprocess((4, 8), None, MEAN, STD, interpolation="nearest", fit="stretch")
    for row in draws(50):
        out = written(Transform(value, augment), image, row)
        assert (out[:, :2] == 0).all() and (out[:, 6:] == 0).all()
        # As if there were no frame: the contrast turns about the picture's own mean.
        assert np.array_equal(out[:, 2:6], written(Transform(inner, augment), image, row))


# ---- the value


def test_every_fit_survives_json_and_one_without_it_crops():
    for value in (Preprocess((9, 8), None, fit="letterbox"), Preprocess(short_side=None, fit="stretch"), Preprocess()):
        stored = json.loads(json.dumps(value.to_dict()))
        assert stored["fit"] == value.fit
        assert Preprocess.from_dict(stored) == value
    old = {name: value for name, value in Preprocess((96, 128), 140).to_dict().items() if name != "fit"}
    assert Preprocess.from_dict(old) == Preprocess((96, 128), 140, fit="crop")


@pytest.mark.parametrize("fit", ["letterbox", "stretch"])
def test_a_short_side_belongs_to_the_crop_alone(fit):
    with pytest.raises(MxmlError, match=f"^short_side is 224; it should be null where fit is '{fit}'$"):
        Preprocess(fit=fit)


@pytest.mark.parametrize("fit", ["pad", None, ["crop"], True])
def test_an_unknown_fit_is_named(fit):
    with pytest.raises(MxmlError, match=r"^fit is .*; it should be 'crop' or 'letterbox' or 'stretch'$"):
        Preprocess.from_dict({**Preprocess().to_dict(), "fit": fit})


@pytest.mark.parametrize("name", list(PRESETS))
def test_presets_with_another_fit_have_no_short_side(name):
    crop, letterbox = preset(name, (96, 128)), preset(name, (96, 128), "letterbox")
    assert (letterbox.fit, letterbox.short_side) == ("letterbox", None)
    assert {**letterbox.to_dict(), "fit": "crop", "short_side": crop.short_side} == crop.to_dict()
    with pytest.raises(MxmlError, match=r"^fit is 'pad'"):
        preset(name, 96, "pad")


def test_the_settings_of_a_run_know_the_same_fits():
    assert train_settings()["fit"].choices == FITS
