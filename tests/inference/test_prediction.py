"""What a prediction says as text, JSON and picture."""

from __future__ import annotations

import json
import math
import os
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mxml.errors import ImageError, MxmlError, StorageError
from mxml.images import fonts
from mxml.images.label_colours import label_colours
from mxml.inference.prediction import Prediction
from mxml.inference.prediction_rows import prediction_rows

NAMES = ("desert", "mountains", "sea", "sunset", "trees")
SCORES = np.array([0.1, 0.712345678, 0.5, 0.98, 0.2], dtype=np.float32)


def sky(height=60, width=90):
    rows = np.linspace(255, 0, height, dtype=np.uint8)[:, None, None]
    return np.broadcast_to(rows, (height, width, 3)).copy()


def test_all_labels_that_reach_their_threshold_come_best_first():
    prediction = Prediction("images/x.jpg", NAMES, SCORES)
    assert [(label.class_id, label.name) for label in prediction.labels] == [
        (3, "sunset"),
        (1, "mountains"),
        (2, "sea"),
    ]
    assert str(prediction) == "images/x.jpg: sunset 0.98, mountains 0.71, sea 0.50"


def test_each_class_has_its_own_threshold():
    thresholds = np.array([0.05, 0.9, 0.4, 0.99, 0.3])
    assert [label.name for label in Prediction("x", NAMES, SCORES, thresholds).labels] == ["sea", "desert"]


def names(prediction):
    return [label.name for label in prediction.labels]


def test_top_k_gives_the_best_of_those_over_the_threshold_or_of_all():
    assert names(Prediction("x", NAMES, SCORES, top_k=2)) == ["sunset", "mountains"]
    assert names(Prediction("x", NAMES, SCORES, thresholds=0.9, top_k=2)) == ["sunset"]
    assert names(Prediction("x", NAMES, SCORES, thresholds=0.99, top_k=2)) == []
    assert names(Prediction("x", NAMES, SCORES, thresholds=0.99, top_k=2, always_top_k=True)) == ["sunset", "mountains"]
    assert len(Prediction("x", NAMES, SCORES, top_k=9, always_top_k=True).labels) == 5
    assert names(Prediction("x", NAMES, SCORES, thresholds=0.9, always_top_k=True)) == ["sunset"]
    with pytest.raises(ValueError, match="top_k is -1"):
        Prediction("x", NAMES, SCORES, top_k=-1)


def test_a_name_with_a_comma_or_a_quote_is_quoted_in_text_and_nowhere_else():
    prediction = Prediction("x", ("red, dark", 'a "b"', "plain"), np.array([0.9, 0.8, 0.7]))
    assert str(prediction) == r'x: "red, dark" 0.90, "a \"b\"" 0.80, plain 0.70'
    assert prediction.to_dict()["label_names"] == ["red, dark", 'a "b"', "plain"]


def test_an_image_that_cannot_be_read_has_no_labels_and_says_why():
    error = ImageError("the file is empty", "x.jpg", "empty")
    prediction = Prediction("x.jpg", NAMES, np.full(5, np.nan, np.float32), error=error)
    assert prediction.labels == ()
    assert str(prediction) == "x.jpg: cannot be read: the file is empty"
    assert (prediction["label_names"], prediction["error"]) == ([], "the file is empty")


def test_a_prediction_draws_on_the_pixels_that_it_has_kept():
    prediction = Prediction("x", NAMES, SCORES, pixels=sky(500, 600))
    np.testing.assert_array_equal(prediction.draw(), Prediction("x", NAMES, SCORES).draw(sky(500, 600)))
    with pytest.raises(ValueError, match="no image to draw on"):
        Prediction("x", NAMES, SCORES).draw()


def test_an_image_without_labels_says_so_and_names_the_nearest():
    prediction = Prediction("x.jpg", NAMES, SCORES, thresholds=0.99)
    assert str(prediction) == "x.jpg: no label reaches its threshold (best: sunset 0.98)"
    assert prediction.to_dict()["class_ids"] == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.floats(0, 1))
