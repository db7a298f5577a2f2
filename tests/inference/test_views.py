"""Test-time augmentation: the mean of an image's logits as it is, mirrored and at other scales, worked out by hand."""

from __future__ import annotations

import coloured
import numpy as np
import pytest
import tiny
from PIL import Image

from mxml import Classifier
from mxml.data.image_list import ImageList
from mxml.errors import SettingError
from mxml.evaluation.calibration import Calibration
from mxml.images.network_input import prepare
from mxml.images.transforms import Preprocess
from mxml.inference.views import Views
from mxml.model import described
from mxml.model.checkpoint import Checkpoint
from mxml.model.feature_distribution import FeatureDistribution
from mxml.model.sidecar import Sidecar
from mxml.runtime.imports import load_mxnet

mx = load_mxnet()
SIDE = 40
OWN = Preprocess((SIDE, SIDE), 44)
SCALED = (OWN, Preprocess((32, 32), 35), Preprocess((50, 50), 55))
WAYS = {
    "plain": ((), (OWN,), False),
    "flip": (("flip",), (OWN,), True),
    "multi-scale": (("multi-scale",), SCALED, False),
    "both": (("flip", "multi-scale"), SCALED, True),
}


def network(pooling):
    """A network whose logits differ for mirrored images, behind ``pooling`` of its map."""
    net = mx.sym.Convolution(mx.sym.Variable("data"), num_filter=6, kernel=(5, 5), stride=(3, 3), name="conv")
    net = mx.sym.Activation(net, act_type="relu")
    return mx.sym.sigmoid(mx.sym.FullyConnected(pooling(net), num_hidden=3, name="fc"))


def pooled(net):
    return mx.sym.Flatten(mx.sym.Pooling(net, global_pool=True, kernel=(1, 1), pool_type="avg"))


def model(symbol):
    args, aux = tiny.random_parameters(symbol, (3, SIDE, SIDE), np.random.default_rng(3))
    return Checkpoint("net", 1, symbol, args, aux, Sidecar(coloured.NAMES, OWN, (0.5,) * 3, {}, {}, {}))


