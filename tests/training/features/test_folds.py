"""Cross-validation in K folds, beside a loop with scikit-learn, and as a command."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from told import Told

from mxml.data.image_list import ImageList
from mxml.data.label_names import write_label_names
from mxml.data.lst_file import read_lst, write_lst
from mxml.errors import SettingError
from mxml.progress import SILENT
from mxml.training.features.folds import Spread, cross_validate_folds, over_folds
from mxml.training.features.linear import folds_of

NAMES = ("red", "green", "blue")


def draw(images=120, size=6, seed=0):
    generator = np.random.default_rng(seed)
    vectors = generator.normal(2, 3, (images, size)).astype(np.float32)
    scores = vectors @ generator.normal(size=(size, 3)) + generator.normal(0, 6, (images, 3))
    return vectors, (scores > scores.mean(axis=0)).astype(np.int8)


def scaled(vectors, seen):
    mean, deviation = vectors[seen].astype(np.float64).mean(axis=0), vectors[seen].astype(np.float64).std(axis=0)
    return (vectors - mean) / deviation


def penalty_of(vectors, labels, seed):
    """Choose one label's penalty as the fit of a head does, by a loop with scikit-learn."""
    penalties = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
    fold = folds_of(labels, seed)
    losses = np.zeros((len(penalties), labels.shape[1]))
    for number, penalty in enumerate(penalties):
        for part in range(4):
            seen = fold != part
            for label in range(labels.shape[1]):
                known = labels[:, label] >= 0
                model = fitted(vectors[seen & known], labels[seen & known, label], penalty)
                logits = model.decision_function(vectors[~seen & known])
                truth = labels[~seen & known, label]
                losses[number, label] += (np.logaddexp(0, logits) - truth * logits).sum()
    return [penalties[best] for best in losses.argmin(axis=0)]


def fitted(vectors, labels, penalty):
    return LogisticRegression(C=1 / (len(labels) * penalty), tol=1e-8, max_iter=1000).fit(vectors, labels)


@pytest.mark.parametrize("unknown", [0.0, 0.2])
def test_each_fold_is_scored_by_a_head_that_has_not_seen_it(unknown):
    vectors, labels = draw()
    labels[np.random.default_rng(1).random(labels.shape) < unknown] = -1

    found = over_folds(vectors[None], labels, NAMES, 3, 7)

    fold = folds_of(labels, 7, 3)
    expected = np.zeros((3, 3))
    for part in range(3):
        seen = fold != part
        standard = scaled(vectors, seen)
        for label, penalty in enumerate(penalty_of(standard[seen], labels[seen], 7)):
            known = labels[:, label] >= 0
            model = fitted(standard[seen & known], labels[seen & known, label], penalty)
            scores = model.decision_function(standard[~seen & known])
            expected[part, label] = average_precision_score(labels[~seen & known, label], scores)
    assert found.images == 120
    for label in range(3):
        AP = found.per_class[label].AP
        # Two images whose scores are nearly the same may change places.
        assert AP.folds == pytest.approx(expected[:, label], abs=0.01)
        assert AP.mean == pytest.approx(expected[:, label].mean(), abs=0.01)
        assert AP.std == pytest.approx(expected[:, label].std(ddof=1), abs=0.01)
    assert found.mAP.folds == pytest.approx(expected.mean(axis=1), abs=0.01)
    assert [label.positives for label in found.per_class] == (labels == 1).sum(axis=0).tolist()
    assert [label.known for label in found.per_class] == (labels >= 0).sum(axis=0).tolist()


def test_a_label_that_is_not_in_every_fold_has_values_of_the_others():
    vectors, labels = draw(40)
    labels[:, 2] = 0
    labels[[3, 30], 2] = 1
    labels[:, 1] = 0

    found = over_folds(vectors[None], labels, NAMES, 4, 0)

    rare, never = found.per_class[2].AP, found.per_class[1].AP
    assert sorted(value is None for value in rare.folds) == [False, False, True, True]
    assert rare.mean is not None and rare.std is not None
    assert never == Spread((None,) * 4)
    assert (never.mean, never.std) == (None, None)
    per_fold = zip(found.per_class[0].AP.folds, rare.folds)
    for (common, value), mAP in zip(per_fold, found.mAP.folds):
        assert mAP == pytest.approx(np.mean([part for part in (common, value) if part is not None]))