def test_the_labels_are_the_scores_at_or_over_the_threshold_in_order(scores, threshold):
    names = tuple(f"n{index}" for index in range(len(scores)))
    labels = Prediction("x", names, np.array(scores), threshold).labels
    assert {label.class_id for label in labels} == {i for i, score in enumerate(scores) if score >= threshold}
    assert [-label.score for label in labels] == sorted(-label.score for label in labels)


def test_a_line_cannot_drive_the_terminal_and_always_prints():
    undecodable = os.fsdecode(b"caf\xe9.jpg")
    line = str(Prediction(f"\x1b[2J{undecodable}", ("a\nb", "Bäume"), np.array([0.9, 0.8])))
    assert line == "\\x1b[2Jcaf\\udce9.jpg: a\\nb 0.90, Bäume 0.80"
    line.encode("utf-8")


def test_a_small_score_keeps_two_digits_in_text():
    scores = np.array([0.0012345, 1, 0.0049, 0.0051, 0], np.float32)
    line = str(Prediction("x.jpg", NAMES, scores, 0.0))
    assert line == "x.jpg: mountains 1.00, sunset 0.01, sea 0.0049, desert 0.0012, trees 0.00"
    assert str(Prediction("x.jpg", NAMES, scores * 0.0012)).endswith("(best: mountains 0.0012)")


def test_the_record_has_paddlex_keys_and_round_trips_through_a_file(tmp_path):
    prediction = Prediction("in/Bäume am See.jpg", ("Bäume", "海"), np.array([0.123456789, 0.98], np.float32), 0.1)
    written = prediction.save_to_json(tmp_path / "out" / "deep")
    assert written == tmp_path / "out" / "deep" / "Bäume am See_res.json"
    content = written.read_text(encoding="utf-8")
    assert "海" in content
    assert json.loads(content) == {
        "input_path": "in/Bäume am See.jpg",
        "page_index": None,
        "class_ids": [1, 0],
        "scores": [0.98, 0.12346],
        "label_names": ["海", "Bäume"],
    }
    assert prediction.save_to_json(tmp_path / "one.json").read_text(encoding="utf-8") == content


def test_a_path_whose_bytes_are_no_utf_8_can_still_be_saved(tmp_path):
    prediction = Prediction(os.fsdecode(b"caf\xe9.jpg"), NAMES, SCORES)
    written = prediction.save_to_json(tmp_path / "x.json")
    assert json.loads(written.read_text(encoding="utf-8"))["input_path"] == "caf\ufffd.jpg"


def test_results_stay_in_the_folder_that_was_asked_for(tmp_path):
    for path in ("/etc/passwd", "../../up.jpg", "..", ""):
        assert Prediction(path, NAMES, SCORES).save_to_json(tmp_path).parent == tmp_path


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(MxmlError, match=r"out: cannot be made \(Not a directory\)"):
        Prediction("x.jpg", NAMES, SCORES).save_to_json(tmp_path / "file" / "out")


@pytest.mark.parametrize(("name", "kind"), [("p.png", "PNG"), ("p.JPEG", "JPEG"), ("folder", "JPEG")])
def test_the_picture_is_written_in_the_form_its_name_asks_for(tmp_path, name, kind):
    written = Prediction("a/b.jpg", NAMES, SCORES).save_to_img(tmp_path / name, sky())
    assert written is not None
    assert written == (tmp_path / "folder" / "b_res.jpg" if name == "folder" else tmp_path / name)
    with Image.open(written) as picture:
        picture.load()
        assert (picture.format, picture.mode) == (kind, "RGB")


def test_a_file_of_another_kind_is_not_taken_for_a_folder():
    # Nothing could be written there, and no folder can be made of it.
    with pytest.raises(StorageError, match=r"^/dev/full: is a file; should end in \.jpg or \.jpeg or \.png, or be"):
        Prediction("x.jpg", NAMES, SCORES).save_to_img("/dev/full", sky())


def test_a_drawing_keeps_the_image_above_the_panel():
    image = np.random.default_rng(1).integers(0, 256, (500, 700, 3), dtype=np.uint8)
    drawing = Prediction("x", NAMES, SCORES).draw(image)
    np.testing.assert_array_equal(drawing[:500], image)
    assert drawing.shape[0] > 500 and drawing.shape[1:] == (700, 3)


