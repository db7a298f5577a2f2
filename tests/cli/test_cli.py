"""The command line as its users meet it: whole commands, what they print, and what wrong input gets."""

import json
import os
import re
import shutil
import signal
import time

import pytest
import tiny
from commands import process, snapshot

from mxml import cli
from mxml.cli.options import load_classifier


def records(out):
    return [json.loads(line) for line in out.splitlines()]


# ---- what commands do


def test_predict_takes_the_validation_images_unless_told(folder, mxml):
    code, out, err = mxml("predict", "--prefix", "saved/multi")
    assert (code, err) == (0, "")
    listed = [line.split("\t")[-1] for line in (folder / "lists" / "val.lst").read_text().splitlines()]
    assert [line.partition(": ")[0] for line in out.splitlines()] == [f"images/{name}" for name in listed]


def test_predict_takes_files_folders_and_patterns(folder, mxml):
    (folder / "more").mkdir()
    shutil.copy("images/2-0.png", "more/copy.png")
    inputs = ("images/2-1.png", "more", "images/2-[01].png")
    code, out, _ = mxml("predict", "--prefix", "saved/multi", "--json", "--threshold", "0", *inputs)
    assert code == 0
    first, copy, zero, again = records(out)
    paths = [record["input_path"] for record in (first, copy, zero, again)]
    assert paths == ["images/2-1.png", "more/copy.png", "images/2-0.png", "images/2-1.png"]
    assert first["scores"] == again["scores"] != zero["scores"] == copy["scores"]
    assert sorted(zip(first["class_ids"], first["label_names"])) == list(enumerate(tiny.LABELS))
    assert first["scores"] == sorted(first["scores"], reverse=True)

    def labels(*options):
        return records(mxml("predict", "--prefix", "saved/multi", "--json", *options, "images/2-1.png")[1])[0]

    assert labels("--top-k", "2")["label_names"] == first["label_names"][:2]
    assert labels("--top-k", "99")["label_names"] == first["label_names"]
    assert labels("--threshold", "1")["label_names"] == []
    middle = (first["scores"][0] + first["scores"][1]) / 2
    assert labels("--threshold", middle)["label_names"] == first["label_names"][:1]


def test_predict_prints_one_line_an_image_whatever_its_name(folder, mxml):
    (folder / "odd").mkdir()
    for name in ("new\nline.png", "日本 é.png", "\udcff.png"):
        shutil.copy("images/2-0.png", f"odd/{name}")
    code, out, err = mxml("predict", "--prefix", "saved/multi", "--top-k", "1", "odd")
    assert (code, err) == (0, "")
    names = [line.rpartition(": ")[0] for line in out.splitlines()]
    assert names == [r"odd/new\nline.png", "odd/日本 é.png", r"odd/\udcff.png"]
    (folder / "odd" / "a\nb.png").write_bytes(b"")
    assert mxml("predict", "--prefix", "saved/multi", "odd/a\nb.png")[::2] == (
        1,
        "mxml: odd/a\\nb.png: the file is empty; --skip-bad goes on past such images\n",
    )