def test_there_are_no_more_folds_than_every_label_has_images_for():
    vectors, labels = draw(90)
    labels[:, 1] = 0
    labels[[3, 17, 30, 44, 58, 71, 86], 1] = 1
    labels[:, 2] = 1
    labels[[2, 50], 2] = 0

    found = over_folds(vectors[None], labels, NAMES, 40, 0)

    # Seven images have the second label. Two lack the third, which is too few whatever the number of folds.
    assert len(found.mAP.folds) == 7
    assert None not in found.per_class[1].AP.folds
    # Where all images have a label, no order of them is wrong: that is no measure of anything.
    assert sum(value is not None for value in found.per_class[2].AP.folds) <= 2
    assert len(over_folds(vectors[None], labels, NAMES, 5, 0).mAP.folds) == 5
    copies = over_folds(np.tile(vectors, (2, 1))[None], np.tile(labels, (2, 1)), NAMES, 40, 0)
    assert len(copies.mAP.folds) == 7


def test_without_a_label_that_two_folds_can_have_there_is_nothing_to_measure():
    vectors, labels = draw(30)
    labels[:] = 0
    labels[4] = 1
    with pytest.raises(SettingError, match="`folds` 5: should be left out: no label has two images with it and two"):
        over_folds(vectors[None], labels, NAMES, 5, 0)


@pytest.mark.parametrize("asked", [45, 60])
def test_fewer_folds_and_the_label_that_bears_no_more_are_said(folder, asked):
    told = Told()

    found = cross_validate_folds(tiny.config(folder, method=None, preset=None), asked, told)

    fewest = {label.name: min(label.positives, 52 - label.positives) for label in found.per_class}
    rarest = min(fewest.values())
    assert len(found.mAP.folds) == rarest < 45
    names = ", ".join(name for name, count in fewest.items() if count == rarest)
    assert told.about("too few images for") == [
        f"labels with too few images for `folds` {asked}: {names}, with {rarest} different images that have it, or "
        f"that have it not; each fold needs one of both, so {rarest} are made"
    ]


def test_copies_that_lower_the_number_of_folds_are_said_and_rare_labels_are_not(tmp_path):
    images = tiny.make_images(tmp_path / "images", 30, 1)
    number = np.arange(30)
    labels = np.stack([number % 2, number < 7, number < 3], axis=1).astype(np.int8)
    images = ImageList.from_rows(images.names(), labels, root=images.root)
    tiny.make_network(tmp_path / "net")
    (tmp_path / "lists").mkdir()
    for name in ("train", "val"):
        write_lst(tmp_path / "lists" / f"{name}.lst", images)
    write_label_names(tmp_path / "lists" / "labels.txt", tiny.LABELS)
    told = Told()

    found = cross_validate_folds(tiny.config(tmp_path, method=None, preset=None), 10, told)

    assert [label.positives for label in found.per_class] == [30, 14, 6]
    assert [label.rarer for label in found.per_class] == [15, 7, 3]
    (line,) = told.about("too few images for")
    assert line.startswith("labels with too few images for `folds` 10: green, with 7 different images that have it, or")


def test_a_spread_is_that_of_a_sample():
    assert Spread((0.5, None, 0.7)).mean == pytest.approx(0.6)
    assert Spread((0.5, None, 0.7)).std == pytest.approx(np.sqrt(0.02))
    assert Spread((0.5, None)).std is None


def test_the_same_image_is_never_both_fitted_and_scored():
    vectors, labels = draw(30)
    generator = np.random.default_rng(4)
    noise = generator.integers(0, 2, labels.shape).astype(np.int8)
    twice = np.concatenate([vectors, vectors])

    found = over_folds(twice[None], np.tile(noise, (2, 1)), NAMES, 3, 0)
    alone = over_folds(vectors[None], noise, NAMES, 3, 0)

    # Seen beforehand, labels that mean nothing would be known.
    assert found.mAP.mean == pytest.approx(alone.mAP.mean, abs=0.25)


