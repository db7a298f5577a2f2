"""The classifier as a notebook or a server uses it."""

from __future__ import annotations

import io
import socket
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from videos import make_video

from mxml import Camera, Classifier
from mxml.data.lst_file import read_lst
from mxml.errors import CheckpointError, DeviceError, ImageError, SettingError
from mxml.evaluation.metrics import multilabel_metrics
from mxml.images.transforms import Preprocess, preset
from mxml.images.video import video_frames
from mxml.inference.backend import as_numpy
from mxml.model import checkpoint, symbols
from mxml.model.run_files import RunFiles
from mxml.model.sidecar import Epoch, Sidecar, Stamp, UsedList
from mxml.runtime.imports import load_mxnet

mx = load_mxnet()
SHAPE = (3, 32, 32)
THRESHOLDS = (0.3, 0.5, 0.7)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with images, lists, and a checkpoint whose random head tells images apart."""
    folder = tmp_path_factory.mktemp("classifier")
    tiny.make_data(folder)
    model = symbols.fine_tune_model(folder / "net", 0, 3, SHAPE)
    generator = np.random.default_rng(3)
    head = {name: mx.nd.array(generator.normal(0, 0.3, model.arg_params[name].shape)) for name in model.head_names}
    prefix = str(folder / "run")
    stamp = checkpoint.save_symbol(prefix, model.symbol)
    files = checkpoint.save_arrays(
        RunFiles(prefix).params(1), RunFiles(prefix).states(1), {**model.arg_params, **head}, model.aux_params, {}
    )
    val = folder / "lists" / "val.lst"
    used = UsedList(str(val), str(folder / "images"), 12, Stamp.of(val).sha256)
    checkpoint.save_sidecar(
        prefix,
        Sidecar(
            tiny.LABELS,
            Preprocess((32, 32), 36),
            THRESHOLDS,
            {},
            {},
            {"val": used},
            symbol=stamp,
            best_epoch=1,
            epochs=(Epoch(1, 1, {}, files),),
        ),
    )
    return folder


@pytest.fixture(scope="module")
def classifier(made):
    return Classifier.load(str(made / "run"))


def scores(predictions):
    return np.array([prediction.scores for prediction in predictions])


def test_every_kind_of_input_gives_the_same_scores(made, classifier):
    path = made / "images" / "2-0.png"
    pixels = cv2.imread(str(path))[..., ::-1]
    inputs = [str(path), path, path.read_bytes(), pixels, Image.fromarray(pixels), [pixels], iter([path])]
    predictions = list(classifier.predict(iter(inputs)))
    assert [prediction.error for prediction in predictions] == [None] * 7
    np.testing.assert_array_equal(scores(predictions), scores(predictions[:1]).repeat(7, axis=0))
    assert [prediction.path for prediction in predictions[:4]] == [str(path), str(path), "image 2", "image 3"]
    alone = next(iter(classifier.predict(pixels)))
    np.testing.assert_allclose(alone.scores, predictions[0].scores, rtol=1e-6)


@pytest.mark.parametrize("batch_size", [1, 5, 12, 100])
def test_predictions_come_in_order_whatever_the_batch_size(made, classifier, batch_size):
    images = read_lst(made / "lists" / "val.lst", made / "images")
    expected = classifier.scores(images).probabilities
    predictions = list(classifier.predict(images, batch_size=batch_size, threads=2))
    assert [prediction.path for prediction in predictions] == [images.path(i) for i in range(12)]
    np.testing.assert_allclose(scores(predictions), expected, rtol=1e-5)
    assert len({tuple(row) for row in expected}) == 12, "the images are told apart"


def test_a_bad_image_carries_its_error_and_the_rest_goes_on(made, classifier):
    good = str(made / "images" / "2-0.png")
    truncated = Image.open(io.BytesIO((made / "images" / "2-1.png").read_bytes()[:900]))
    inputs = [good, "none.jpg", b"", b"hello", truncated, good]
    predictions = list(classifier.predict((entry for entry in inputs), batch_size=2))
    reasons = [prediction.error and prediction.error.reason for prediction in predictions]
    assert reasons[0] is reasons[5] is None
    assert reasons[1:3] == ["no such file", "the file is empty"]
    assert "not an image" in reasons[3]
    assert "Pillow cannot load it" in reasons[4]
    assert all(isinstance(prediction.error, ImageError) for prediction in predictions[1:5])
    assert all(prediction.labels == () and np.isnan(prediction.scores).all() for prediction in predictions[1:5])
    np.testing.assert_array_equal(predictions[0].scores, predictions[5].scores)
    assert [prediction.error.kind for prediction in classifier.predict(["none.jpg"])] == ["missing"]


def test_a_stream_without_an_end_is_read_only_as_it_is_asked_for(classifier):
    asked = 0

    def endless():
        nonlocal asked
        while True:
            asked += 1
            yield np.full((40, 40, 3), asked % 256, np.uint8)

    predictions = classifier.predict(endless(), batch_size=4)
    assert asked == 0
    first = [next(predictions) for _ in range(6)]
    assert asked <= 6 * 4
    predictions.close()
    assert [prediction.path for prediction in first] == [f"image {position}" for position in range(6)]


def test_nothing_gives_nothing(classifier):
    assert list(classifier.predict([])) == list(classifier.predict(iter([]))) == []


def test_labels_are_chosen_by_threshold_and_top_k(made, classifier):
    image = made / "images" / "2-0.png"
    own = next(classifier.predict(image)).scores
    ranking = [tiny.LABELS[i] for i in np.argsort(-own)]

    def labels(**options):
        return [label.name for label in next(classifier.predict(image, **options)).labels]

    assert labels() == [name for name in ranking if own[tiny.LABELS.index(name)] >= THRESHOLDS[tiny.LABELS.index(name)]]
    assert labels(threshold=0) == ranking
    assert labels(threshold=1) == []
    assert labels(top_k=2) == ranking[:2], "the best, whatever their score"
    assert labels(top_k=2, threshold=1) == []
    assert labels(top_k=2, threshold=0) == ranking[:2]
    assert labels(threshold=dict.fromkeys(tiny.LABELS, 1) | {ranking[2]: 0}) == ranking[2:]
    assert labels(threshold=[0 if name == "green" else 1 for name in tiny.LABELS]) == ["green"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": 2}, "`threshold` 2: should be a number from 0 to 1"),
        ({"threshold": {"gren": 0.5}}, "`threshold` gren: should be the name of a label, such as 'green'"),
        ({"top_k": -1}, "`top_k` -1: should be a whole number, 0 or more"),
        ({"top_k": 1.5}, "`top_k` 1.5: should be a whole number, 0 or more"),
        ({"batch_size": 0}, "`batch_size` 0: should be a whole number from 1 to 65536"),
        ({"batch_size": 2.5}, "`batch_size` 2.5: should be a whole number from 1 to 65536"),
        ({"batch_size": 10**6}, "`batch_size` 1000000: should be a whole number from 1 to 65536"),
        ({"threads": 0}, "`threads` 0: should be a whole number from 1 to 256"),
        ({"threads": 10**6}, "`threads` 1000000: should be a whole number from 1 to 256"),
    ],
)
def test_wrong_settings_are_refused_before_anything_is_read(classifier, options, message):
    with pytest.raises(SettingError, match=message):
        classifier.predict("nowhere", **options)


def test_a_batch_larger_than_any_memory_is_an_error_that_names_it(made):
    large = Classifier.load(made / "run", preprocess=Preprocess((4096, 4096), None))
    image = np.zeros((5, 5, 3), np.uint8)
    with pytest.raises(DeviceError, match="not enough memory for batches of 65536 images; reduce `batch_size`"):
        list(large.predict(image, batch_size=65536))


def test_an_array_too_large_to_copy_is_an_error_of_its_own(classifier):
    image = np.broadcast_to(np.uint8(0), (100_000, 100_000, 3))
    huge, good = classifier.predict([image, np.zeros((5, 5, 3), np.uint8)])
    assert huge.error is not None and huge.error.kind == "too_large"
    assert good.error is None


def test_kept_pixels_are_the_image_and_change_no_score(made, classifier):
    path = made / "images" / "2-0.png"
    plain, kept = next(classifier.predict(path)), next(classifier.predict(path, keep_pixels=True))
    np.testing.assert_array_equal(kept.pixels, cv2.imread(str(path))[..., ::-1])
    assert plain.pixels is None
    np.testing.assert_array_equal(plain.scores, kept.scores)
    assert kept.draw().shape[1] >= 360


class Progress:
    def __init__(self):
        self.told = []

    def start(self, total, what, done=0):
        self.told.append((what, total))

    def advance(self, count=1, detail=""):
        self.told.append(count)

    def note(self, text):
        self.told.append(text)


def test_progress_counts_the_images(made, classifier):
    progress = Progress()
    list(classifier.predict(str(made / "images"), batch_size=20, progress=progress))
    assert progress.told == [("predicting", 52), 20, 20, 12]
    progress = Progress()
    classifier.evaluate(batch_size=5, progress=progress)
    assert progress.told == [("evaluating", 12), 5, 5, 2, ("intervals of the metrics", 12), 12]


# ---- evaluation


def test_an_evaluation_has_the_metrics_of_the_scores(made, classifier):
    images = read_lst(made / "lists" / "val.lst", made / "images")
    found = classifier.scores(images)
    expected = multilabel_metrics(found.probabilities, images.labels, np.array(THRESHOLDS), logits=found.logits)
    evaluation = classifier.evaluate()
    assert evaluation.metrics == expected
    assert evaluation.samples == 12
    assert [(name, entry.threshold) for name, entry in evaluation.per_class] == list(zip(tiny.LABELS, THRESHOLDS))
    named = classifier.evaluate(made / "lists" / "val.lst", made / "images", threshold=0.5)
    assert named.metrics.mAP == expected.mAP
    assert {entry.threshold for entry in named.metrics.per_class} == {0.5}
    assert classifier.evaluate(root=made / "images").metrics == expected


def test_an_evaluation_needs_its_images_unless_told_otherwise(made, classifier, tmp_path):
    lines = (made / "lists" / "val.lst").read_text()
    (tmp_path / "val.lst").write_text(lines.replace("2-3.png", "none.png"))
    with pytest.raises(ImageError, match=r"none\.png: no such file; `skip_bad` skips such images"):
        classifier.evaluate(tmp_path / "val.lst", made / "images")
    evaluation = classifier.evaluate(tmp_path / "val.lst", made / "images", skip_bad=True)
    assert (evaluation.samples, [image.position for image in evaluation.bad]) == (11, [3])
    assert evaluation.to_dict()["bad"] == 1
    (tmp_path / "lists.json").write_text('{"root": "images"}')
    (tmp_path / "images").symlink_to(made / "images")
    assert classifier.evaluate(tmp_path / "val.lst", skip_bad=True).metrics == evaluation.metrics


# ---- loading


def test_what_is_assumed_without_a_sidecar_is_noted(made):
    full = checkpoint.load(str(made / "run"))
    bare = checkpoint.Checkpoint(full.prefix, full.epoch, full.symbol, full.arg_params, full.aux_params)
    assert Classifier(full).notes == ()
    (note,) = Classifier(bare).notes
    assert "run.json: does not exist, so mxml assumes images of 224 x 224 pixels" in note
    assert "label names class_0, class_1, class_2; " in note
    assert note.endswith("set `preset`, `image_shape`, `label_names`")
    assert Classifier(bare, preprocess=Preprocess((32, 32), 36), label_names=tiny.LABELS).notes == ()
    with pytest.raises(SettingError, match=r"`data` none: should be a list, .*names no validation list"):
        Classifier(bare).evaluate()


def test_preprocessing_and_names_can_be_replaced_one_by_one(made, tmp_path):
    prefix = str(made / "run")
    assert Classifier.load(prefix, image_shape=(3, 64, 96)).preprocess == Preprocess((64, 96), 72)
    assert Classifier.load(prefix, preset="caffe").preprocess == preset("caffe", (32, 32))
    assert Classifier.load(prefix, mean=(1, 2, 3), channels="bgr").preprocess.mean == (1, 2, 3)
    letterbox = Classifier.load(prefix, fit="letterbox").preprocess
    assert letterbox == Preprocess((32, 32), None, fit="letterbox")
    assert Classifier.load(prefix, fit="crop").preprocess == Preprocess((32, 32), 36), "as it was"
    assert Classifier.load(prefix, fit="stretch", image_shape=(3, 64, 96)).preprocess == Preprocess(
        (64, 96), None, fit="stretch"
    )
    # What is given in Python takes the sidecar's place, and can be changed like it.
    back = Classifier.load(prefix, preprocess=letterbox, fit="crop", image_shape=(3, 40, 30)).preprocess
    assert back == Preprocess((40, 30), 40)
    assert Classifier.load(prefix, preprocess=letterbox, std=(1, 1, 1)).preprocess.fit == "letterbox"
    assert Classifier.load(prefix, fit="letterbox", preset="caffe").preprocess == preset("caffe", 32, "letterbox")
    assert Classifier.load(prefix, preprocess=letterbox, preset="imagenet").preprocess == preset("imagenet", 32)
    assert Classifier.load(prefix, label_names=["a", "b", "c"]).label_names == ("a", "b", "c")
    (tmp_path / "names.txt").write_text("x\ny\nz\n")
    assert Classifier.load(prefix, label_names=tmp_path / "names.txt").label_names == ("x", "y", "z")
    with pytest.raises(CheckpointError, match=r"gives 3 scores for 2 label names"):
        Classifier.load(prefix, label_names=["a", "b"])
    with pytest.raises(SettingError, match="`preset` nonsense: should be one of original, imagenet, caffe"):
        Classifier.load(prefix, preset="nonsense")
    with pytest.raises(SettingError, match="`fit` pad: should be one of crop, letterbox, stretch"):
        Classifier.load(prefix, fit="pad")
    with pytest.raises(SettingError, match="`image_shape` 1,32,32: should be 3,HEIGHT,WIDTH"):
        Classifier.load(prefix, image_shape=(1, 32, 32))


class MeanColour:
    """A network in NumPy: the logits are the mean of each channel."""

    num_classes = 3

    def __init__(self, batch_size):
        self._batch_size = batch_size

    def logits(self, data):
        assert len(data) <= self._batch_size
        return as_numpy(data).mean(axis=(2, 3)) / 20


def test_another_backend_runs_the_network_and_nothing_else_changes(made):
    model = checkpoint.load(str(made / "run"))
    bound = []

    def bind(preprocess, batch_size):
        bound.append((preprocess.size, batch_size))
        return MeanColour(batch_size)

    classifier = Classifier(model, bind=bind)
    images = read_lst(made / "lists" / "val.lst", made / "images")
    predictions = list(classifier.predict(images, batch_size=5))
    assert bound == [((32, 32), 5)], "one network for the whole call"
    # A label is a bright channel, so that the mean of the channel ranks perfectly.
    assert classifier.evaluate(threshold=0.5).metrics.mAP == 1
    means = [
        np.mean((cv2.imread(p.path)[..., ::-1] - np.array(classifier.preprocess.mean)), axis=(0, 1))
        for p in predictions
    ]
    ranked = [int(np.argmax(prediction.scores)) for prediction in predictions]
    assert ranked == [int(np.argmax(mean)) for mean in means]


def test_a_bound_network_is_used_again_unless_it_is_far_larger(made):
    bound = []

    def bind(preprocess, batch_size):
        bound.append(batch_size)
        return MeanColour(batch_size)

    classifier = Classifier(checkpoint.load(str(made / "run")), bind=bind)
    image = np.zeros((40, 40, 3), np.uint8)
    for count in (8, 8, 5, 4, 1, 1, 9):
        list(classifier.predict([image] * count))
    assert bound == [8, 1, 9]


# ---- threads, batches, videos


@settings(max_examples=12, deadline=None)
@given(count=st.integers(1, 12), batch_size=st.integers(1, 13), threads=st.integers(1, 3))
def test_a_list_gives_what_each_image_gives_alone(made, classifier, count, batch_size, threads):
    images = read_lst(made / "lists" / "val.lst", made / "images")
    paths = [images.path(position) for position in range(count)]
    alone = np.array([next(classifier.predict(path)).scores for path in paths])
    together = scores(classifier.predict(paths, batch_size=batch_size, threads=threads))
    np.testing.assert_allclose(together, alone, rtol=0, atol=1e-5)


def test_several_threads_and_classifiers_give_what_one_gives(made, classifier):
    images = read_lst(made / "lists" / "val.lst", made / "images")
    alone = np.array([next(classifier.predict(images.path(position))).scores for position in range(12)])
    used = [classifier, classifier, classifier, Classifier.load(str(made / "run"))]

    def predicted(number):
        return [scores(used[number].predict(images, batch_size=(1, 3, 5, 12)[number])) for _ in range(6)]

    with ThreadPoolExecutor(4) as pool:
        for together in pool.map(predicted, range(4)):
            np.testing.assert_allclose(together, np.array([alone] * 6), rtol=0, atol=1e-5)


def test_one_classifier_predicts_explains_evaluates_and_gives_features_in_several_threads(made, classifier):
    images = read_lst(made / "lists" / "val.lst", made / "images")
    picture = images.path(0)
    uses = (
        lambda: scores(classifier.predict(images, batch_size=3)),
        lambda: scores(classifier.predict(images, batch_size=5, tta=("flip", "multi-scale"))),
        lambda: np.concatenate([one.maps.sum((1, 2)) for one in classifier.explain([picture] * 3, labels="red")]),
        lambda: classifier.features(images, batch_size=2),
        lambda: classifier.score_list().scores.probabilities,
    )
    alone = [use() for use in uses]
    with ThreadPoolExecutor(len(uses)) as pool:
        for _ in range(4):
            for found, wanted in zip(pool.map(lambda use: use(), uses), alone):
                np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


def test_predictions_from_one_generator_may_be_taken_by_another_thread(made, classifier):
    predictions = classifier.predict(made / "images" / "2-0.png")
    with ThreadPoolExecutor(1) as pool:
        taken = pool.submit(list, predictions).result()
    np.testing.assert_array_equal(scores(taken), scores(classifier.predict(made / "images" / "2-0.png")))


def test_the_frames_of_a_video_are_predicted_as_the_pictures_they_are(made, classifier, tmp_path):
    clip = make_video(tmp_path / "clip.avi")
    decoded = [frame.bgr[..., ::-1] for frame in video_frames(str(clip), 7)]
    alone = scores(classifier.predict(decoded))
    predictions = list(classifier.predict(clip, every=7, keep_pixels=True))
    np.testing.assert_allclose(scores(predictions), alone, rtol=0, atol=1e-5)
    np.testing.assert_allclose(scores(classifier.predict(clip, every=7)), alone, rtol=0, atol=1e-5)
    assert [(p.path, p.frame, p.seconds) for p in predictions] == [(str(clip), n, n / 10) for n in range(0, 35, 7)]
    for prediction, pixels in zip(predictions, decoded):
        np.testing.assert_array_equal(prediction.pixels, pixels)
    assert str(predictions[2]).startswith(f"{clip}#14: ")
    record = predictions[2].to_dict()
    assert (record["input_path"], record["frame"], record["seconds"]) == (str(clip), 14, 1.4)
    assert predictions[2].save_to_img(tmp_path / "out").name == "clip_frame14_res.jpg"
    assert "frame" not in next(classifier.predict(made / "images" / "2-0.png")).to_dict()


def test_a_camera_is_predicted_frame_by_frame(classifier, tmp_path):
    clip = make_video(tmp_path / "clip.avi")
    predictions = classifier.predict(Camera(str(clip)))
    assert [next(predictions).frame for _ in range(3)] == [0, 1, 2]
    predictions.close()
    assert len(list(classifier.predict(Camera(str(clip)), frames=4, every=2))) == 4
    *frames, end = classifier.predict(Camera(str(clip)))
    assert len(frames) == 35 and "gives no more frames" in end.error.reason


def test_ending_a_prediction_does_not_wait_for_a_server(classifier):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        image = np.zeros((40, 40, 3), np.uint8)
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/x.jpg"
        predictions = classifier.predict(iter([image, image, *[url] * 40]), batch_size=2)
        next(predictions)
        predictions.close()


@pytest.mark.parametrize("setting", ["every", "frames"])
@pytest.mark.parametrize("value", [0, -1, 1.5, True])
def test_frames_are_counted_in_whole_numbers(classifier, setting, value):
    with pytest.raises(SettingError, match=f"`{setting}` .*: should be a whole number, 1 or more"):
        classifier.predict("x.mp4", **{setting: value})
