from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mxml.data import sampling
from mxml.errors import MxmlError
from mxml.images.decode import load
from mxml.images.network_input import Transform, prepare
from mxml.images.transforms import Augment, Preprocess, preset
from mxml.runtime.imports import load_mxnet

mx = load_mxnet()


def draws(count: int, seed: int = 0) -> np.ndarray:
    return sampling.uniforms(seed, 0, np.arange(count), Transform.COLUMNS)


def written(transform: Transform, image: np.ndarray, row: np.ndarray | None = None) -> np.ndarray:
    """Run one RGB image through a transform that needs no reduced decoding."""
    plan = transform.plan(image.shape[1], image.shape[0], row)
    assert plan.reduction == 1
    out = np.full(transform.preprocess.data_shape, np.nan, np.float32)
    transform.write(np.ascontiguousarray(image[:, :, ::-1]), plan, out)
    return out


def raw(size: tuple[int, int], short_side: int | None, **more) -> Preprocess:
    return Preprocess(size, short_side, mean=(0, 0, 0), std=(1, 1, 1), **more)


def test_presets():
    original = preset("original", 224)
    assert (original.size, original.short_side, original.channels) == ((224, 224), 224, "rgb")
    assert original.mean == (123.68, 116.28, 103.53) and original.std == (58.395, 57.12, 57.375)
    assert preset("imagenet").short_side == 256
    assert preset("imagenet", 299).short_side == 342
    assert preset("original", (128, 160)).short_side == 160
    caffe = preset("caffe", 227)
    assert (caffe.data_shape, caffe.channels, caffe.mean, caffe.std) == (
        (3, 227, 227),
        "bgr",
        (104, 117, 123),
        (1, 1, 1),
    )
    with pytest.raises(MxmlError, match="'resnet' is not known; choose from original, imagenet, caffe"):
        preset("resnet")


def test_values_survive_json():
    value = Preprocess((96, 128), None, (1, 2, 3.5), (4, 5, 6), "bgr", "linear")
    assert Preprocess.from_dict(json.loads(json.dumps(value.to_dict()))) == value


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("size", [224]),
        ("size", [224, 0]),
        ("size", [224, 100_000]),
        ("size", "22"),
        ("size", [224.5, 224]),
        ("size", [True, 224]),
        ("short_side", 0),
        ("short_side", "224"),
        ("mean", [1, 2]),
        ("mean", [1, 2, float("nan")]),
        ("mean", None),
        ("mean", [0, 0, -1e308]),
        ("std", [1, 1, 0]),
        ("std", [1, 1, 5e-324]),
        ("std", [1, 1, 1e307]),
        ("std", [1, 1, "x"]),
        ("channels", "rbg"),
        ("interpolation", "magic"),
        ("interpolation", []),
    ],
)
def test_wrong_preprocessing_is_named(name, value):
    values = {**Preprocess().to_dict(), name: value}
    with pytest.raises(MxmlError, match=f"^{name} is .*; it should be") as caught:
        Preprocess.from_dict(values)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rand_crop", 1),
        ("rand_mirror", "yes"),
        ("rand_resized_crop", 0),
        ("rand_resized_crop", 1.5),
        ("brightness", -0.1),
        ("contrast", "much"),
        ("rand_gray", float("inf")),
    ],
)
def test_wrong_augmentation_is_named(name, value):
    with pytest.raises(MxmlError, match=f"^{name} is "):
        Augment(**{name: value})


def test_unknown_and_missing_names_are_refused():
    with pytest.raises(MxmlError, match="preprocess holds 'crop', which is not known"):
        Preprocess.from_dict({**Preprocess().to_dict(), "crop": 1})
    with pytest.raises(MxmlError, match="preprocess lacks short_side"):
        Preprocess.from_dict({name: value for name, value in Preprocess().to_dict().items() if name != "short_side"})
    with pytest.raises(MxmlError, match="should hold names and values"):
        Preprocess.from_dict(json.loads("[1, 2]"))


