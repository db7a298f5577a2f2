"""The shipped sample: images, lists and pretrained network, and the script that makes them."""

from __future__ import annotations

import csv
import importlib
import sys

import numpy as np
import pytest
from needs import lacking
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mxml.data.label_names import read_label_names
from mxml.data.lst_file import read_lst
from mxml.model.layers import Network
from mxml.model.params_file import read_params, split_params
from mxml.model.symbol_file import load_symbol
from mxml.runtime.imports import load_cv2, load_mxnet

cv2 = load_cv2()
mx = load_mxnet()

MEAN = np.array([123.68, 116.28, 103.53], np.float32)
STD = np.array([58.395, 57.12, 57.375], np.float32)


@pytest.fixture(scope="module")
def make_sample(checkout):
    """The script, as a module; it imports from its own folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(checkout / "models"), *sys.path])
        yield importlib.import_module("make_sample")
    for name in ("make_sample", "figures"):
        del sys.modules[name]


@pytest.fixture(scope="module")
def lists(checkout):
    return [read_lst(checkout / "lists" / f"{part}.lst", str(checkout / "images"), 8) for part in ("train", "val")]


@pytest.fixture(scope="module")
def pixels(lists):
    """The decoded images of each list, BGR."""
    return [[cv2.imread(images.path(i)) for i in range(len(images))] for images in lists]


@pytest.fixture(scope="module")
def network(checkout):
    """The shipped symbol and its parameters."""
    params = read_params(checkout / "models" / "sample-0000.params")
    return load_symbol(checkout / "models" / "sample-symbol.json"), *split_params(params)


def test_the_script_remakes_images_and_lists_byte_for_byte(make_sample, checkout, tmp_path):
    if not cv2.__version__.startswith(make_sample.OPENCV_VERSION):
        lacking(f"the shipped bytes are OpenCV {make_sample.OPENCV_VERSION}'s, this is {cv2.__version__}")
    assert make_sample.main(["--images-only", "--out", str(tmp_path)]) == 0
    for folder in ("images", "lists"):
        made, shipped = (
            {path.name: path.read_bytes() for path in (root / folder).iterdir()} for root in (tmp_path, checkout)
        )
        assert sorted(made) == sorted(shipped)
        assert [name for name in made if made[name] != shipped[name]] == []


def test_everything_together_takes_at_most_5_mb_also_in_whole_disk_blocks(checkout):
    files = [path for folder in ("images", "lists", "models") for path in (checkout / folder).glob("*.*")]
    assert len(files) > 700
    assert sum(-(-path.stat().st_size // 4096) * 4096 for path in files) <= 5_000_000


def test_the_lists_hold_what_the_table_says(checkout, lists):
    with open(checkout / "images" / "labels.csv", newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["image", *read_label_names(checkout / "lists" / "labels.txt", 8)]
    table = {name: [int(value) for value in labels] for name, *labels in rows}
    listed = {name: labels for images in lists for name, labels in zip(images.names(), images.labels.tolist())}
    assert listed == table
    assert len(rows) == len(lists[0]) + len(lists[1])
    assert sorted(table) == sorted(path.name for path in (checkout / "images").glob("*.jpg"))


def test_the_images_are_small_and_of_many_shapes(pixels):
    sizes = {image.shape for images in pixels for image in images}
    assert len(sizes) > 100
    assert min(min(height, width) for height, width, _ in sizes) == 96
    assert max(max(height, width) for height, width, _ in sizes) == 128


def test_labels_are_uneven_occur_together_and_are_in_both_lists(lists):
    labels = np.concatenate([images.labels for images in lists])
    assert set(np.unique(labels)) == {0, 1}
    for images in lists:
        assert 0.1 < images.labels.mean(axis=0).min() < images.labels.mean(axis=0).max() < 0.5
    counts = labels.sum(axis=0)
    assert counts.max() > 2 * counts.min()
    each = labels.sum(axis=1)
    assert ((each >= 2) & (each <= 4)).mean() > 0.6
    assert 0 < (each == 0).mean() < 0.1 < (each == 1).mean()
    together = np.corrcoef(labels.T)
    assert np.abs(together[~np.eye(8, dtype=bool)]).max() > 0.25


def test_the_network_is_a_softmax_classifier_with_batch_norm_and_a_connected_head(network, make_sample):
    symbol, arg_params, aux_params = network
    layers = symbol.get_internals().list_outputs()
    assert symbol.list_outputs() == ["softmax_output"]
    assert (
        layers[-5:] == ["flatten0_output", "fc_weight", "fc_bias", "fc_output", "softmax_label", "softmax_output"][-5:]
    )
    assert set(arg_params) == set(symbol.list_arguments()) - {"data", "softmax_label"}
    assert set(aux_params) == set(symbol.list_auxiliary_states())
    assert sum(name.endswith("_moving_var") for name in aux_params) >= 8
    assert sum(value.size for value in arg_params.values()) < 350_000
    assert arg_params["fc_weight"].shape[0] == len(make_sample.KINDS)
    whole = Network(symbol, (3, 96, 96))
    assert whole.feature_layer(whole.find(None)).name == "flatten0"


def test_the_network_tells_the_kinds_it_was_trained_on(network, make_sample):
    unseen = [make_sample.kind_image(977, kind) for kind in range(len(make_sample.KINDS))]
    scores = outputs(network, "softmax_output", unseen)
    assert (scores.argmax(axis=1) == np.arange(len(unseen))).mean() > 0.8


def test_colour_and_frequency_do_not_tell_the_labels_but_the_network_does(network, lists, pixels):
    means = [np.array([image.mean(axis=(0, 1)) for image in images]) for images in pixels]
    histograms = [np.array([histogram(image) for image in images]) for images in pixels]
    vectors = [outputs(network, "flatten0_output", [central(image) for image in images]) for images in pixels]
    frequency = lists[1].labels.mean()  # the average precision that a constant score has
    assert frequency < 0.35
    assert mean_average_precision(means, lists) < 0.45
    assert mean_average_precision(histograms, lists) < 0.6
    assert mean_average_precision(vectors, lists) > 0.8


def histogram(image):
    """Return the square roots of the shares of 216 colours."""
    counts = cv2.calcHist([image], [0, 1, 2], None, [6, 6, 6], [0, 256] * 3)
    return np.sqrt(counts.ravel() / counts.sum())


def central(image):
    """Return the square at the centre as (96, 96, 3) RGB."""
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return cv2.resize(image[top : top + side, left : left + side], (96, 96))[:, :, ::-1]


def outputs(network, layer, images):
    """Return what a layer of the network computes for (96, 96, 3) RGB images."""
    symbol, arg_params, aux_params = network
    part = symbol.get_internals()[layer]
    labels = [name for name in part.list_arguments() if name == "softmax_label"]
    module = mx.mod.Module(part, label_names=labels)
    data = ((np.stack(images).astype(np.float32) - MEAN) / STD).transpose(0, 3, 1, 2)
    module.bind([("data", data.shape)], [(name, (len(data),)) for name in labels] or None, for_training=False)
    module.set_params(arg_params, aux_params, allow_extra=True)
    module.forward(mx.io.DataBatch([mx.nd.array(data)]), is_train=False)
    return module.get_outputs()[0].asnumpy()


def mean_average_precision(features, lists):
    """Return the validation mAP of one logistic regression a label, fitted on the training list's features."""
    (train, val), (train_list, val_list) = features, lists
    precisions = []
    for label in range(8):
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.03, max_iter=1000))
        model.fit(train, train_list.labels[:, label])
        precisions.append(average_precision_score(val_list.labels[:, label], model.decision_function(val)))
    return float(np.mean(precisions))
