"""``mxml evaluate``: whole commands, what they print, and what wrong input gets."""

from __future__ import annotations

import json
import os
import re

import numpy as np
import pytest
import tiny
from refusals import check_refusal

from mxml import Classifier, ImageList, read_lst
from mxml.cli.evaluate import report
from mxml.evaluation.evaluation import Evaluation
from mxml.evaluation.scored_list import ScoredList
from mxml.evaluation.scores import Scores, probabilities

RUN = ("--prefix", "saved/multi")
EVALUATE = ("evaluate", *RUN)


def test_evaluate_finds_the_metrics_of_the_training(folder, mxml):
    sidecar = json.loads((folder / "saved" / "multi.json").read_text())
    for epoch in (1, 2):
        code, out, _ = mxml("evaluate", "--prefix", "saved/multi", "--epoch", epoch, "--json", "--batch-size", "5")
        assert code == 0
        found, written = json.loads(out), sidecar["epochs"][epoch - 1]["metrics"]["val"]
        assert found["epoch"] == epoch
        for name, value in written.items():
            if value is None:
                assert found[name] is None, name
            elif name == "AP_per_class":
                assert [entry["AP"] for entry in found["per_class"]] == pytest.approx(value, abs=1e-6, nan_ok=True)
            elif name != "per_class":
                assert found[name] == pytest.approx(value, rel=1e-5), name
        assert [entry["name"] for entry in found["per_class"]] == list(tiny.LABELS)
    best = json.loads(mxml("evaluate", "--prefix", "saved/multi", "--json")[1])
    assert best["epoch"] == sidecar["best_epoch"]
    text = mxml("evaluate", "--prefix", "saved/multi")[1]
    assert re.search(rf"^mAP +{best['mAP']:.4f} ", text, re.M)
    assert re.search(r"^green +\d", text, re.M)


def test_beside_a_metric_stand_its_interval_and_its_baseline(folder, mxml):
    text = mxml(*EVALUATE)[1]
    found = json.loads(mxml(*EVALUATE, "--json")[1])
    assert text.startswith("12 images; intervals from 1,000 resamples of them\n")
    assert found["intervals"]["resamples"] == 1000
    labels = read_lst(folder / "lists" / "val.lst", folder / "images").labels
    assert found["baseline"]["mAP"] == pytest.approx(labels.mean(axis=0).mean())
    assert [entry["AP_baseline"] for entry in found["per_class"]] == pytest.approx(labels.mean(axis=0).tolist())
    for name, shown in (("mAP", "mAP"), ("hamming", "Hamming loss"), ("loss", "cross-entropy")):
        (low, high), value = found["intervals"][name], found[name]
        line = rf"^{shown} +{value:.4f}  \({low:.3f} to {high:.3f}\) +{found['baseline'][name]:.4f}$"
        assert low <= value <= high and re.search(line, text, re.M), (line, text)
    entry = found["per_class"][1]
    low, high = entry["AP_interval"]
    assert f"  {entry['AP']:.4f}  ({low:.3f} to {high:.3f})  " in text


def scored(count, width):
    random = np.random.default_rng(6)
    labels = (random.random((count, width)) < 0.2).astype(np.int8)
    logits = (random.normal(size=labels.shape) + labels).astype(np.float32)
    images = ImageList.from_rows([f"{number}.jpg" for number in range(count)], labels)
    return ScoredList("somewhere.lst", images, Scores(probabilities(logits), logits, ()))


def test_of_very_many_labels_those_of_the_lowest_AP_are_shown():
    names = tuple(f"label number {number} with a name of more than forty letters" for number in range(100))
    evaluation = Evaluation.of("model", 3, names, scored(50, 100), np.full(100, 0.5))
    lines = report(evaluation)
    shown = lines[next(row for row, line in enumerate(lines) if re.match("label  +present", line)) + 1 :]
    assert shown.pop() == "... and 70 labels of no lower AP; --json has all"
    lowest = sorted(evaluation.per_class, key=lambda pair: pair[1].AP)[:30]
    assert [line[:37] for line in shown] == [name[:37] for name, _ in lowest]
    assert max(map(len, lines)) <= 132
    assert len(evaluation.to_dict()["per_class"]) == 100