def test_values_are_normalised_and_channels_ordered():
    image = np.zeros((4, 4, 3), np.uint8)
    image[..., 0], image[..., 1], image[..., 2] = 10, 20, 30
    rgb = prepare(image, Preprocess((4, 4), 4, (1, 2, 3), (1, 2, 3)))
    assert rgb.dtype == np.float32
    assert rgb[:, 0, 0].tolist() == [9, 9, 9]
    bgr = prepare(image, Preprocess((4, 4), 4, (1, 2, 3), (1, 2, 3), "bgr"))
    assert np.allclose(bgr[:, 0, 0], [29, 9, 7 / 3])


@pytest.mark.parametrize("size", [(224, 224), (160, 224), (227, 227)])
def test_centre_crop_equals_mxnets(shared, size):
    folder = shared / "data" / "miml-scene" / "images"
    short = max(size)
    augmenters = mx.image.CreateAugmenter((3, *size), resize=short, mean=True, std=True)
    for name in ("1887.jpg", "579.jpg", "1137.jpg"):
        image = load(folder / name)
        assert min(image.shape[:2]) < 2 * short
        theirs = mx.nd.array(image, dtype="uint8")
        for augmenter in augmenters:
            theirs = augmenter(theirs)
        ours = prepare(image, preset("original", size))
        # MXNet brings an OpenCV of its own, whose cubic interpolation rounds some pixels to the other side.
        levels = np.abs(ours - theirs.asnumpy().transpose(2, 0, 1)) * np.array([58.395, 57.12, 57.375])[:, None, None]
        assert levels.max() < 1.01 and levels.mean() < 0.05, name


def test_crop_without_resizing_equals_mxnets(shared):
    image = load(shared / "data" / "miml-scene" / "images" / "1887.jpg")
    for side in (60, 300):  # smaller than the image, and larger
        theirs = mx.image.CenterCropAug((side, side))(mx.nd.array(image, dtype="uint8")).asnumpy()
        levels = np.abs(prepare(image, raw((side, side), None)) - theirs.transpose(2, 0, 1))
        assert levels.max() <= 1 and levels.mean() < 0.05


def test_originals_twice_as_large_are_reduced_first(shared):
    transform = Transform(raw((224, 224), 224))
    assert [transform.plan(640, short).reduction for short in (224, 447, 448)] == [1, 1, 2]
    assert [transform.plan(9000, short).reduction for short in (895, 896, 1791, 1792, 9000)] == [2, 4, 4, 8, 8]
    assert Transform(raw((224, 224), None)).plan(9000, 9000).reduction == 1
    # A random part must still have enough pixels.
    zoom = Transform(raw((224, 224), 224), Augment(rand_resized_crop=0.08))
    for row in draws(200):
        plan = zoom.plan(2000, 1500, row)
        assert plan.region
        across, down = plan.region[2] * 2000, plan.region[3] * 1500
        assert plan.reduction == 1 or min(across, down) >= 224 * plan.reduction
        assert plan.reduction == 8 or min(across, down) < 224 * 2 * plan.reduction
    # Averaging first keeps fine patterns from turning into noise: nearer to area interpolation than MXNet's cubic is.
    image = load(shared / "data" / "photos" / "dog_0.jpg")
    area, cubic = (
        mx.image.CenterCropAug((96, 96))(mx.image.ResizeAug(96, kind)(mx.nd.array(image, dtype="uint8")))
        .asnumpy()
        .transpose(2, 0, 1)
        .astype(float)
        for kind in (3, 2)
    )
    assert np.abs(prepare(image, raw((96, 96), 96)) - area).mean() < 0.7 * np.abs(cubic - area).mean()