@pytest.fixture(scope="module")
def classifier():
    return Classifier(model(network(pooled)))


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Five images of shapes of their own, one of which the decoder reduces, and by other factors for other scales."""
    folder = tmp_path_factory.mktemp("views")
    generator = np.random.default_rng(4)
    names = []
    for number, size in enumerate([(60, 50), (44, 90), (200, 210), (100, 96), (45, 45)]):
        coarse = Image.fromarray(generator.integers(0, 256, (7, 9, 3)).astype(np.uint8))
        names.append(f"{number}.jpg")
        coarse.resize(size, Image.Resampling.BICUBIC).save(folder / names[-1])
    labels = generator.integers(0, 2, (5, 3)).astype(np.int8)
    return ImageList.from_rows(names, labels, root=str(folder))


def probabilities(logits):
    return 1 / (1 + np.exp(-np.asarray(logits, np.float64)))


@pytest.mark.parametrize("way", WAYS)
def test_scores_are_those_of_the_mean_logit_of_each_view_computed_alone(classifier, way):
    tta, preprocesses, mirrors = WAYS[way]
    picture = np.random.default_rng(5).integers(0, 256, (70, 60, 3)).astype(np.uint8)
    found = []
    for preprocess in preprocesses:
        data = prepare(picture, preprocess)[None]
        backend = Classifier(classifier.checkpoint, preprocess=preprocess)._bind_mxnet(preprocess, 1)
        found += [backend.logits(data)] + ([backend.logits(data[..., ::-1])] if mirrors else [])
    assert len(found) == len(preprocesses) * (1 + mirrors)
    assert all(np.abs(one - found[0]).max() > 1e-3 for one in found[1:])
    (prediction,) = classifier.predict(picture, tta=tta)
    np.testing.assert_allclose(prediction.scores, probabilities(np.mean(found, axis=0))[0], atol=1e-6)


@pytest.mark.parametrize("way", WAYS)
def test_predict_gives_the_scores_that_evaluate_judges(classifier, images, way):
    tta = WAYS[way][0]
    judged = classifier.scores(images, batch_size=2, tta=tta).probabilities
    predicted = [prediction.scores for prediction in classifier.predict(images, batch_size=2, tta=tta)]
    np.testing.assert_array_equal(np.array(predicted), judged)


def test_calibrated_logits_are_averaged(images):
    calibrated = Classifier(model(network(pooled)))
    plain = calibrated.scores(images, tta=("flip",)).logits
    calibrated.calibration = Calibration("platt", (2.0, 0.5, 1.0), (0.0, 1.0, -1.0))
    scores = calibrated.scores(images, tta=("flip",))
    np.testing.assert_allclose(scores.logits, plain * [2, 0.5, 1] + [0, 1, -1], atol=1e-5)


def test_an_image_that_cannot_be_read_spoils_no_other(classifier, images):
    paths = [images.path(number) for number in range(5)]
    with_bad = classifier.predict([*paths[:2], b"no image", *paths[2:]], batch_size=3, tta=("flip", "multi-scale"))
    alone = classifier.predict(paths, batch_size=3, tta=("flip", "multi-scale"))
    found = list(with_bad)
    assert found.pop(2).error is not None
    np.testing.assert_allclose([one.scores for one in found], [one.scores for one in alone], atol=1e-6)


def test_distances_are_those_of_the_plain_view(tmp_path, images, monkeypatch):
    coloured.write(tmp_path / "colours", OWN)
    classifier = Classifier.load(tmp_path / "colours")
    vectors = np.random.default_rng(1).random((20, 3)).astype(np.float32)
    described.save(str(tmp_path / "colours"), 1, FeatureDistribution.of(vectors[:15], vectors[15:]))
    classifier = Classifier.load(tmp_path / "colours")
    plain = [one.distance for one in classifier.predict(images)]
    assert None not in plain and len(set(plain)) == 5
    assert [one.distance for one in classifier.predict(images, tta=("flip", "multi-scale"))] == plain


# What each of these gives for an input of another size: no output, an output of another shape, or too many scores.
FIXED = {
    "weights for one size": network(mx.sym.Flatten),
    "a window larger than the map": network(
        lambda net: mx.sym.Flatten(mx.sym.Pooling(net, kernel=(12, 12), pool_type="avg"))
    ),
    "scores of a convolution in several places": mx.sym.sigmoid(
        mx.sym.Flatten(
            mx.sym.Pooling(
                mx.sym.Convolution(
                    mx.sym.Convolution(
                        mx.sym.Variable("data"), num_filter=4, kernel=(5, 5), stride=(3, 3), name="conv"
                    ),
                    num_filter=3,
                    kernel=(1, 1),
                    name="scores",
                ),
                kernel=(7, 7),
                stride=(6, 6),
                pool_type="avg",
            )
        )
    ),
}


@pytest.mark.parametrize("what", FIXED)
def test_a_network_for_one_size_takes_no_other_and_says_so_in_one_line(what, images):
    fixed = Classifier(model(FIXED[what]))
    (first, *_) = fixed.predict(images, tta="flip")
    assert first.error is None
    for use in (fixed.predict, fixed.scores):
        with pytest.raises(SettingError) as caught:
            use(images, tta=("flip", "multi-scale"))
        wanted = f"`tta` multi-scale: should be left out: this network needs images of {SIDE}x{SIDE}"
        assert str(caught.value) == wanted


def test_ways_are_given_by_name():
    assert Views.of(OWN, "multi-scale") == Views.of(OWN, ("multi-scale",)) == Views(SCALED, False)
    with pytest.raises(SettingError, match="`tta` mirror: should be one of flip, multi-scale, or both"):
        Views.of(OWN, ("flip", "mirror"))
    with pytest.raises(SettingError, match=r"`tta` multi-scale: should be left out: 1\.25 times 3500x20 is more than"):
        Views.of(Preprocess((3500, 20), 3500), ("multi-scale",))
    assert len(Views.of(Preprocess((3500, 20), 3500), ("flip",)).preprocesses) == 1
