"""``mxml tune`` and ``mxml compare``: whole commands, and what later commands make of what they wrote."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tiny
from commands import snapshot
from refusals import check_refusal

from mxml import Classifier
from mxml.cli.tune import command
from mxml.data.image_list import ImageList
from mxml.data.lst_file import read_lst, write_lst
from mxml.evaluation.calibration import METHODS
from mxml.evaluation.scores import probabilities
from mxml.evaluation.tuning import MIN_SUPPORT
from mxml.inference.comparing import compare_checkpoints
from mxml.inference.tuning import DEFAULT_OBJECTIVE
from mxml.model.prefix_lock import locked
from mxml.progress import SILENT

RUN = ("--prefix", "saved/multi")
LIST = ("--data", "lists/more.lst", "--root", "images")
TUNE = ("tune", *RUN, *LIST)


@pytest.fixture(scope="module")
def trained(trained):
    """The trained run with a list of 60 other images."""
    folder = trained[0]
    write_lst(folder / "lists" / "more.lst", tiny.make_images(folder / "images", 60, 5))
    return trained


def test_what_is_tuned_counts_for_its_epoch_until_it_is_reset(folder, mxml):
    sidecar = folder / "saved" / "multi.json"
    untouched = sidecar.read_text()
    best = json.loads(untouched)["best_epoch"]
    plain = json.loads(mxml("evaluate", *RUN, *LIST, "--json")[1])

    before = snapshot(folder)
    code, out, _ = mxml(*TUNE, "--dry-run")
    assert code == 0 and "Nothing was written (--dry-run)." in out
    assert snapshot(folder) == before

    code, out, err = mxml(*TUNE, "--calibrate", "platt", "--json")
    assert code == 0, err
    tuned = json.loads(out)
    assert (tuned["epoch"], tuned["images"], tuned["saved"], tuned["replaced"]) == (best, 60, True, None)
    assert tuned["before"]["CF1"] == plain["CF1"]
    assert tuned["after"]["CF1"] > plain["CF1"]
    assert set(tuned["gain"]) == {"F", "CF1", "OF1"}
    assert [entry["positives"] for entry in tuned["per_label"]] == [entry["positives"] for entry in plain["per_class"]]

    after = json.loads(mxml("evaluate", *RUN, *LIST, "--json")[1])
    for name in ("CF1", "OF1", "loss", "mAP"):
        assert after[name] == pytest.approx(tuned["after"][name], rel=1e-5), name
    assert [entry["threshold"] for entry in after["per_class"]] == [entry["threshold"] for entry in tuned["per_label"]]
    # What is given wins; the calibration stays.
    given = json.loads(mxml("evaluate", *RUN, *LIST, "--threshold", "0.5", "--json")[1])
    assert {entry["threshold"] for entry in given["per_class"]} == {0.5}
    assert given["loss"] == after["loss"]

    _, out, err = mxml("evaluate", *RUN, *LIST, "--epoch", 3 - best, "--json")
    assert {entry["threshold"] for entry in json.loads(out)["per_class"]} == {0.5}
    assert err.startswith(f"note: saved/multi.json: its thresholds were tuned for epoch {best}, so epoch {3 - best} is")

    code, out, _ = mxml(*TUNE, "--objective", "recall=0.9")
    assert f"in place of thresholds of epoch {best}, chosen for f1 on lists/more.lst (60 images)" in out
    # What was tuned before does not count in the next tuning.
    assert f"CF1                {plain['CF1']:.4f}" in out

    code, out, _ = mxml("tune", *RUN, "--reset")
    assert (code, out.count("has lost thresholds of epoch")) == (0, 1)
    assert sidecar.read_text() == untouched
    assert mxml("tune", *RUN, "--reset") == (0, "saved/multi.json: has no tuned thresholds\n", "")


def test_a_notebook_tunes_and_predicts_with_it(folder):
    classifier = Classifier.load("saved/multi")
    images = read_lst("lists/more.lst", "images")
    raw = classifier.scores(images)
    result = classifier.tune("lists/more.lst", "images", calibrate="temperature", min_support=5)
    np.testing.assert_array_equal(classifier.thresholds, 0.5)
    epoch = classifier.checkpoint.epoch
    assert repr(classifier) == f"<Classifier saved/multi, epoch {epoch}, 3 labels: {', '.join(classifier.label_names)}>"
    assert repr(result).startswith(f"<TuningResult {result.tuning.kind} thresholds for f1 from 60 images of lists/more")
    assert not classifier.save_tuning(result)
    again = Classifier.load("saved/multi")
    assert again.calibration == classifier.calibration == result.tuning.calibration
    for model in (classifier, again):
        np.testing.assert_array_equal(model.thresholds, result.tuning.thresholds)
        scores = model.scores(images)
        if model.calibration is not None:
            np.testing.assert_allclose(scores.probabilities, probabilities(model.calibration.apply(raw.logits)), 1e-4)
        predicted = np.array([entry.scores for entry in model.predict(images)])
        np.testing.assert_allclose(predicted, scores.probabilities, rtol=1e-4)


def test_parameters_that_were_trained_again_are_not_those_that_were_tuned(folder, mxml):
    assert mxml(*TUNE)[0] == 0
    path = folder / "saved" / "multi.json"
    written = json.loads(path.read_text())
    written["tuning"]["params_sha256"] = "0" * 64
    path.write_text(json.dumps(written))
    _, out, err = mxml("evaluate", *RUN, *LIST, "--json")
    assert {entry["threshold"] for entry in json.loads(out)["per_class"]} == {0.5}
    assert "tuned for other parameters of that epoch" in err


def test_nothing_is_written_where_nothing_changes(folder, mxml):
    sidecar = folder / "saved" / "multi.json"
    # With these labels no threshold is better than another.
    listed = read_lst("lists/more.lst", "images")
    labels = np.random.default_rng(0).integers(0, 2, listed.labels.shape).astype(np.int8)
    write_lst(folder / "lists" / "random.lst", ImageList.from_rows([*map(listed.name, range(60))], labels, "images"))
    plain = ("--data", "lists/random.lst", "--root", "images")
    written = json.loads(sidecar.read_text())
    written["thresholds"] = [0.02] * 3
    sidecar.write_text(json.dumps(written))
    untouched = snapshot(folder)
    code, out, err = mxml("tune", *RUN, *plain)
    assert code == 0, err
    assert "was chosen and judged on the same images, and does not last on others." in out
    assert out.endswith("Nothing was written: saved/multi.json has these thresholds.\n")
    assert not json.loads(mxml("tune", *RUN, *plain, "--json")[1])["saved"]
    assert snapshot(folder) == untouched
    # Thresholds that were tuned for these parameters before are taken back.
    assert mxml(*TUNE)[0] == 0
    assert "Thresholds written to saved/multi.json, in place of" in mxml("tune", *RUN, *plain)[1]
    assert json.loads(sidecar.read_text())["tuning"]["kind"] == "plain"


def test_the_training_list_is_named_as_such(folder, mxml):
    code, out, err = mxml("tune", *RUN, "--data", "lists/train.lst", "--root", "images", "--json", "--dry-run")
    assert code == 0 and json.loads(out)["on_training_list"] is True
    assert "lists/train.lst: is the list that the network was trained on" in err and "as --data" in err
    _, _, err = mxml("evaluate", *RUN, "--data", "lists/train.lst", "--root", "images")
    assert "lists/train.lst: is the list that the network was trained on" in err
    assert "trained on" not in mxml("evaluate", *RUN)[2]


@pytest.mark.parametrize(
    ("code", "arguments", "message"),
    [
        (2, (*TUNE, "--objective", "precision=2"), "--objective precision=2: should be precision=NUMBER above 0"),
        (2, (*TUNE, "--reset"), "--data has no meaning with --reset"),
        (2, (*TUNE, "--min-support", "0"), "Invalid value for '--min-support'"),
        # A sidecar could not hold it.
        (2, (*TUNE, "--min-support", "9" * 17), "--min-support 9{17}: should be a whole number from 1 to 1000000000"),
        (1, ("tune", *RUN), r"lists/val\.lst: 12 images with known labels, .* 20 images or more"),
        (
            1,
            ("tune", "--prefix", "old", *LIST),
            r"old\.json: does not .* mxml tune shows them with --dry-run",
        ),
        (1, ("tune", "--prefix", "old", "--reset"), r"old\.json: does not exist"),
        (1, ("compare", "saved/multi", "other", *LIST), "other labels: only saved/multi has red; only other has dog"),
    ],
)
def test_wrong_input_gets_one_line(wrong, mxml, monkeypatch, code, arguments, message):
    monkeypatch.chdir(wrong)
    for name in ("-symbol.json", "-0001.params", "-0002.params", ".json"):
        content = (wrong / f"saved/multi{name}").read_bytes()
        (wrong / f"other{name}").write_bytes(content.replace(b'"red"', b'"dog"') if name == ".json" else content)
    check_refusal(mxml, wrong, code, arguments, message)


def test_the_command_has_the_defaults_and_choices_of_the_library():
    options = {option.name: option for option in command.params}
    assert options["min_support"].default == MIN_SUPPORT
    assert options["objective"].default == DEFAULT_OBJECTIVE
    assert tuple(options["calibrate"].type.choices) == METHODS  # type: ignore[attr-defined]


def test_a_run_at_work_is_left_alone(folder, mxml):
    written = (folder / "saved" / "multi.json").read_text()
    with locked("saved/multi", SILENT):
        code, _, err = mxml(*TUNE)
        assert code == 1 and "saved/multi.lock: another run is at work on this prefix" in err
    assert (folder / "saved" / "multi.json").read_text() == written


def test_two_epochs_are_compared_by_their_files(folder, mxml):
    files = ("saved/multi-0001.params", "saved/multi-0002.params")
    code, out, err = mxml("compare", *files, *LIST, "--json")
    assert code == 0, err
    found = json.loads(out)
    assert [found[name]["epoch"] for name in "AB"] == [1, 2]
    for name, epoch in (("A", 1), ("B", 2)):
        alone = json.loads(mxml("evaluate", *RUN, "--epoch", epoch, *LIST, "--json")[1])
        for metric, values in found["metrics"].items():
            assert values[name] == pytest.approx(alone[metric], rel=1e-6)
    code, out, _ = mxml("compare", *files, *LIST)
    difference = found["metrics"]["mAP"]["difference"]
    assert f"{difference['low']:+.4f} to {difference['high']:+.4f}" in out
    assert ("no more than noise" in out) or ("more than noise" in out) or ("is the same" in out)


def test_labels_in_another_order_are_matched_by_their_names(folder):
    names = ("blue", "red", "green")
    first, second = Classifier.load("saved/multi"), Classifier.load("saved/multi", label_names=names)
    second.thresholds = np.array([0.9, 0.5, 0.1])
    found = compare_checkpoints(first, second, "lists/more.lst", "images")
    images = read_lst("lists/more.lst", "images")
    scores = first.scores(images).probabilities
    # The second calls the first score blue.
    order = [names.index(name) for name in first.label_names]
    expected = (scores >= 0.5) != (scores >= second.thresholds)[:, order]
    assert [entry["path"] for entry in found.changed()] == [images.path(row) for row in np.flatnonzero(expected.any(1))]