def test_random_crop_stays_inside_and_moves():
    rows, columns = np.mgrid[0:100, 0:150]
    image = np.stack([columns, rows, rows * 0], axis=2).astype(np.uint8)
    transform = Transform(raw((40, 60), None), Augment(rand_crop=True))
    corners = set()
    for row in draws(300):
        out = written(transform, image, row)
        left, top = int(out[0, 0, 0]), int(out[1, 0, 0])
        assert np.array_equal(out[0], columns[top : top + 40, left : left + 60])
        assert np.array_equal(out[1], rows[top : top + 40, left : left + 60])
        corners.add((left, top))
    assert min(x for x, _ in corners) <= 2 and max(x for x, _ in corners) >= 88
    assert min(y for _, y in corners) <= 2 and max(y for _, y in corners) >= 58


def test_random_crop_after_resizing_spans_the_short_side():
    transform = Transform(raw((50, 50), 50), Augment(rand_crop=True))
    for row in draws(50):
        plan = transform.plan(200, 100, row)
        assert plan.reduction == 2
        assert plan.region and plan.region[1:] == (0, 0.5, 1)


def test_mirror_is_drawn_half_of_the_time():
    image = np.arange(8 * 8 * 3, dtype=np.uint8).reshape(8, 8, 3)
    plain = written(Transform(raw((8, 8), 8)), image)
    transform = Transform(raw((8, 8), 8), Augment(rand_mirror=True))
    mirrored = 0
    for row in draws(400):
        out = written(transform, image, row)
        if not np.array_equal(out, plain):
            assert np.array_equal(out, plain[:, :, ::-1])
            mirrored += 1
    assert 150 < mirrored < 250


def test_resized_crop_draws_share_and_ratio_as_asked():
    transform = Transform(raw((64, 64), 64), Augment(rand_resized_crop=0.25))
    shares = []
    for row in draws(500):
        _, region, *_ = transform.plan(400, 300, row)
        assert region
        left, top, across, down = region
        assert 0 <= left <= left + across <= 1 + 1e-9 and 0 <= top <= top + down <= 1 + 1e-9
        assert 3 / 4 - 1e-6 <= across * 400 / (down * 300) <= 4 / 3 + 1e-6
        shares.append(across * down)
    assert min(shares) >= 0.25 - 1e-9 and max(shares) > 0.97
    assert abs(np.mean(shares) - 0.625) < 0.03