def test_an_image_in_both_lists_is_one_image_whatever_the_processor(folder, checkout):
    some = read_lst(checkout / "lists" / "train.lst", str(checkout / "images"), 8).select(np.arange(60))
    write_lst(folder / "twice.lst", some)
    options = ["--model", "models/sample", "--image-shape", "3,96,96", "--folds", "4", "--json"]
    options += ["--prefix", folder / "run", "--labels", "lists/labels.txt"]
    for subset in ("train", "val"):
        options += [f"--data-{subset}", folder / "twice.lst", f"--image-{subset}", "images"]
    found = []
    for environment in ({}, {"DNNL_MAX_CPU_ISA": "AVX512_CORE"}):
        done = subprocess.run(
            [sys.executable, "-m", "mxml", "train", *map(str, options)],
            cwd=checkout,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        found.append(json.loads(done.stdout)["mAP"]["mean"])

    # With copies fitted and scored it would be 0.2 more.
    assert found[0] == pytest.approx(found[1], abs=0.05)


def command(folder, *options, **changes):
    changes = {"method": "features", "optimizer": "adamw", **changes}
    return subprocess.run(
        [sys.executable, "-m", "mxml", "train", *tiny.arguments(folder, **changes), *options],
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_the_command_prints_mean_and_spread_and_writes_no_checkpoint(folder):
    images = read_lst(folder / "lists" / "train.lst", str(folder / "images"))
    labels = images.labels.copy()
    labels[:, 2] = 0
    labels[5, 2] = 1
    names = [Path(images.path(number)).name for number in range(len(images))]
    write_lst(folder / "lists" / "train.lst", ImageList.from_rows(names, labels, root=images.root))
    val = read_lst(folder / "lists" / "val.lst", str(folder / "images"))
    write_lst(folder / "lists" / "val.lst", ImageList.from_rows(val.names(), val.labels * [1, 1, 0], root=val.root))
    (folder / "images" / "1-7.png").write_bytes(b"not an image")
    before = {path.name for path in folder.iterdir()}

    shown = command(folder, "--folds", "20")
    assert shown.returncode == 0, shown.stderr
    as_json = command(folder, "--folds", "20", "--json")

    assert {path.name for path in folder.iterdir()} - before == {"features.sqlite"}
    found = json.loads(as_json.stdout)
    assert (found["folds"], found["images"]) == (20, 51)
    assert [image["path"] for image in found["bad"]] == [str(folder / "images" / "1-7.png")]
    lines = shown.stdout.splitlines()
    assert lines[0].split() == ["label", "present", "folds", "AP", "spread"]
    for line, label in zip(lines[1:4], found["per_class"]):
        name, positives, folds, AP, _ = line.split()
        assert (name, int(positives), AP) == (label["name"], label["positives"], f"{label['AP']['mean']:.4f}")
        assert int(folds) == sum(value is not None for value in label["AP"]["folds"])
    assert f"{found['mAP']['mean']:.4f}" in lines[4]
    assert "20 folds over 51 images of both lists; no checkpoint is written" in shown.stderr
    assert "labels with too few images to be in every fold: " in shown.stderr
    assert "blue" in shown.stderr.split("in every fold: ")[1]
    assert "left out, cannot be read" in shown.stderr
    assert "a fold has about 3 images: of so few the AP is high by chance; fewer --folds say more" in shown.stderr


@pytest.mark.parametrize(
    "options, message",
    [
        (["--folds", "1"], "--folds 1: should be 2 to 100"),
        (["--folds", "3", "--data", "images"], "should be left out with --data, of which the lists are made"),
        (["--folds", "3", "--force"], "--folds trains nothing that --resume or --force could mean"),
        (["--folds", "3", "--method", "lp-ft"], "--method lp-ft: should be features with --folds"),
    ],
)
def test_what_cannot_be_meant_is_refused(folder, options, message):
    done = command(folder, *options)

    assert done.returncode == 2
    assert message in done.stderr


def test_another_run_of_the_same_settings_gives_the_same(folder):
    config = tiny.config(folder, method=None, preset=None)
    first, second = (cross_validate_folds(config, 4, SILENT) for _ in range(2))

    assert first == second
    assert first.mAP.mean is not None and first.mAP.mean > 0.9
