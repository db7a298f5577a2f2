"""Which preprocessing is taken for a pretrained network, and what is said of it."""

import contextlib
import json
import random
import re
import sqlite3
from pathlib import Path

import numpy as np
import pytest
import tiny
from told import Told

from mxml.data.batches import Batches
from mxml.data.image_list import ImageList
from mxml.data.image_sources import ImageFiles
from mxml.data.lst_file import read_lst
from mxml.images.transforms import PRESETS, preset
from mxml.inference.feature_cache import FeatureCache
from mxml.model import params_file
from mxml.progress import SILENT
from mxml.runtime.imports import load_mxnet
from mxml.training import fit, starting_point
from mxml.training.config import TrainConfig
from mxml.training.features.preset_guess import with_preset
from mxml.training.recipe import with_recipe
from mxml.training.run_data import preprocess_of

mx = load_mxnet()


@pytest.fixture
def folder(tmp_path):
    tiny.make_network(tmp_path / "net")
    return tmp_path


@pytest.fixture
def images(folder):
    """Images whose channels differ, as those of the world do."""
    import cv2

    generator = np.random.default_rng(0)
    (folder / "images").mkdir()
    names = [f"{number}.png" for number in range(20)]
    for name in names:
        pixels = generator.normal((60, 110, 170), (15, 30, 50), (40, 44, 3)) + generator.normal(0, 15, 3)
        assert cv2.imwrite(str(folder / "images" / name), np.clip(pixels, 0, 255).astype(np.uint8))
    labels = generator.integers(0, 2, (20, 3)).astype(np.int8)
    return ImageList.from_rows(names, labels, root=str(folder / "images"))


def guess(folder, images, model="net", validation=(), **given):
    """Return the configuration with its preset, and what is said of it."""
    settings = {
        "model": str(folder / model),
        "prefix": str(folder / "run"),
        "data_train": "train.lst",
        "data_val": "val.lst",
        "image_shape": (3, 32, 32),
        "batch_size": 8,
        "decode_threads": 1,
        **given,
    }
    config = with_recipe(TrainConfig(**settings))
    progress = Told()
    point = starting_point.of_pretrained(config, images.labels.shape[1])
    with FeatureCache(str(folder / "features.sqlite"), SILENT) as cache:
        return with_preset(config, point, (images, *validation), [mx.cpu()], cache, progress), progress.notes


def collect_statistics(folder, images, name):
    """Give the network's BatchNorm the statistics that training with a preset leaves there."""
    symbol, args, aux = mx.model.load_checkpoint(str(folder / "net"), 0)
    with Batches(ImageFiles(images), preset(name, (32, 32)), len(images), threads=1) as batches:
        data = next(iter(batches)).data[0]
    before = symbol.get_internals()["conv0_output"]
    executor = before.simple_bind(mx.cpu(), grad_req="null", data=data.shape)
    executor.copy_params_from({key: args[key] for key in ("conv0_weight", "conv0_bias")})
    values = executor.forward(data=data)[0].asnumpy()
    aux["bn0_moving_mean"] = mx.nd.array(values.mean(axis=(0, 2, 3)))
    aux["bn0_moving_var"] = mx.nd.array(values.var(axis=(0, 2, 3)))
    params_file.write_params(f"{folder / 'net'}-0000.params", params_file.join_params(args, aux))


@pytest.mark.parametrize("name", ["original", "caffe", "raw", "inception"])
def test_the_statistics_of_training_tell_the_preset(folder, images, name):
    collect_statistics(folder, images, name)

    config, (note,) = guess(folder, images)

    assert config.preset == name
    assert note == (
        f"preprocessing: {name}, by what the first BatchNorm of {folder / 'net'} remembers of images; "
        "`preset` sets another"
    )
    assert not (folder / "features.sqlite").exists()


