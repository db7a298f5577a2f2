"""The evaluation page: what it says, that no name can harm it, and what a real browser makes of it."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from html_pages import (
    HOSTILE,
    SHOWN,
    Parsed,
    assert_asks_for_nothing,
    assert_sound,
    pictures,
    text_of,
    words,
    write_photo,
)

from mxml.data.batches import BadImage
from mxml.data.image_list import ImageList
from mxml.errors import SettingError, StorageError
from mxml.evaluation.evaluation import Evaluation
from mxml.evaluation.evaluation_page import format_page
from mxml.evaluation.scored_list import ScoredList
from mxml.evaluation.scores import Scores
from mxml.pages.page import require_page


def evaluate(folder, scores, labels, names, file_names=None, bad=(), thresholds=0.5, **settings):
    """Evaluate scores of photographs that are made here, but for those that are ``bad``."""
    file_names = file_names or [f"{row}.jpg" for row in range(len(labels))]
    for seed, name in enumerate(file_names):
        if seed not in bad and not (folder / name).exists():
            write_photo(folder / name, seed)
    scores = np.asarray(scores, np.float32)
    scores[list(bad)] = np.nan
    faults = tuple(BadImage(row, file_names[row], "no such file") for row in bad)
    logits = np.log(scores) if settings.get("single_label") else np.log(scores / (1 - scores))
    images = ImageList.from_rows(file_names, labels, str(folder))
    listed = ScoredList(str(folder / "val.lst"), images, Scores(scores, logits, faults))
    return Evaluation.of("saved/run", 3, tuple(names), listed, np.full(len(names), thresholds), **settings)


@pytest.fixture
def small(tmp_path):
    """Two labels of six images: a mistake of each kind, and a likely wrong label among them."""
    scores = [[0.9, 0.2], [0.8, 0.2], [0.1, 0.7], [0.1, 0.6], [0.2, 0.3], [0.95, 0.4]]
    labels = [[1, 0], [1, 0], [1, 0], [0, 1], [0, 1], [0, -1]]
    return evaluate(tmp_path, scores, labels, ("cat", "dog"))


def test_the_figures_are_those_of_the_evaluation(small):
    page = format_page(small)
    said = words(page)
    assert "run on val.lst" in said
    assert "Epoch 3 of saved/run ; 6 images of" in said and "2 labels" in said
    assert f"mAP {small.metrics.mAP:.3f}" in said and f"CF1 {small.metrics.CF1:.3f}" in said
    cat, dog = small.metrics.per_class
    # AP, precision, recall, F1, threshold, present, given, unknown, look wrong
    assert f"cat {cat.AP:.3f} 0.667 0.667 0.667 0.5 3 3 0 2 dog {dog.AP:.3f} 0.500 0.500 0.500 0.5 2 2 1" in text_of(
        page, "labels"
    )
    assert f"cat AP {cat.AP:.3f}" in text_of(page, "curves")
    assert "cat F1 0.667" in text_of(page, "thresholds")
    # cat is missed in the third image, which is given dog in its place; dog alone is missed in the fifth
    cells = re.findall(r'<td class="[^"]*" title="([^"]*)">', page.partition('id="map"')[2])
    assert cells == [
        "cat is found in 2 of 3 images",
        "cat is missed and dog wrongly given in 1 image, 33.3\u00a0% of those with cat",
        "cat is never missed with nothing wrongly given",
        "dog is never missed with cat wrongly given",
        "dog is found in 1 of 2 images",
        "dog is missed and nothing wrongly given in 1 image, 50.0\u00a0% of those with dog",
    ]
    mistakes = text_of(page, "mistakes")
    assert "cat threshold 0.5 Wrongly given 1 0.95 listed: no label 5.jpg Missed 1 0.10 listed: cat 2.jpg" in mistakes
    assert "dog threshold 0.5 Wrongly given 1 0.70 listed: cat 2.jpg Missed 1 0.30 listed: dog 4.jpg" in mistakes


def test_likely_wrong_labels_say_what_should_change(small):
    page = format_page(small)
    errors = small.label_errors()
    assert [(error.path, error.name, error.present) for error in errors][:2] == [
        ("5.jpg", "cat", False),
        ("2.jpg", "cat", True),
    ]
    said = text_of(page, "errors")
    assert "cat ? 0.95 listed: no label 5.jpg" in said
    assert "not cat ? 0.10" in said
    assert f"{len(errors)} labels of the list may be wrong." in words(page)
    assert "trained on" in said


def test_a_page_without_a_mistake(tmp_path):
    page = format_page(evaluate(tmp_path, [[0.9, 0.1], [0.1, 0.9]], [[1, 0], [0, 1]], ("cat", "dog")))
    assert text_of(page, "mistakes") == "Mistakes None."
    assert "None: where the model contradicts" in text_of(page, "errors")
    assert not Parsed(page).all("img")
    assert "of the list may be wrong" not in words(page)


def test_single_labels_have_the_ordinary_confusion_matrix(tmp_path):
    scores = [[0.7, 0.2, 0.1], [0.5, 0.3, 0.2], [0.1, 0.8, 0.1], [0.1, 0.85, 0.05], [0.2, 0.2, 0.6]]
    labels = np.eye(3, dtype=np.int8)[[0, 0, 1, 0, 2]]
    page = format_page(evaluate(tmp_path, scores, labels, ("cat", "dog", "bird"), single_label=True))
    assert "accuracy 0.800" in words(page)
    cells = re.findall(r'<td class="([^"]*)" title="[^"]*">([^<]*)', page.partition('id="map"')[2])
    assert [text for _, text in cells] == ["2", "1", "·", "·", "1", "·", "·", "·", "1"]
    assert 'id="thresholds"' not in page and "threshold" not in text_of(page, "mistakes")
    assert "dog, not cat" in text_of(page, "errors")


def test_images_that_cannot_be_read_are_left_out_and_those_that_have_gone_are_named(tmp_path):
    scores = [[0.9], [0.8], [0.9], [0.1], [0.2], [0.1]]
    evaluation = evaluate(tmp_path, scores, [[1], [1], [0], [1], [0], [0]], ("cat",), bad=(0,))
    (tmp_path / "3.jpg").unlink()
    page = format_page(evaluation)
    assert "1 image left out that cannot be read" in words(page)
    # Positions are those of the list, also behind an image that is left out.
    assert "Wrongly given 1 0.90 listed: no label 2.jpg" in text_of(page, "mistakes")
    assert "Missed 1 cannot be shown: no such file 0.10 listed: cat 3.jpg" in text_of(page, "mistakes")
    assert "2.jpg" in pictures(page)


def test_a_label_that_is_in_no_image_has_no_curve(tmp_path):
    page = format_page(evaluate(tmp_path, [[0.9, 0.7], [0.1, 0.1]], [[1, 0], [0, 0]], ("cat", "dog")))
    assert not re.search(r"\d %", page.partition("<body")[2].partition("<script")[0])
    assert "1 label is in no image and has no curve." in text_of(page, "curves")
    assert "dog – – – – 0.5 0 1 0" in text_of(page, "labels")


def test_many_labels_and_images_make_no_huge_page(tmp_path):
    generator = np.random.default_rng(5)
    labels = (generator.random((300, 1200)) < 0.05).astype(np.int8)
    scores = np.clip(generator.normal(0.4 + 0.2 * labels, 0.15), 0.001, 0.999)
    files = [f"{row % 5}.jpg" for row in range(300)]
    page = format_page(evaluate(tmp_path, scores, labels, [f"label {i}" for i in range(1200)], files))
    assert len(page) < 4_000_000
    assert "The 1,000 labels with the most mistakes; 200 others are left out." in text_of(page, "labels")
    assert "The 60 labels with the most mistakes; 1,140 others are left out." in text_of(page, "curves")
    assert "The 60 labels with the most mistakes; 1,140 others are left out." in text_of(page, "confusion")
    assert "Of the 40 labels with the most mistakes; 1,160 others are left out." in text_of(page, "mistakes")
    assert "more images are not shown" in text_of(page, "errors")
    assert 300 < len(Parsed(page).all("img")) <= 40 * 2 * 4 + 100


def test_a_mistake_is_shown_large_enough_to_be_judged(tmp_path):
    write_photo(tmp_path / "0.jpg", 0, 500, 300)
    page = format_page(evaluate(tmp_path, [[0.9], [0.8]], [[0], [1]], ("cat",)))
    assert pictures(page)["0.jpg"].shape == (120, 200, 3)


def test_a_page_is_refused_where_it_would_replace_something_else(tmp_path):
    with pytest.raises(SettingError, match=r"ends in \.html"):
        require_page(str(tmp_path / "val.lst"))
    (tmp_path / "a.html").mkdir()
    with pytest.raises(StorageError, match="is a folder"):
        require_page(str(tmp_path / "a.html"))
    require_page(str(tmp_path / "new" / "b.HTML"))


# ---- hostile names, in a browser


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """A page of many mistakes, with names that try to break out of it."""
    generator = np.random.default_rng(3)
    labels = (generator.random((60, 7)) < (0.6, 0.4, 0.3, 0.3, 0.2, 0.2, 0)).astype(int)
    labels[3, 2] = -1
    scores = np.clip(generator.normal(0.3 + 0.4 * labels, 0.25), 0.01, 0.99)
    files = [f"photo {row}.jpg" for row in range(58)] + ["<img src=x onerror=alert(1)>.jpg", "{{ 7*7 }}.jpg"]
    scores[58:] = 0.95 - 0.9 * labels[58:]
    return format_page(evaluate(tmp_path_factory.mktemp("hostile"), scores, labels, HOSTILE, files))


def test_no_name_becomes_a_tag(hostile):
    parsed = Parsed(hostile)
    assert len(parsed.all("script")) == len(parsed.all("style")) == 1
    for tag, attributes in parsed.tags:
        assert not [name for name in attributes if name.startswith("on") or name == "style"], (tag, attributes)
    texts = [text for found in parsed.texts.values() for text in found]
    for name in ("<script>document.title = 'owned'</script>", "</style></title><b onclick='x'>", HOSTILE[3]):
        assert name in texts
    assert "<img src=x onerror=alert(1)>.jpg" in texts and "{{ 7*7 }}.jpg" in texts
    hostile.encode("utf-8")
    assert "\u202e" not in hostile and r"\u202egnirts" in hostile and "\x07" not in hostile


def test_the_page_asks_for_nothing(hostile):
    assert_asks_for_nothing(hostile)


@pytest.mark.parametrize(("width", "dark"), [(400, True), (700, False), (1600, False)])
def test_it_loads_without_a_fault_at_any_width(opened, hostile, width, dark):
    page = opened(hostile, width, dark=dark)
    assert_sound(page)
    assert page.evaluate("document.title") == "run on val.lst – mxml evaluate"
    assert page.evaluate("document.images.length") > 30
    assert page.evaluate("document.querySelectorAll('.plot').length") == 2 * 6 + 1


def test_tables_and_the_confusion_answer_to_the_reader(opened, hostile):
    page = opened(hostile)
    page.evaluate("document.querySelectorAll('#label-table thead th')[2].querySelector('button').click()")
    found = page.evaluate("[...document.querySelectorAll('#label-table tbody tr')].map(row => row.cells[2].innerText)")
    assert found[:-1] == sorted(found[:-1], reverse=True) and found[-1] == "–"
    title = page.evaluate(
        "(cell => { cell.dispatchEvent(new MouseEvent('mouseover', {bubbles: true})); return cell.title })"
        "(document.querySelector('#map tbody tr').cells[8])"
    )
    assert title.startswith("sea is ") and "nothing" in title
    assert page.evaluate("document.getElementById('map-said').textContent") == title
    assert page.evaluate("[...document.querySelectorAll('#label-table a')].every(a => document.querySelector(a.hash))")
    assert page.faults() == []


def test_without_scripts_the_page_says_the_same(opened, hostile):
    page = opened(hostile, scripts=False)
    assert page.faults() == []
    assert page.evaluate(SHOWN)
    assert page.evaluate("[...document.querySelectorAll('.tools, #map-said')].every(tool => !tool.checkVisibility())")


def test_the_page_of_real_photographs(opened, shared):
    """Scores are made up; what counts is that real pictures of real sizes load at a phone's width."""
    from mxml.data.lst_file import read_lst

    folder = shared / "data" / "miml-scene"
    images = read_lst(folder / "val.lst", folder / "images", 5)
    scores = np.clip(np.random.default_rng(1).normal(0.3 + 0.4 * images.labels, 0.2), 0.01, 0.99).astype(np.float32)
    listed = ScoredList("val.lst", images, Scores(scores, np.log(scores / (1 - scores)), ()))
    names = ("desert", "mountains", "sea", "sunset", "trees")
    evaluation = Evaluation.of("run", 1, names, listed, np.full(5, 0.5))
    assert json.dumps(evaluation.to_dict(), allow_nan=False)
    page = opened(format_page(evaluation), 400)
    assert_sound(page)
    page.resize(1280)
    assert_sound(page)
