"""``mxml networks``, and ``mxml train`` from scratch and for single labels, as one types them."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
import tiny
from commands import process
from refusals import check_refusal

from mxml.data.image_list import ImageList
from mxml.data.lst_file import write_lst
from mxml.model.networks.catalogue import NETWORKS


def test_all_networks_are_listed_with_their_costs_and_nothing_that_was_not_measured(mxml):
    code, out, _ = mxml("networks")
    assert code == 0
    rows = [line.split() for line in out.splitlines()[1:] if line.split()[:1] and line.split()[0] in NETWORKS]
    assert [row[0] for row in rows] == list(NETWORKS)
    assert ["resnet18", "224", "x", "224", "11.69", "M", "1.81", "G"] in rows
    assert "img/s" not in out and "only convolutions and fully connected layers are counted" in out


def test_speed_is_measured_on_request_for_the_networks_that_are_named(mxml):
    code, out, err = mxml("networks", "smallervgg", "--measure", "--batch-size", "2", "--device", "cpu", "--json")
    assert code == 0, err
    found = json.loads(out)
    assert (found["labels"], found["device"], found["batch_size"]) == (1000, "cpu", 2)
    (entry,) = found["networks"]
    assert (entry["name"], entry["image_shape"]) == ("smallervgg", [3, 96, 96])
    assert entry["inference_images_per_second"] > entry["training_images_per_second"] > 0
    assert "measuring smallervgg" in err
    plain = json.loads(mxml("networks", "smallervgg", "--json")[1])
    assert set(plain["networks"][0]) == {"name", "image_shape", "parameters", "multiply_adds", "source"}


def test_a_name_that_no_network_has_is_refused(mxml):
    code, _, err = mxml("networks", "resnet19")
    said = (
        "there is no network 'resnet19'; did you mean resnet18? mxml networks lists them all; see mxml networks --help"
    )
    assert (code, err) == (2, f"mxml: {said}\n")


@pytest.mark.parametrize("option", [("--batch-size", "2"), ("--device", "cpu"), ("--gpus", "")])
def test_what_only_measuring_uses_is_refused_without_it(mxml, option):
    code, out, err = mxml("networks", "smallervgg", *option)
    assert (code, out) == (2, "") and f"{option[0]} has an effect only with --measure" in err


@pytest.fixture(scope="module")
def single(tmp_path_factory):
    """A folder whose images show one label each, and a softmax classifier that was trained on them."""
    folder = tmp_path_factory.mktemp("single")
    tiny.make_data(folder)
    for name, count, seed in (("train", 60, 1), ("val", 24, 2)):
        images = tiny.make_images(folder / "images", count, seed)
        chosen = [position for position in range(count) if images.labels[position].sum() == 1]
        rows = ImageList.from_rows([images.name(position) for position in chosen], images.labels[chosen])
        write_lst(folder / "lists" / f"{name}.lst", rows)
    run = process(
        folder,
        *["train", "--network", "smallervgg", "--single-label", "--prefix", "one", "--image-shape", "3,32,32"],
        *["--data-train", "lists/train.lst", "--data-val", "lists/val.lst", "--num-epoch", "10", "--batch-size", "8"],
        *["--preset", "imagenet", "--optimizer", "adam", "--lr", "0.001", "--head-lr-mult", "1", "--device", "cpu"],
    )
    out, err = run.communicate(timeout=240)
    assert run.returncode == 0, err
    return folder, out, err


def test_a_softmax_classifier_is_trained_evaluated_and_used_by_the_commands(single, tmp_path):
    folder, _, err = single
    assert "starting from scratch: smallervgg, " in err
    assert re.search(r"epoch 10/10: loss [\d.]+, val loss [\d.]+, mAP [\d.]+, accuracy [\d.]+, \d+ img/s", err)
    evaluate = process(folder, "evaluate", "--prefix", "one", "--json")
    found = json.loads(evaluate.communicate(timeout=120)[0])
    assert found["accuracy"] > 0.8 and found["mAP"] > 0.8
    text = process(folder, "evaluate", "--prefix", "one").communicate(timeout=120)[0]
    assert re.search(rf"^accuracy +{found['accuracy']:.4f} ", text, re.M) and "Hamming" not in text
    predict = process(folder, "predict", "--prefix", "one", "--json", "--save-img", str(tmp_path))
    records = [json.loads(line) for line in predict.communicate(timeout=120)[0].splitlines()]
    assert all(len(record["label_names"]) == 1 for record in records)
    assert len(list(tmp_path.glob("*_res.jpg"))) == len(records) == found["samples"]
    assert json.loads((folder / "one.json").read_text())["config"]["single_label"] is True
    resumed = process(folder, "train", "--prefix", "one", "--resume", "--num-epoch", "11", "--device", "cpu")
    assert resumed.communicate(timeout=120)[1].count("accuracy") == 1


def test_plain_mxnet_loads_a_softmax_classifier(single):
    """With nothing of mxml but its import of MXNet: the saved symbol has no label and no operator of mxml's."""
    code = """
from mxml.runtime.imports import load_mxnet
mx = load_mxnet()
symbol, args, aux = mx.model.load_checkpoint("one", EPOCH)
executor = symbol.simple_bind(mx.cpu(), grad_req="null", data=(2, 3, 32, 32))
executor.copy_params_from(args, aux)
print(executor.forward(data=mx.nd.ones((2, 3, 32, 32)))[0].asnumpy().sum(axis=1).tolist())
import sys
assert "mxml.model.losses" not in sys.modules
"""
    epoch = json.loads((single[0] / "one.json").read_text())["best_epoch"]
    code = code.replace("EPOCH", str(epoch))
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=single[0])
    assert json.loads(run.stdout) == pytest.approx([1, 1]), run.stderr


TRAIN = ("train", "--prefix", "x", "--data-train", "lists/train.lst", "--data-val", "lists/val.lst")


@pytest.mark.parametrize(
    ("code", "arguments", "message"),
    [
        (2, TRAIN, "missing --model or --network; see"),
        (2, (*TRAIN, "--network", "resnet"), "'resnet' is not one of 'smallervgg'"),
        (2, (*TRAIN, "--network", "resnet18", "--model", "net"), "--network resnet18: should be left out: .* --model"),
        (
            2,
            (*TRAIN, "--network", "resnet18", "--epoch", "3"),
            "--epoch 3: should be left out: .* --network begins anew",
        ),
        (2, (*TRAIN, "--network", "resnet18", "--layer", "x"), "--layer x: should be left out: --network knows"),
        (
            2,
            (*TRAIN, "--model", "net", "--best-by", "accuracy"),
            "--best-by accuracy: should .* only --single-label has",
        ),
        (
            2,
            ("train", "--prefix", "x", "--resume"),
            "missing --model or --network, --data-train, .* no run at x to resume",
        ),
    ],
)
def test_wrong_combinations_get_one_line_and_nothing_written(folder, mxml, code, arguments, message):
    check_refusal(mxml, folder, code, arguments, message)