def test_one_image_has_metrics_and_no_intervals():
    lines = report(Evaluation.of("model", 3, ("red", "green"), scored(1, 2), np.full(2, 0.5)))
    assert lines[0] == "1 image"
    assert re.fullmatch(r"Hamming loss +\d\.\d{4} +- +\d\.\d{4}", next(line for line in lines if "Hamming" in line))


def test_the_old_checkpoint_evaluates_as_the_original_preprocesses(shared, mxml):
    data = shared / "data" / "miml-scene"
    prefix = shared / "models" / "legacy-multilabel"
    code, out, err = mxml(
        "evaluate", "--prefix", prefix, "--data", data / "val.lst", "--root", data / "images", "--json"
    )
    assert code == 0, err
    found = json.loads(out)
    assert found["samples"] == 200
    assert found["element_accuracy"] == pytest.approx(0.8010, abs=0.002)
    assert found["mAP"] == pytest.approx(0.701, abs=0.002)


def test_another_input_size_keeps_the_rest_of_the_preprocessing(folder):
    path = folder / "saved" / "multi.json"
    sidecar = json.loads(path.read_text())
    sidecar["preprocess"].update(short_side=40, channels="bgr", mean=[1, 2, 3])
    path.write_text(json.dumps(sidecar))

    def preprocess(**changes):
        return Classifier.load("saved/multi", **changes).preprocess

    larger = preprocess(image_shape=(3, 64, 96))
    assert (larger.size, larger.short_side, larger.channels, larger.mean) == ((64, 96), 80, "bgr", (1, 2, 3))
    assert preprocess(std=(1.0, 1.0, 1.0)).std == (1, 1, 1)
    assert preprocess(preset="imagenet").channels == "rgb"
    assert preprocess(preset="imagenet").size == (32, 32)


def test_a_bad_image_ends_the_evaluation_unless_told(folder, mxml):
    (folder / "images" / "2-3.png").write_bytes(b"")
    assert mxml(*EVALUATE, "--json") == (
        1,
        "",
        "mxml: images/2-3.png: the file is empty; 1 of 12 images cannot be read, more than the 5% that training "
        "allowed; --skip-bad skips such images\n",
    )
    code, out, err = mxml(*EVALUATE, "--json", "--skip-bad")
    assert code == 0
    assert (json.loads(out)["samples"], json.loads(out)["bad"]) == (11, 1)
    assert err == "left out, cannot be read: images/2-3.png: the file is empty\n"


def test_of_many_bad_images_the_first_are_named(folder, mxml):
    good = (folder / "lists" / "val.lst").read_text()
    bad = "".join(f"{number}\t1\t0\t0\tgone-{number}.png\n" for number in range(25))
    (folder / "lists" / "many.lst").write_text(good + bad)
    given = ("--data", "lists/many.lst", "--root", "images", "--skip-bad")
    code, _, err = mxml(*EVALUATE, *given)
    *named, count = err.splitlines()
    assert code == 0 and len(named) == 20 and all("gone-" in line for line in named)
    assert count == "images left out because they cannot be read: 25"


def test_of_the_runs_own_list_as_many_bad_images_are_left_out_as_training_allowed(folder, mxml):
    path = folder / "saved" / "multi.json"
    path.write_text(path.read_text().replace('"max_bad_share": 0.05', '"max_bad_share": 0.1'))
    (folder / "images" / "2-3.png").write_bytes(b"")
    code, out, err = mxml(*EVALUATE, "--json")
    assert (code, err) == (0, "left out, cannot be read: images/2-3.png: the file is empty\n")
    assert (json.loads(out)["samples"], json.loads(out)["bad"]) == (11, 1)
    # A list that is named is held to all its images.
    code, out, err = mxml(*EVALUATE, "--data", "lists/val.lst", "--root", "images")
    assert (code, err) == (1, "mxml: images/2-3.png: the file is empty; --skip-bad skips such images\n")
    # What a sidecar says may be anything.
    path.write_text(path.read_text().replace('"max_bad_share": 0.1', '"max_bad_share": "all"'))
    assert mxml(*EVALUATE)[0] == 1


