"""Feature vectors of a list's images: what they are, and which of them are computed."""

import dataclasses
import shutil
from pathlib import Path

import cv2
import needs
import numpy as np
import pytest
import tiny

from mxml.data.batches import Batches
from mxml.data.image_list import ImageList
from mxml.data.image_sources import ImageFiles
from mxml.data.lst_file import read_lst
from mxml.images.transforms import preset
from mxml.inference.feature_cache import FeatureCache
from mxml.inference.feature_vectors import FeatureExtractor, FeatureNetwork
from mxml.model import symbols
from mxml.model.precision import lower_precision
from mxml.progress import SILENT
from mxml.runtime.amx import uses_amx
from mxml.runtime.imports import load_mxnet

mx = load_mxnet()


class Counts:
    """Keeps how many images were to be computed in each part of a task, and how many were."""

    def __init__(self):
        self.parts = []

    def start(self, total, what, done=0):
        self.parts.append([what, total - done, 0])

    def advance(self, count=1, detail=""):
        self.parts[-1][2] += count

    def note(self, text):
        raise AssertionError(text)


@pytest.fixture
def folder(tmp_path):
    tiny.make_network(tmp_path / "net")
    return tmp_path


@pytest.fixture
def images(folder):
    return tiny.make_images(folder / "images", 11, 3)


def network_of(prefix, shape=(3, 32, 32)):
    model = symbols.fine_tune_model(prefix, 0, 3, shape)
    return FeatureNetwork(symbols.features_output(model.symbol), model.arg_params, model.aux_params)


def extract(
    folder,
    images,
    views=("plain",),
    network=None,
    preprocess=None,
    batch_size=4,
    progress=SILENT,
    **settings,
):
    """Return the vectors with the file in ``folder``."""
    with FeatureCache(str(folder / "features.sqlite"), SILENT) as cache:
        extractor = FeatureExtractor(
            network or network_of(folder / "net"),
            preprocess or preset("original", (32, 32)),
            [mx.cpu()],
            cache,
            batch_size=batch_size,
            threads=1,
            progress=progress,
            views=views,
            **settings,
        )
        return extractor.vectors(ImageFiles(images), "features")


def computed(folder, images, **settings):
    """Return the names of the parts with how many images were computed in each."""
    counts = Counts()
    extract(folder, images, progress=counts, **settings)
    assert all(planned == done for _, planned, done in counts.parts)
    return {what: done for what, _, done in counts.parts}


def executed(network, images, preprocess, mirror=False):
    """Compute the vectors by a plain executor, all images at once."""
    with Batches(ImageFiles(images), preprocess, len(images), bad_images="report", threads=1) as batches:
        data = next(iter(batches)).data[0].asnumpy()
    data = mx.nd.array(data[:, :, :, ::-1] if mirror else data)
    executor = network.symbol.simple_bind(mx.cpu(), grad_req="null", data=data.shape)
    executor.copy_params_from(dict(network.arg_params), dict(network.aux_params), allow_extra_params=True)
    return executor.forward(is_train=False, data=data)[0].asnumpy()


def test_each_view_is_the_networks_output_for_it(folder, images):
    network, plain = network_of(folder / "net"), preset("original", (32, 32))
    larger = dataclasses.replace(plain, size=(40, 40), short_side=40)

    found = extract(folder, images, ("plain", "larger", "mirror"))

    assert found.views.shape == (3, 11, 8)
    assert found.views.dtype == np.float32
    expected = [
        executed(network, images, plain),
        executed(network, images, larger),
        executed(network, images, plain, mirror=True),
    ]
    assert found.views == pytest.approx(np.stack(expected), abs=1e-5)
    assert np.abs(found.views[0] - found.views[1]).max() > 1e-3
    assert found.plain is not None and np.array_equal(found.plain, found.views[0])
    assert found.bad == () and found.readable.all()


def test_a_second_time_nothing_is_computed_and_the_vectors_are_the_same(folder, images):
    views = ("plain", "mirror", "larger")
    first, second = (extract(folder, images, views) for _ in range(2))

    assert (first.computed, second.computed) == (11, 0)
    assert np.array_equal(first.views, second.views)


def test_images_that_are_added_are_the_only_ones_computed(folder, images):
    assert computed(folder, images.select(np.arange(6))) == {"features": 6}
    assert computed(folder, images) == {"features": 5}
    assert computed(folder, images, views=("plain", "mirror", "larger")) == {"features": 11, "features, larger": 11}
    assert computed(folder, images, views=("plain", "larger")) == {"features": 0, "features, larger": 0}


def test_an_image_counts_by_its_content_not_its_name(folder, images):
    extract(folder, images)
    first, second = images.path(0), images.path(1)
    shutil.copy(first, folder / "images" / "renamed.png")
    renamed = ImageList.from_rows(["renamed.png"], images.labels[:1], root=str(folder / "images"))
    assert computed(folder, renamed) == {"features": 0}

    picture = cv2.imread(second)
    picture[0, 0] += 1
    assert cv2.imwrite(second, picture)
    assert computed(folder, images) == {"features": 1}


def test_other_preprocessing_or_parameters_compute_everything_again(folder, images):
    extract(folder, images)
    original = preset("original", (32, 32))
    for other in (
        preset("caffe", (32, 32)),
        preset("original", (32, 32), "stretch"),
        dataclasses.replace(original, short_side=40),
        dataclasses.replace(original, interpolation="linear"),
    ):
        assert computed(folder, images, preprocess=other) == {"features": 11}

    network = network_of(folder / "net")
    name = "bn0_gamma"
    changed = {**network.arg_params, name: network.arg_params[name] + 1e-6}
    assert computed(folder, images, network=dataclasses.replace(network, arg_params=changed)) == {"features": 11}
    assert computed(folder, images, network=network) == {"features": 0}


