"""Networks that were never fine-tuned to several labels: tagged with as they are."""

from __future__ import annotations

import numpy as np
import pytest
import tiny
from PIL import Image

from mxml import Classifier
from mxml.data.image_list import ImageList
from mxml.errors import CheckpointError, ModelError
from mxml.images.network_input import prepare
from mxml.images.transforms import preset
from mxml.inference.similar import SimilarIndex
from mxml.model import params_file
from mxml.runtime.imports import load_mxnet

mx = load_mxnet()
SMALL = preset("original", (32, 32))
NAMES = [f"name {number}" for number in range(5)]


def save(net, prefix, size=32):
    args, aux = tiny.random_parameters(net, (3, size, size), np.random.default_rng(1))
    net.save(f"{prefix}-symbol.json")
    params_file.write_params(f"{prefix}-0000.params", params_file.join_params(args, aux))
    return args


def features():
    net = mx.sym.Convolution(mx.sym.Variable("data"), num_filter=6, kernel=(3, 3), name="conv")
    return mx.sym.Activation(net, act_type="relu")


def pooled(net):
    return mx.sym.Flatten(mx.sym.Pooling(net, global_pool=True, kernel=(1, 1), pool_type="avg"))


def dense():
    return mx.sym.FullyConnected(pooled(features()), num_hidden=5, name="out")


def pointwise():
    return mx.sym.Convolution(features(), num_filter=5, kernel=(1, 1), name="out")


ENDS = {
    "SoftmaxOutput": lambda: mx.sym.SoftmaxOutput(dense(), name="softmax"),
    "SoftmaxActivation": lambda: mx.sym.SoftmaxActivation(dense()),
    "softmax": lambda: mx.sym.softmax(dense()),
    "logits": dense,
    "convolution, then pooled": lambda: mx.sym.SoftmaxOutput(pooled(pointwise()), name="softmax"),
    "a map of one position": lambda: mx.sym.SoftmaxOutput(
        mx.sym.Pooling(pointwise(), global_pool=True, kernel=(1, 1), pool_type="avg"), name="softmax"
    ),
    "logits of a convolution": lambda: pooled(pointwise()),
}


@pytest.mark.parametrize("end", ENDS)
def test_a_classifier_of_single_labels_gives_each_image_its_best_label(tmp_path, end):
    args = save(ENDS[end](), tmp_path / "net")
    image = np.random.default_rng(2).integers(0, 256, (32, 32, 3)).astype(np.uint8)
    classifier = Classifier.load(tmp_path / "net", preprocess=SMALL, label_names=NAMES)
    (prediction,) = classifier.predict(image)
    # In float64, from the first layer on.
    inputs = ((image - np.array(SMALL.mean)) / np.array(SMALL.std)).transpose(2, 0, 1)
    windows = np.lib.stride_tricks.sliding_window_view(inputs, (3, 3, 3))[0]
    kernel, bias = (args[f"conv_{part}"].asnumpy().astype(float) for part in ("weight", "bias"))
    maps = np.maximum(np.einsum("hwcij,ocij->ohw", windows, kernel) + bias[:, None, None], 0)
    weight, bias = (args[f"out_{part}"].asnumpy().astype(float) for part in ("weight", "bias"))
    logits = weight.reshape(5, 6) @ maps.mean(axis=(1, 2)) + bias
    powers = np.exp(logits - logits.max())
    np.testing.assert_allclose(prediction.scores, powers / powers.sum(), atol=1e-5)
    assert [label.class_id for label in prediction.labels] == [int(logits.argmax())]
    assert len(next(iter(classifier.predict(image, top_k=3))).labels) == 3
    assumed = [note for note in classifier.notes if "assumes a softmax" in note]
    assert len(assumed) == end.startswith("logits")


def map_of_gluon():
    """As Gluon exports a ResNet: a fully connected layer reads the pooled map as it is, (N, 6, 1, 1)."""
    area = mx.sym.Pooling(features(), global_pool=True, kernel=(1, 1), pool_type="avg")
    return mx.sym.FullyConnected(area, num_hidden=5, name="out")


@pytest.mark.parametrize("net", [dense, map_of_gluon, lambda: pooled(pointwise())])
def test_features_are_the_means_of_the_last_layer_whatever_reads_it(tmp_path, net):
    args = save(net(), tmp_path / "net")
    generator = np.random.default_rng(5)
    images = [generator.integers(0, 256, (32, 32, 3)).astype(np.uint8) for _ in range(4)]
    for number, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / f"{number}.png")
    classifier = Classifier.load(tmp_path / "net", preprocess=SMALL, label_names=NAMES)
    found = classifier.features(images, batch_size=3)
    symbol = mx.sym.Group([pooled(features())])
    held = {name: args[name] for name in ("conv_weight", "conv_bias")}
    data = mx.nd.array(np.stack([prepare(image, SMALL) for image in images]))
    (wanted,) = symbol.bind(mx.cpu(), {**held, "data": data}).forward()
    np.testing.assert_allclose(found, wanted.asnumpy(), rtol=1e-5, atol=1e-5)
    listed = ImageList.from_rows([f"{number}.png" for number in range(4)], np.eye(4, 5), root=str(tmp_path))
    (nearest,) = SimilarIndex(classifier, listed).similar(images[2], 1)
    assert nearest.images[0].path == str(tmp_path / "2.png") and nearest.images[0].distance < 1e-3


def test_scores_at_several_positions_are_no_labels(tmp_path):
    save(mx.sym.Flatten(pointwise()), tmp_path / "net")
    classifier = Classifier.load(tmp_path / "net", preprocess=SMALL, label_names=NAMES)
    with pytest.raises(CheckpointError, match=r"net-0000\.params: .* 4500 scores for 5 labels"):
        list(classifier.predict(np.zeros((32, 32, 3), np.uint8)))


@pytest.mark.parametrize("attribute", ["multi_output", "preserve_shape"])
def test_a_softmax_at_each_position_is_refused(tmp_path, attribute):
    save(mx.sym.SoftmaxOutput(pointwise(), name="softmax", **{attribute: True}), tmp_path / "net")
    with pytest.raises(ModelError, match="not from a sigmoid"):
        Classifier.load(tmp_path / "net", preprocess=SMALL)


def test_what_imagenets_network_sees_in_photographs(shared):
    classifier = Classifier.load(
        shared / "models" / "squeezenet_v1.0",
        label_names=shared / "models" / "imagenet-labels.txt",
        preset="caffe",
        image_shape=(3, 227, 227),
    )
    seen = {
        "banana_0": "banana",
        "granny_smith_0": "Granny Smith",
        "fruit_0": "orange",
        "object_1": "golden retriever",
        "object_2": "electric locomotive",
        "jellyfish": "jellyfish",
    }
    photos = [shared / "data" / "photos" / f"{name}.jpg" for name in seen]
    assert [prediction.labels[0].name for prediction in classifier.predict(photos)] == list(seen.values())
    (unsure,) = classifier.predict(shared / "data" / "photos" / "peds_0.jpg", threshold=0.9)
    assert unsure.labels == ()
