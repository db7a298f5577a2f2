"""`Classifier.explain` on a network whose scores are how much of a colour there is: maps, places and drawings."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from coloured import NAMES, red_green_blue, spotted
from PIL import Image
from videos import make_video

from mxml import Classifier, Explanation
from mxml.errors import CheckpointError, ImageError, SettingError
from mxml.evaluation.calibration import Calibration
from mxml.images.label_colours import label_colours
from mxml.images.transforms import Preprocess
from mxml.inference.prediction import Prediction
from mxml.runtime.imports import load_mxnet

mx = load_mxnet()
GREY = (127.5, 127.5, 127.5)
FITS = {
    "crop": Preprocess((64, 64), 80, GREY, GREY),
    "letterbox": Preprocess((64, 64), None, GREY, GREY, fit="letterbox"),
    "stretch": Preprocess((64, 64), None, GREY, GREY, fit="stretch"),
}


@pytest.fixture(scope="module", params=FITS)
def classifier(request):
    return Classifier(red_green_blue(FITS[request.param]))


@pytest.fixture(scope="module")
def letterboxing():
    return Classifier(red_green_blue(FITS["letterbox"]))


def test_the_peak_is_on_what_the_label_is_about(classifier):
    picture = spotted(200, 120, 130, 70)
    picture[50:63, 60:73] = (0, 0, 255)
    (found,) = classifier.explain([picture], labels=["red", "blue"])
    for name, (x, y) in {"red": (130, 70), "blue": (66, 56)}.items():
        at = found.peak(name)
        assert abs(at[0] - x) <= 7 and abs(at[1] - y) <= 7, (name, at)
        left, top, right, bottom = found.hottest(name)
        assert left <= x < right and top <= y < bottom
        heat = found.picture_heat(name)
        assert heat.shape == (120, 200) and heat[y, x] > 0.5 > np.nanmedian(heat)
    assert found.heat("red").max() == 1


def test_what_a_crop_leaves_out_is_not_coloured_and_said(classifier):
    (found,) = classifier.explain([spotted(200, 120, 100, 60)])
    left, top, right, bottom = found.seen
    heat = found.picture_heat("red")
    if classifier.preprocess.fit == "crop":
        assert (left, top, right, bottom) == (51, 12, 148, 108)
        assert np.isnan(heat[:, :51]).all() and np.isnan(heat[:, 149:]).all() and np.isfinite(heat[60, 60:140]).all()
        drawn = found.draw("red")
        assert (np.ptp(drawn[:, :50], axis=2) <= 1).all() and drawn[:, :50].max() < 60
    else:
        assert (left, top, right, bottom) == (0, 0, 200, 120) and np.isfinite(heat).all()


def test_covering_the_hottest_tenth_takes_more_of_the_score_than_any_other(classifier):
    generator = np.random.default_rng(0)
    for x, y in ((90, 50), (110, 65), (120, 80)):
        picture = spotted(200, 120, x, y, radius=12)
        (found,) = classifier.explain([picture], labels="red")
        heat = np.nan_to_num(found.picture_heat("red"), nan=-1)
        # The picture's pixels are finer than those of the input: the hottest come in blocks.
        hottest = heat >= np.quantile(heat, 0.9)
        others = [generator.permutation(hottest.ravel()).reshape(hottest.shape) for _ in range(4)]
        covered = [np.where(mask[..., None], np.uint8(100), picture) for mask in (hottest, *others)]
        before, after, *random = [one.scores[0] for one in classifier.predict([picture, *covered])]
        assert after < min(random) <= before


def test_labels_are_those_found_or_given_or_the_best(letterboxing):
    strong, weak = spotted(64, 64, 30, 30, 20), spotted(64, 64, 30, 30, 1)
    names = [[label.name for label in one.labels] for one in letterboxing.explain([strong, weak])]
    assert names == [["red"], ["red"]]
    found, missed = letterboxing.explain([strong, weak])
    assert [one.to_dict()["labels"][0]["found"] for one in (found, missed)] == [True, False]
    (given,) = letterboxing.explain([strong], labels=["blue", "red", "blue"])
    assert [label.name for label in given.labels] == ["blue", "red"]
    assert str(given).startswith("image 0: blue 0.") and "red" in str(given)
    assert str(found) == str(found.prediction)
    with pytest.raises(SettingError, match="`labels` rad: should be the name of a label, such as 'red'"):
        letterboxing.explain([strong], labels=["rad"])
    with pytest.raises(SettingError, match="`labels` RED: should be the name of a label, such as 'red'"):
        letterboxing.explain([strong], labels="RED")
    with pytest.raises(SettingError, match="one that is explained: red"):
        found.heat("blue")


def test_maps_add_up_to_the_logit(classifier):
    (found,) = classifier.explain([spotted(100, 80, 40, 30)], labels=NAMES)
    scores = found.prediction.scores.astype(np.float64)
    total = found.maps.astype(np.float64).sum((1, 2)) + found.constants
    np.testing.assert_allclose(1 / (1 + np.exp(-total)), scores, atol=1e-5)
    assert found.method == "cam"


def test_maps_add_up_to_the_calibrated_logit():
    """So that a label is shown where its score, and not the network's own, comes from."""
    classifier = Classifier(red_green_blue(FITS["stretch"]))
    picture = spotted(64, 64, 30, 30, 6)
    (plain,) = classifier.explain([picture], labels=["green", "red"])
    classifier.calibration = Calibration("platt", (2.0, 0.5, 1.0), (1.0, -1.0, 0.0))
    (found,) = classifier.explain([picture], labels=["green", "red"])
    np.testing.assert_allclose(found.maps, plain.maps * np.array([0.5, 2.0])[:, None, None], atol=1e-6)
    np.testing.assert_allclose(found.constants, plain.constants * [0.5, 2.0] + [-1, 1], atol=1e-6)
    total = found.maps.astype(np.float64).sum((1, 2)) + found.constants
    wanted = [label.score for label in found.labels]
    np.testing.assert_allclose(1 / (1 + np.exp(-total)), wanted, atol=1e-5)