def test_vectors_of_other_kinds_of_devices_are_kept_apart(folder):
    with FeatureCache(None, SILENT) as cache:

        def digest(*devices):
            preprocess = preset("original", (32, 32))
            network = network_of(folder / "net")
            extractor = FeatureExtractor(
                network, preprocess, devices, cache, batch_size=4, threads=1, progress=SILENT, views=("plain",)
            )
            return extractor.digest()

        assert digest(mx.cpu(0)) == digest(mx.cpu(0), mx.cpu(1))
        assert digest(mx.gpu(0)) == digest(mx.gpu(0), mx.gpu(1)) != digest(mx.cpu(0))


def test_what_the_nodes_are_called_is_not_part_of_a_network(folder, images):
    def build(prefix):
        net = mx.sym.Convolution(mx.sym.Variable("data"), num_filter=2, kernel=(3, 3), name=f"{prefix}conv")
        net = mx.sym.Flatten(mx.sym.Pooling(net, global_pool=True, kernel=(1, 1), pool_type="avg"))
        weight = mx.nd.array(np.arange(54).reshape(2, 3, 3, 3) / 54)
        return FeatureNetwork(net, {f"{prefix}conv_weight": weight, f"{prefix}conv_bias": mx.nd.zeros(2)}, {})

    assert build("a").digest() == build("b").digest()
    group = mx.sym.SliceChannel(mx.sym.Variable("data"), num_outputs=2, axis=1)
    assert FeatureNetwork(group[0], {}, {}).digest() != FeatureNetwork(group[1], {}, {}).digest()


def test_images_that_cannot_be_read_are_named_and_hold_zeros(folder, images):
    Path(images.path(2)).write_bytes(b"not an image")
    Path(images.path(5)).unlink()
    views = ("plain", "mirror", "larger")

    for _ in range(2):
        found = extract(folder, images, views)
        assert [image.position for image in found.bad] == [2, 5]
        assert [image.path for image in found.bad] == [images.path(2), images.path(5)]
        assert np.flatnonzero(~found.readable).tolist() == [2, 5]
        assert not found.views[:, [2, 5]].any()
        assert (np.abs(found.views[:, found.readable]).sum(axis=2) > 0).all()


def test_the_call_after_a_batch_comes_once_its_vectors_are_on_disk(folder, images):
    class Stopped(Exception):
        pass

    def stop():
        raise Stopped

    with pytest.raises(Stopped):
        extract(folder, images, ("plain", "mirror"), after_batch=stop)

    assert computed(folder, images, views=("plain", "mirror")) == {"features": 7}


def assert_same_bits_whatever_is_cached(folder, images, network, preprocess):
    """Each vector is the same with any number of others beside it in its batch, or from the file."""
    views = ("plain", "mirror")
    (folder / "whole").mkdir()
    whole = extract(folder / "whole", images, views, network, preprocess)
    for number, part in enumerate(([0], [1, 4, 2], [3, 5, 6, 0, 1])):
        here = folder / str(number)
        here.mkdir()
        extract(here, images.select(np.array(part)), views, network, preprocess, batch_size=number + 1)
        found = extract(here, images, views, network, preprocess)
        assert found.computed == len(images) - len(part)
        assert found.views.tobytes() == whole.views.tobytes()


def test_the_bits_do_not_depend_on_what_was_cached(folder, checkout):
    images = read_lst(checkout / "lists" / "val.lst", str(checkout / "images"), 8).select(np.arange(7))
    network = network_of(checkout / "models" / "sample", (3, 96, 96))

    assert_same_bits_whatever_is_cached(folder, images, network, preset("original", (96, 96)))


def lowered(network):
    return dataclasses.replace(network, symbol=lower_precision(network.symbol, "bfloat16"))


def photographs(shared, count):
    data = shared / "data" / "miml-scene"
    return read_lst(data / "val.lst", str(data / "images")).select(np.arange(count))


def test_the_bits_of_squeezenet_do_not_depend_on_what_was_cached(folder, shared):
    network = network_of(shared / "models" / "squeezenet_v1.0", (3, 128, 128))
    assert_same_bits_whatever_is_cached(folder, photographs(shared, 7), network, preset("caffe", (128, 128)))


@needs.bfloat16
def test_the_bits_of_squeezenet_in_bfloat16_do_not_depend_on_what_was_cached(folder, shared):
    network = lowered(network_of(shared / "models" / "squeezenet_v1.0", (3, 128, 128)))
    assert_same_bits_whatever_is_cached(folder, photographs(shared, 7), network, preset("caffe", (128, 128)))


@needs.bfloat16
def test_vectors_in_bfloat16_are_near_those_in_float32_and_kept_apart(folder, shared):
    images = photographs(shared, 32)
    whole = network_of(shared / "models" / "squeezenet_v1.0", (3, 128, 128))

    exact, near = (
        extract(folder, images, network=network, preprocess=preset("caffe", (128, 128)))
        for network in (whole, lowered(whole))
    )

    assert near.computed == exact.computed == 32
    difference = np.abs(near.plain - exact.plain).mean(axis=0)
    varying = exact.plain.std(axis=0) > 1e-3 * exact.plain.std()
    assert 0 < (difference[varying] / exact.plain.std(axis=0)[varying]).mean() < 0.02


def test_a_network_is_lowered_where_amx_computes_it_and_nowhere_else(checkout):
    network = network_of(checkout / "models" / "sample", (3, 96, 96))

    assert (network.on([mx.cpu()]).digest() != network.digest()) == uses_amx()
    assert network.on([mx.cpu(), mx.gpu()]) is network