def test_the_library_gives_what_the_command_prints(folder, mxml):
    (folder / "images" / "2-3.png").write_bytes(b"")
    own = mxml(*EVALUATE, "--json", "--skip-bad", "--threshold", "red=0.2", "--batch-size", "5")[1]
    classifier = Classifier.load("saved/multi")
    evaluation = classifier.evaluate(skip_bad=True, threshold={"red": 0.2}, batch_size=5)
    assert evaluation.to_dict() == json.loads(own)
    assert [entry.threshold for _, entry in evaluation.per_class] == [0.2, 0.5, 0.5]
    assert (evaluation.samples, evaluation.data) == (11, os.path.join("lists", "val.lst"))
    named = mxml(*EVALUATE, "--json", "--data", "lists/train.lst", "--root", "images")[1]
    assert classifier.evaluate("lists/train.lst", "images").to_dict() == json.loads(named)


def test_the_page_is_written_beside_text_and_json(folder, mxml):
    code, out, err = mxml(*EVALUATE, "--json", "--html", "out/page.html")
    assert (code, err) == (0, "")
    found = json.loads(out)
    page = (folder / "out" / "page.html").read_text(encoding="utf-8")
    assert found["label_errors"] and f">{found['mAP']:.3f}<" in page and "data:image/jpeg;base64," in page
    code, text, _ = mxml(*EVALUATE, "--html", "out/page.html")
    count = len(found["label_errors"])
    assert code == 0
    assert re.search(
        rf"^{count} labels? of the list may be wrong, in \d+ images?\nout/page\.html: written\n\Z", text, re.M
    )
    assert "; --html FILE shows them, --json lists them\n" in mxml(*EVALUATE)[1]


# ---- what wrong input gets

USAGE = [
    (("evaluate",), "Missing option '--prefix'"),
    (("evaluate", "--prefix", "old"), "--data none: should be a list, with its images' folder as --root: this check"),
    ((*EVALUATE, "--preset", "nonsense"), "--preset nonsense: should be one of original"),
    ((*EVALUATE, "--image-shape", "1,32,32"), "--image-shape 1,32,32: should be 3,HEIGHT,WIDTH"),
    ((*EVALUATE, "--threshold", "2"), "--threshold 2: should be a number from 0 to 1"),
    ((*EVALUATE, "--html", "lists/val.lst"), "--html lists/val.lst: should be a name that ends in .html"),
]
FAULTS = [
    (("evaluate", "--prefix", "hurt"), r"hurt\.json: is not JSON .*move it away"),
    (
        ("evaluate", "--prefix", "net", "--data", "lists/val.lst", "--root", "images", "--image-shape", "3,32,32"),
        r"lists/val\.lst: every line has 3 labels, should be 5",
    ),
    (("evaluate", "--prefix", "saved/mutli"), r"saved/mutli-symbol\.json: does not exist; .* prefixes: saved/multi$"),
    ((*EVALUATE, "--epoch", "9"), r"multi-0009\.params: does not exist; existing epochs: 1, 2"),
    ((*EVALUATE, "--data", "lists/wide.lst", "--root", "images"), "every line has 4 labels, should be 3"),
    (
        (*EVALUATE, "--data", "labels.csv"),
        r"labels\.csv: is a table, should be an image list; mxml make-lst or mxml conv",
    ),
    ((*EVALUATE, "--data", "images"), r"images: is a folder, should be an image list; mxml make-lst or mxml convert"),
    ((*EVALUATE, "--html", "text.jpg/page.html"), r"text\.jpg is a file, should be a folder"),
    ((*EVALUATE, "--root", "lists"), r"lists/2-0\.png: no such file"),
    ((*EVALUATE, "--labels", "two.txt"), r"two\.txt: has 2 labels, should be 3"),
    ((*EVALUATE, "--image-shape", "3,1,1"), r"does not take images of shape \(3, 1, 1\)"),
]


@pytest.mark.parametrize(
    ("code", "arguments", "message"), [*((2, *case) for case in USAGE), *((1, *case) for case in FAULTS)]
)
def test_wrong_input_gets_one_line_and_nothing_written(wrong, monkeypatch, mxml, code, arguments, message):
    monkeypatch.chdir(wrong)
    check_refusal(mxml, wrong, code, arguments, message)