def test_drawings_of_images_with_one_name_stay_apart(folder, mxml):
    for name in ("one/x.png", "two/x.png", "two/x_2.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy("images/2-0.png", name)
    assert mxml("predict", "--prefix", "saved/multi", "one", "two", "--save-img", "drawn")[0] == 0
    assert len(os.listdir("drawn")) == 3
    assert "x_res.jpg" in os.listdir("drawn")


def test_unreadable_images_are_left_out_only_when_told(folder, mxml):
    (folder / "text.jpg").write_text("hello")
    predict = ("predict", "--prefix", "saved/multi", "--json")
    assert mxml(*predict, "text.jpg", "images/2-0.png")[:2] == (1, "")
    code, out, err = mxml(*predict, "--skip-bad", "text.jpg", "images/2-0.png")
    assert code == 0
    assert [record["input_path"] for record in records(out)] == ["text.jpg", "images/2-0.png"]
    assert "not an image" in records(out)[0]["error"]
    assert re.fullmatch(r"left out, cannot be read: text\.jpg: .*\n", err)
    assert mxml(*predict, "--skip-bad", "text.jpg")[0] == 1

    (folder / "images" / "2-3.png").write_bytes(b"")
    evaluate = ("evaluate", "--prefix", "saved/multi", "--json")
    assert mxml(*evaluate)[::2] == (1, "mxml: images/2-3.png: the file is empty; --skip-bad goes on past such images\n")
    judged = json.loads(mxml(*evaluate, "--skip-bad")[1])
    assert (judged["samples"], judged["bad"]) == (11, 1)


def test_evaluate_finds_the_figures_of_the_training(folder, mxml):
    sidecar = json.loads((folder / "saved" / "multi.json").read_text())
    for epoch in (1, 2):
        code, out, _ = mxml("evaluate", "--prefix", "saved/multi", "--epoch", epoch, "--json", "--batch-size", "5")
        assert code == 0
        judged, written = json.loads(out), sidecar["epochs"][epoch - 1]["metrics"]["val"]
        assert judged["epoch"] == epoch
        for name, value in written.items():
            if name != "per_class":
                assert judged[name] == pytest.approx(value, rel=1e-5), name
        assert [figures["name"] for figures in judged["per_class"]] == list(tiny.LABELS)
    best = json.loads(mxml("evaluate", "--prefix", "saved/multi", "--json")[1])
    assert best["epoch"] == sidecar["best_epoch"]
    text = mxml("evaluate", "--prefix", "saved/multi")[1]
    assert f"mAP                {best['mAP']:.4f}\n" in text
    assert re.search(r"^green +\d", text, re.M)


def test_the_old_checkpoint_evaluates_as_the_original_preprocesses(shared, mxml):
    data = shared / "data" / "miml-scene"
    prefix = shared / "models" / "legacy-multilabel"
    code, out, err = mxml(
        "evaluate", "--prefix", prefix, "--data", data / "val.lst", "--root", data / "images", "--json"
    )
    assert code == 0, err
    judged = json.loads(out)
    assert judged["samples"] == 200
    assert judged["element_accuracy"] == pytest.approx(0.8010, abs=0.002)
    assert judged["mAP"] == pytest.approx(0.701, abs=0.002)


def test_another_input_size_keeps_the_rest_of_the_preprocessing(folder):
    path = folder / "saved" / "multi.json"
    sidecar = json.loads(path.read_text())
    sidecar["preprocess"].update(short_side=40, channels="bgr", mean=[1, 2, 3])
    path.write_text(json.dumps(sidecar))
    options = dict.fromkeys(("epoch", "device", "gpus", "labels", "image_shape", "preset", "mean", "std", "channels"))

    def preprocess(**changes):
        return load_classifier(**{"prefix": "saved/multi", **options, **changes}).preprocess

    larger = preprocess(image_shape=(3, 64, 96))
    assert (larger.size, larger.short_side, larger.channels, larger.mean) == ((64, 96), 80, "bgr", (1, 2, 3))
    assert preprocess(std=(1.0, 1.0, 1.0)).std == (1, 1, 1)
    assert preprocess(preset="imagenet").channels == "rgb"
    assert preprocess(preset="imagenet").size == (32, 32)


def test_help_and_doctor(mxml):
    code, out, err = mxml("--help")
    assert (code, err) == (0, "")
    assert re.findall(r"^  ([a-z][a-z-]+)  ", out, re.M) == list(cli.COMMANDS)
    assert mxml()[:2] == (0, out)
    for name in cli.COMMANDS:
        assert mxml(name, "--help")[0] == 0
    assert mxml("doctor")[::2] == (0, "")
    facts = json.loads(mxml("doctor", "--json")[1])
    assert facts["can_run"] is True
    assert facts["mxnet"] == "1.9.1"


# ---- what wrong input gets


RUN = ("--prefix", "saved/multi")
EVALUATE, PREDICT = ("evaluate", *RUN), ("predict", *RUN)

USAGE = [
    (("nonsense",), "No such command 'nonsense'"),
    (("evaluate",), "Missing option '--prefix'"),
    (("evaluate", "--prefix", "old"), "names no validation list; give --data LST --root DIR"),
    ((*EVALUATE, "--data", "lists/val.lst"), "--data needs --root"),
    ((*EVALUATE, "--preset", "nonsense"), "'nonsense' is not known; choose from original"),
    (("predict", "--prefix", "old"), "names no validation list; name images, folders or patterns"),
    ((*PREDICT, "--threshold", "2"), "2.0 is not in the range"),
    ((*PREDICT, "--threshold", "nan"), "not a number from 0 to 1"),
    ((*PREDICT, "--top-k", "-1"), "-1 is not in the range"),
]
FAULTS = [
    (("evaluate", "--prefix", "hurt"), r"hurt\.json: is not JSON .*move it away"),
    (("evaluate", "--prefix", "net"), r"net-symbol\.json: .* is no multi-label network; fine-tune it first"),
    (("evaluate", "--prefix", "multi"), r"multi-symbol\.json: is not there; prefixes that are: "),
    ((*EVALUATE, "--epoch", "9"), r"multi-0009\.params: is not there; epochs that are: 1, 2"),
    ((*EVALUATE, "--data", "lists/wide.lst", "--root", "images"), "every line has 4 labels, should be 3"),
    ((*EVALUATE, "--root", "lists"), r"lists/2-0\.png: no such file"),
    ((*EVALUATE, "--labels", "two.txt"), r"two\.txt: has 2 labels, should be 3"),
    ((*EVALUATE, "--image-shape", "3,1,1"), r"does not take images of shape \(3, 1, 1\)"),
    ((*PREDICT, "none.jpg"), r"none\.jpg: is not there"),
    ((*PREDICT, "empty"), "empty: holds no image"),
    ((*PREDICT, "*.gif"), r"\*\.gif: no file matches"),
    ((*PREDICT, "text.jpg"), r"text\.jpg: not an image in a known format"),
    ((*PREDICT, "images/2-0.png", "--save-img", "two.txt"), r"two\.txt: cannot be made \(File exists\)"),
]


@pytest.mark.parametrize(
    ("code", "arguments", "message"), [*((2, *case) for case in USAGE), *((1, *case) for case in FAULTS)]
)
def test_wrong_input_gets_one_line_and_nothing_written(wrong, monkeypatch, mxml, code, arguments, message):
    monkeypatch.chdir(wrong)
    before = snapshot(wrong)
    found, out, err = mxml(*arguments)
    assert found == code, err
    assert out == ""
    assert err.count("\n") == 1, err
    assert re.match("mxml: .*" + message, err), err
    if code == 2:
        assert re.search(r"; see mxml[a-z -]* --help$", err)
    assert snapshot(wrong) == before


# ---- pipes and signals


def test_a_reader_that_leaves_ends_predict_quietly(trained):
    run = process(trained[0], "predict", *RUN)
    run.stdout.close()
    assert run.stderr.read() == ""
    assert run.wait(timeout=60) == 128 + signal.SIGPIPE
    run.stderr.close()


def test_ctrl_c_ends_predict_with_one_line(folder):
    # More results than a pipe holds: soon after the first has come, the process waits for a reader, where the signal
    # finds it. (One that came in the middle of a destructor would be lost, as Python loses it.)
    os.mkdir("many")
    for number in range(1000):
        os.link("images/2-0.png", f"many/{number:0100}.png")
    run = process(folder, "predict", *RUN, "--json", "many")
    first = run.stdout.readline()
    time.sleep(1)
    run.send_signal(signal.SIGINT)
    _, err = run.communicate(timeout=60)
    assert "input_path" in json.loads(first)
    assert err == "mxml: interrupted\n"
    assert run.returncode == 128 + signal.SIGINT