def test_an_earlier_batch_norm_tells_the_preset_too(folder, images):
    collect_statistics(folder, images, "caffe")
    symbol = (folder / "net-symbol.json").read_text()
    (folder / "net-symbol.json").write_text(symbol.replace('"BatchNorm"', '"BatchNorm_v1"'))

    config, (note,) = guess(folder, images)

    assert config.preset == "caffe"
    assert "first BatchNorm" in note


def test_images_that_cannot_be_read_are_not_part_of_the_statistics(folder, images):
    collect_statistics(folder, images, "inception")
    for number in range(12):
        Path(images.path(number)).write_bytes(b"not an image")

    config, _ = guess(folder, images)
    assert config.preset == "inception"

    for number in range(20):
        Path(images.path(number)).write_bytes(b"not an image")
    config, (note,) = guess(folder, images)
    assert config.preset == "original"
    assert "since no image says more" in note


def test_statistics_that_were_never_collected_or_fit_nothing_say_nothing(folder, images):
    config, (note,) = guess(folder, images)
    assert "cross-validated loss" in note

    _, args, aux = mx.model.load_checkpoint(str(folder / "net"), 0)
    aux["bn0_moving_mean"] = mx.nd.full(8, 1e4)
    params_file.write_params(f"{folder / 'net'}-0000.params", params_file.join_params(args, aux))
    config, (note,) = guess(folder, images)
    assert "cross-validated loss" in note
    assert config.preset in ("original", "caffe")


def test_an_option_wins_and_nothing_is_said(folder, images):
    collect_statistics(folder, images, "inception")

    config, notes = guess(folder, images, preset="caffe")
    assert (config.preset, notes) == ("caffe", [])

    config, notes = guess(folder, images, channels="bgr")
    assert (config.preset, config.channels, notes) == ("original", "bgr", [])
    assert not (folder / "features.sqlite").exists()


def test_the_sidecar_of_the_run_that_trained_the_network_is_believed(folder, images):
    tiny.make_data(folder)
    trained = tiny.config(folder, "before", num_epoch=1, preset="inception")
    fit.fit(trained, SILENT)

    config, (note,) = guess(folder, images, "before", epoch=1)
    assert config.preset == "inception"
    assert note == "preprocessing: inception, as before.json says; `preset` sets another"

    sidecar = json.loads((folder / "before.json").read_text())
    sidecar["preprocess"]["mean"] = [1, 2, 3]
    (folder / "before.json").write_text(json.dumps(sidecar))
    config, (note,) = guess(folder, images, "before", epoch=1)
    preprocess = preprocess_of(config)
    assert (preprocess.mean, preprocess.std) == ((1, 2, 3), PRESETS["inception"].std)
    assert note.startswith("preprocessing: mean (1.0, 2.0, 3.0), std ")


def test_a_fit_that_the_network_was_not_trained_with_is_said(folder, images):
    tiny.make_data(folder)
    trained = tiny.config(folder, "before", num_epoch=1, preset="inception", fit="letterbox")
    fit.fit(trained, SILENT)
    said = "preprocessing: inception, as before.json says; `preset` sets another"

    config, (note,) = guess(folder, images, "before", epoch=1)
    assert (config.fit, note) == ("crop", f"{said}; its images were letterboxed: `fit` letterbox keeps that")

    _, (note,) = guess(folder, images, "before", epoch=1, fit="letterbox")
    assert note == said


def test_the_names_of_gluons_layers_say_original(folder, images):
    with mx.name.NameManager():
        net = mx.gluon.nn.HybridSequential(prefix="net0_")
        with net.name_scope():
            net.add(mx.gluon.nn.Conv2D(4, 3), mx.gluon.nn.GlobalAvgPool2D(), mx.gluon.nn.Dense(2))
    net.initialize(mx.init.Xavier())
    net.hybridize()
    net(mx.nd.zeros((1, 3, 32, 32)))
    net.export(str(folder / "gluon"))

    config, (note,) = guess(folder, images, "gluon")

    assert config.preset == "original"
    assert "as networks of Gluon have it, by the names of its layers" in note
    assert not (folder / "features.sqlite").exists()