@pytest.mark.parametrize("size", [(1, 1), (128, 83), (2, 5000), (5000, 2), (3000, 4000)])
def test_a_drawing_of_any_size_has_room_for_text_and_an_end(size):
    drawing = Prediction("x", NAMES, SCORES).draw(sky(*size))
    assert 360 <= drawing.shape[1] <= 1600
    assert drawing.shape[0] <= 1600 + 3 * 72


def test_bars_are_as_long_as_their_scores_and_grey_below_the_threshold():
    prediction = Prediction("x", ("reached", "missed"), np.array([0.75, 0.25]), 0.5, top_k=2, always_top_k=True)
    panel = prediction.draw(sky(600, 800))[600:].astype(int)
    top, bottom = np.split(panel[:98], 2)
    colour = label_colours(("reached", "missed"))[0]
    left, right = 13, 800 - 13
    for half, shown, score in ((top, colour, 0.75), (bottom, (107, 114, 128), 0.25)):
        line = half[40]
        assert line[left].tolist() == list(shown)
        mark = (line == 255).all(axis=1)  # the threshold
        assert math.isclose(np.flatnonzero(mark).mean(), (left + right) / 2, abs_tol=1.5)
        filled = (line == line[left]).all(axis=1).sum() + mark.sum() * (score > 0.5)
        assert math.isclose(filled / (right - left), score, abs_tol=0.01)


def test_many_labels_end_in_a_count_of_the_rest():
    names = tuple(f"label {index}" for index in range(100))
    many = Prediction("x", names, np.full(100, 0.9))
    assert many.draw(sky(500, 500)).shape == Prediction("x", names[:20], np.full(20, 0.9)).draw(sky(500, 500)).shape
    rows = prediction_rows(many)
    assert [row.text for row in rows[-2:]] == ["label 18", "… and 81 more"]
    assert [row.text for row in prediction_rows(many, 1)] == ["… and 100 more"]


def test_pictures_and_notebooks_say_that_an_image_is_unlike_the_training_images():
    unlike = "unlike the training images"
    near, far = (Prediction("x.jpg", NAMES, SCORES, distance=distance, pixels=sky()) for distance in (0.5, 1.5))
    texts = [[row.text for row in prediction_rows(one, 3)] for one in (near, far, replace(far, is_dropped=True))]
    assert texts == [["sunset", "mountains", "sea"], [unlike, "sunset", "… and 2 more"], [unlike, "sunset"]]
    assert [row.text for row in prediction_rows(replace(far, thresholds=0.99))] == [
        unlike,
        "no label reaches its threshold",
        "sunset",
    ]
    assert far.draw().shape[0] > near.draw().shape[0]
    assert unlike in far._repr_html_() and unlike not in near._repr_html_()


def test_names_beyond_ascii_are_drawn_as_written():
    def panel(name):
        return Prediction("x", (name,), np.array([0.8]), 0.9).draw(sky(500, 500))[500:]

    assert not np.array_equal(panel("Bäume"), panel("Baume"))
    assert not np.array_equal(panel("Bäume"), panel("B?ume"))
    assert not np.array_equal(panel("лес"), panel("???"))


def test_a_name_that_no_font_can_draw_is_replaced_by_its_number():
    hieroglyph = "\U00014400"
    if fonts.font_file(hieroglyph):
        pytest.skip("this machine has a font for Anatolian hieroglyphs")
    # Grey, since the colour of a label that is reached depends on its name.
    drawn, wanted = (
        Prediction("x", (name,), np.array([0.8]), 0.9, top_k=1, always_top_k=True).draw(sky(500, 500))
        for name in (hieroglyph, "class 0")
    )
    np.testing.assert_array_equal(drawn, wanted)


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match="do not fit 5 label names"):
        Prediction("x", NAMES, SCORES[:3])
    with pytest.raises(ValueError, match="uint8 image"):
        Prediction("x", NAMES, SCORES).draw(np.zeros((4, 4), np.uint8))