def test_the_frames_of_a_video_are_told_apart(letterboxing, tmp_path):
    explained = list(letterboxing.explain(make_video(tmp_path / "clip.avi"), labels="red"))
    assert [one.to_dict()["frame"] for one in explained] == [0, 10, 20, 30]
    assert explained[1].to_dict()["seconds"] == pytest.approx(1)
    assert [str(one).split(": red ")[0] for one in explained] == [f"{tmp_path}/clip.avi#{n}" for n in (0, 10, 20, 30)]


def test_an_image_that_cannot_be_read_is_explained_as_such(letterboxing, tmp_path):
    good = io.BytesIO()
    Image.fromarray(spotted(64, 64, 30, 30)).save(good, "PNG")
    wrong, right = letterboxing.explain([b"no image", good.getvalue()])
    assert wrong.error is not None and wrong.labels == () and right.error is None
    assert set(wrong.to_dict()) == {"input_path", "error"}
    with pytest.raises(ImageError):
        wrong.draw()
    assert right.to_dict()["seen"] == [0, 0, 64, 64]


def remarks_of(sheet):
    """Return the part of a sheet behind its scale of colours and what that means."""
    return sheet[-30:, 340:]


@pytest.mark.parametrize("size", [(96, 80), (4000, 1200), (300, 20), (1, 1)])
def test_sheets_of_small_and_large_images_have_the_image_first_and_legible_panels(letterboxing, size, tmp_path):
    picture = spotted(size[0], size[1], size[0] // 2, size[1] // 2, max(size) // 4)
    (found,) = letterboxing.explain([picture], labels=NAMES)
    sheet = found.draw()
    assert sheet.dtype == np.uint8 and 360 <= sheet.shape[1] <= 2100
    assert remarks_of(sheet).max() < 50
    path = found.save(tmp_path / "new" / "sheet.png")
    np.testing.assert_array_equal(np.asarray(Image.open(path)), sheet)
    # The first panel is the picture itself; others are drawn over.
    panel = sheet[10 : 10 + round(480 * size[1] / max(size)) or 1, 10:490]
    assert panel[panel.shape[0] // 2, panel.shape[1] // 2].tolist() == pytest.approx([255, 0, 0], abs=3)
    alone = found.draw("red")
    assert max(alone.shape) <= 1600 and alone.shape[1] == min(size[0], 1600)


def test_many_labels_are_counted_where_they_are_not_drawn():
    names = tuple(f"label {number}" for number in range(25))
    pixels = np.zeros((40, 40, 3), np.uint8)
    prediction = Prediction("a.jpg", names, np.full(25, 0.9, np.float32), pixels=pixels)
    shown = next(iter(Classifier(red_green_blue(FITS["stretch"])).explain([pixels]))).shown
    found = Explanation(prediction, prediction.labels, np.ones((25, 8, 8)), np.zeros(25), "grad-cam", shown)
    sheet = found.draw()
    # Twenty panels in four columns, and a remark behind the scale of colours.
    assert sheet.shape[1] == 4 * 490 + 10 and remarks_of(sheet).max() > 200
    assert len(found.to_dict()["labels"]) == 25


def test_a_sheet_says_that_an_image_is_unlike_the_training_images_and_has_the_labels_colours(letterboxing):
    (found,) = letterboxing.explain([spotted(64, 64, 30, 30, 20)], labels=["red", "blue"])
    near, far = (replace(found, prediction=replace(found.prediction, distance=far)) for far in (0.5, 1.5))
    assert np.ptp(remarks_of(far.draw())) > 100 > np.ptp(remarks_of(near.draw()))
    assert [far.to_dict()[key] for key in ("unlike", "distance")] == [True, 1.5]
    bar = np.array(label_colours(NAMES)[NAMES.index("red")], np.uint8)
    assert (near.draw() == bar).all(axis=2).sum() > 100


def test_a_wrong_file_name_is_refused(letterboxing, tmp_path):
    (found,) = letterboxing.explain([spotted(64, 64, 30, 30)])
    with pytest.raises(SettingError, match=r"a file that ends in \.jpg"):
        found.save(tmp_path / "sheet.gif")


def test_a_network_that_cannot_be_explained_is_named(tmp_path):
    model = red_green_blue(FITS["stretch"])
    hidden = mx.sym.Activation(mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=3, name="a"), act_type="relu")
    symbol = mx.sym.sigmoid(mx.sym.FullyConnected(hidden, num_hidden=3, name="fc"))
    args = {**model.arg_params, "a_weight": mx.nd.zeros((3, 3 * 64 * 64)), "a_bias": mx.nd.zeros(3)}
    args = {name: args[name] for name in symbol.list_arguments() if name != "data"}
    flat = type(model)("flat", 1, symbol, args, {}, model.sidecar)
    with pytest.raises(CheckpointError, match=r"flat-symbol\.json: cannot be explained: no layer with an area"):
        Classifier(flat).explain([spotted(64, 64, 30, 30)])