@given(
    st.integers(1, 700),
    st.integers(1, 700),
    st.integers(1, 90),
    st.integers(1, 90),
    st.sampled_from([None, 1, 30, 90]),
    st.sampled_from([Augment(), Augment(rand_crop=True), Augment(rand_resized_crop=0.01, rand_mirror=True)]),
    st.integers(0, 1000),
)
@settings(max_examples=200, deadline=None)
def test_any_size_fills_the_output(width, height, out_width, out_height, short, augment, seed):
    transform = Transform(raw((out_height, out_width), short, interpolation="linear"), augment)
    plan = transform.plan(width, height, draws(1, seed)[0])
    image = np.full((max(1, height // plan.reduction), max(1, width // plan.reduction), 3), 77, np.uint8)
    out = np.full(transform.preprocess.data_shape, np.nan, np.float32)
    transform.write(image, plan, out)
    assert (out == 77).all()


def mxnets_colours(image, order, row, augment):
    """Apply the colour changes one after another, as MXNet's augmenters define them, in float64."""
    luma = np.array([0.299, 0.587, 0.114])
    pixels = image.astype(np.float64)
    for change in order:
        factor = 1 + getattr(augment, change) * (2 * row[change] - 1)
        if change == "brightness":
            pixels = pixels * factor
        elif change == "contrast":
            pixels = pixels * factor + (1 - factor) * (pixels @ luma).mean()
        else:
            pixels = pixels * factor + (1 - factor) * (pixels @ luma)[..., None]
    return pixels


def test_colour_changes_equal_one_after_another():
    random = np.random.default_rng(1)
    image = random.integers(0, 256, (20, 30, 3)).astype(np.uint8)
    augment = Augment(brightness=0.4, contrast=0.3, saturation=0.5)
    columns = {"brightness": 5, "contrast": 6, "saturation": 7}
    for channels in ("rgb", "bgr"):
        mean, std = (10.0, 20.0, 30.0), (2.0, 4.0, 5.0)
        transform = Transform(Preprocess((20, 30), None, mean, std, channels), augment)
        for row in draws(12):
            orders = [("brightness", "contrast", "saturation"), ("brightness", "saturation", "contrast")]
            orders += [("contrast", "brightness", "saturation"), ("contrast", "saturation", "brightness")]
            orders += [("saturation", "brightness", "contrast"), ("saturation", "contrast", "brightness")]
            named = {name: row[column] for name, column in columns.items()}
            expected = mxnets_colours(image, orders[int(row[8] * 6)], named, augment)
            expected = expected[:, :, :: 1 if channels == "rgb" else -1]
            expected = ((expected - mean) / std).transpose(2, 0, 1)
            assert np.abs(written(transform, image, row) - expected).max() < 1e-3


def test_hue_turns_colours_and_keeps_greys():
    grey = np.full((4, 4, 3), 90, np.uint8)
    red = np.zeros((4, 4, 3), np.uint8)
    red[..., 0] = 200
    transform = Transform(raw((4, 4), 4), Augment(hue=0.5))
    for row in draws(20):
        assert np.abs(written(transform, grey, row) - 90).max() < 0.5
        turned = written(transform, red, row)[:, 0, 0]
        assert abs(turned @ [0.299, 0.587, 0.114] - 200 * 0.299) < 0.5
    assert len({round(float(written(transform, red, row)[0, 0, 0])) for row in draws(20)}) > 10


def test_gray_and_pca_noise():
    image = np.random.default_rng(2).integers(0, 256, (6, 6, 3)).astype(np.uint8)
    gray = written(Transform(raw((6, 6), 6), Augment(rand_gray=1)), image, draws(1)[0])
    assert np.abs(gray - image @ np.array([0.299, 0.587, 0.114])).max() < 1e-3
    transform = Transform(raw((6, 6), 6), Augment(pca_noise=0.1))
    plain = image.transpose(2, 0, 1).astype(np.float32)
    shifts = np.array([(written(transform, image, row) - plain)[:, 0, 0] for row in draws(2000)])
    values, vectors = np.linalg.eigh(np.cov(shifts.T))
    assert np.allclose(np.sqrt(values[::-1]), np.array([55.46, 4.794, 1.148]) * 0.1, rtol=0.1)
    assert abs(vectors[:, 2] @ [0.5675, 0.5808, 0.5836]) > 0.99


def test_uniforms_are_uniform_and_depend_on_everything():
    numbers = sampling.uniforms(1, 2, np.arange(5000), 4)
    assert numbers.min() >= 0 and numbers.max() < 1
    assert np.allclose(np.histogram(numbers, 10, (0, 1))[0] / 2000, 1, atol=0.12)
    assert np.abs(np.corrcoef(numbers.T) - np.eye(4)).max() < 0.05
    assert np.abs(np.corrcoef(numbers[:-1, 0], numbers[1:, 0])[0, 1]) < 0.05
    assert np.array_equal(sampling.uniforms(1, 2, np.array([7, 3]), 2), numbers[[7, 3], :2])
    for seed, epoch in ((0, 2), (1, 1), (2, 1), (-1, 2)):
        assert not np.isin(sampling.uniforms(seed, epoch, np.arange(100), 4), numbers).any()


def test_orders_differ_by_epoch_and_seed():
    orders = {tuple(sampling.epoch_order(50, seed, epoch, True)) for seed in range(3) for epoch in range(3)}
    assert len(orders) == 9
    assert sampling.epoch_order(5, 1, 1, False).tolist() == [0, 1, 2, 3, 4]