def test_squeezenet_is_tried_and_is_caffes(tmp_path, shared):
    data = shared / "data" / "miml-scene"
    everything = read_lst(data / "train.lst", str(data / "images"))
    images = everything.select(np.linspace(0, len(everything) - 1, 48).astype(np.int64))
    settings = {"model": str(shared / "models" / "squeezenet_v1.0"), "image_shape": (3, 160, 160)}

    config, (note,) = guess(tmp_path, images, **settings)

    assert config.preset == "caffe"
    assert note.startswith("preprocessing: caffe, which fits 48 images best (cross-validated loss: original 0.")
    assert (tmp_path / "features.sqlite").exists()


def test_few_training_images_are_tried_together_with_validation_images(tmp_path, shared):
    """These 150 alone were taken for images that an `original` network fits best, with one of two seeds."""
    data = shared / "data" / "miml-scene"
    everything = read_lst(data / "train.lst", str(data / "images"))
    images = everything.select(np.sort(random.Random(0).sample(range(len(everything)), len(everything))[:150]))
    validation = read_lst(data / "val.lst", str(data / "images"))
    settings = {"model": str(shared / "models" / "squeezenet_v1.0"), "image_shape": (3, 160, 160), "seed": 1}

    config, (note,) = guess(tmp_path, images, validation=[validation], **settings)

    assert config.preset == "caffe"
    assert "caffe, which fits 256 images best" in note and "chance" not in note


def test_losses_that_differ_by_chance_are_said_to(tmp_path, shared):
    data = shared / "data" / "miml-scene"
    listed = read_lst(data / "train.lst", str(data / "images")).select(np.arange(40))
    names = [listed.path(row)[len(str(data / "images")) + 1 :] for row in range(len(listed))]
    labels = np.random.default_rng(0).integers(0, 2, (len(listed), 2)).astype(np.int8)
    images = ImageList.from_rows(names, labels, root=str(data / "images"))
    settings = {"model": str(shared / "models" / "squeezenet_v1.0"), "image_shape": (3, 64, 64)}

    _, (note,) = guess(tmp_path, images, **settings)

    assert re.search(r"original 0\.\d+, caffe 0\.\d+, so near each other that it may be chance\)", note)


def test_a_trial_is_kept_for_the_same_images_and_labels(tmp_path, shared):
    data = shared / "data" / "miml-scene"
    images = read_lst(data / "train.lst", str(data / "images")).select(np.arange(24))
    other = ImageList.from_rows(
        [images.path(row)[len(str(data / "images")) + 1 :] for row in range(24)],
        1 - images.labels,
        root=str(data / "images"),
    )
    settings = {"model": str(shared / "models" / "squeezenet_v1.0"), "image_shape": (3, 64, 64)}

    def losses_kept():
        with contextlib.closing(sqlite3.connect(tmp_path / "features.sqlite")) as file:
            rows = file.execute("SELECT vector FROM vectors WHERE image = ?", (b"losses of the presets",))
            return [np.frombuffer(vector, "<f4") for (vector,) in rows]

    first = guess(tmp_path, images, **settings)
    (kept,) = losses_kept()
    assert f"original {kept[0]:.3f}, caffe {kept[1]:.3f}" in first[1][0]
    # With the vectors gone, only what was kept can be said again.
    with contextlib.closing(sqlite3.connect(tmp_path / "features.sqlite")) as file, file:
        file.execute(
            "UPDATE vectors SET vector = ? WHERE image = ?", (kept[[1, 0, 2]].tobytes(), b"losses of the presets")
        )
    assert f"original {kept[1]:.3f}, caffe {kept[0]:.3f}" in guess(tmp_path, images, **settings)[1][0]

    guess(tmp_path, other, **settings)
    guess(tmp_path, images.select(np.arange(20)), **settings)
    assert len(losses_kept()) == 3
