"""The head fit through the whole command, in processes of its own."""

import json
import re
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import tiny

from mxml import Classifier
from mxml.data.batches import Batches
from mxml.data.image_sources import ImageFiles
from mxml.data.lst_file import read_lst
from mxml.errors import MxmlError, SettingError
from mxml.evaluation.metrics import multilabel_metrics
from mxml.images.transforms import preset
from mxml.progress import SILENT
from mxml.runtime.imports import load_mxnet
from mxml.training import fit as train
from mxml.training.features.head_fit import cross_validated_mAP
from mxml.training.features.linear import CrossValidated, Linear

mx = load_mxnet()

# What tiny.arguments sets for the original recipe.
FEATURES: dict[str, Any] = {"method": "features", "optimizer": "adamw", "lr": 0.001, "batch_size": 16}


@pytest.fixture
def folder(tmp_path):
    tiny.make_data(tmp_path, train=64)
    return tmp_path


def arguments(folder, prefix="run", **changes):
    return tiny.arguments(folder, prefix, **{**FEATURES, **changes})


def mxml(*arguments):
    """Run a command that has to succeed, and return its two outputs."""
    done = subprocess.run(
        [sys.executable, "-m", "mxml", *arguments], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def params(folder, prefix, epoch):
    return (folder / f"{prefix}-{epoch:04d}.params").read_bytes()


def test_the_checkpoint_of_features_does_what_was_printed(folder):
    printed, said = mxml("train", *arguments(folder), "--feature-copies", "mirror")
    (mAP,) = re.findall(r"validation mAP (\d\.\d{4})", printed)
    assert "starting from" in said
    assert re.search(r"head fitted to 8 features: mAP \d\.\d{4} cross-validated on the training images", said)

    evaluated = json.loads(mxml("evaluate", "--prefix", str(folder / "run"), "--epoch", "1", "--json")[0])
    (row,) = json.loads((folder / "run.json").read_text())["epochs"]
    assert evaluated["mAP"] == pytest.approx(row["metrics"]["val"]["mAP"], abs=1e-9)
    assert f"{evaluated['mAP']:.4f}" == mAP
    assert evaluated["loss"] == pytest.approx(row["metrics"]["val"]["loss"], rel=1e-5)
    assert not (folder / "run-0001.states").exists()

    image = str(folder / "images" / "2-0.png")
    predicted = mxml("predict", "--prefix", str(folder / "run"), "--json", image)[0]
    (prediction,) = map(json.loads, predicted.splitlines())
    assert prediction["input_path"] == image
    assert set(prediction["label_names"]) <= set(tiny.LABELS)
    assert all(0.5 <= score <= 1 for score in prediction["scores"])


def test_plain_mxnet_computes_the_same_from_the_checkpoint(folder):
    mxml("train", *arguments(folder))
    symbol, args, aux = mx.model.load_checkpoint(str(folder / "run"), 1)
    images = read_lst(folder / "lists" / "val.lst", str(folder / "images"))
    with Batches(ImageFiles(images), preset("original", (32, 32)), len(images), threads=1) as batches:
        batch = next(iter(batches))
    module = mx.mod.Module(symbol, data_names=["data"], label_names=None)
    module.bind([("data", batch.data[0].shape)], for_training=False)
    module.set_params(args, aux)

    module.forward(mx.io.DataBatch(batch.data), is_train=False)

    found = multilabel_metrics(module.get_outputs()[0].asnumpy(), images.labels)
    (row,) = json.loads((folder / "run.json").read_text())["epochs"]
    assert found.mAP == pytest.approx(row["metrics"]["val"]["mAP"], abs=1e-9)
    assert found.loss == pytest.approx(row["metrics"]["val"]["loss"], rel=1e-4)


def test_the_program_of_the_formats_page_predicts_without_mxml_what_mxml_does(folder, checkout):
    mxml("train", *arguments(folder))
    images = read_lst(folder / "lists" / "val.lst", str(folder / "images"))
    with Batches(ImageFiles(images), preset("original", (32, 32)), len(images), threads=1) as batches:
        np.save(folder / "images.npy", next(iter(batches)).data[0].asnumpy())
    page = (checkout / "docs" / "formats.md").read_text(encoding="utf-8")
    (program,) = (
        block for block in re.findall(r"^```python\n(.*?)^```", page, re.M | re.S) if "load_checkpoint" in block
    )
    for shown, own in (
        ('numpy.zeros((8, 3, 224, 224), "float32")', 'numpy.load("images.npy")'),
        ('"P", 7', '"run", 1'),
    ):
        assert shown in program
        program = program.replace(shown, own)
    program = f"import sys\nsys.modules['mxml'] = None\n{program}\nnumpy.save('probabilities.npy', probabilities)"

    command = [sys.executable, "-W", "ignore", "-c", program]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)

    assert done.returncode == 0, done.stderr
    paths = [images.path(position) for position in range(len(images))]
    predicted = Classifier.load(folder / "run", device="cpu").predict(paths)
    expected = np.array([prediction.scores for prediction in predicted])
    np.testing.assert_allclose(np.load(folder / "probabilities.npy"), expected, atol=1e-5)


def test_features_goes_on_as_lp_ft_with_any_number_of_epochs(folder, killer):
    run = ["--prefix", "run", "--resume"]
    assert killer(folder, arguments(folder, "whole", method="lp-ft", num_epoch=3))[0] == 0
    assert killer(folder, arguments(folder, num_epoch=10))[0] == 0
    assert json.loads((folder / "run.json").read_text())["finished"]
    before = params(folder, "run", 1)

    code, output = killer(folder, [*run, "--method", "lp-ft", "--num-epoch", "3"])
    assert code == 0, output

    assert params(folder, "whole", 3) == params(folder, "run", 3) != before
    assert [entry["epoch"] for entry in json.loads((folder / "run.json").read_text())["epochs"]] == [1, 2, 3]
    # It is a run of lp-ft now, whose epochs only grow.
    code, output = killer(folder, [*run, "--num-epoch", "2"])
    assert code == 1
    assert "--num-epoch 2: the run at run has finished epoch 3, its last; leave it out, or give 4 or more" in output
    code, output = killer(folder, [*run, "--method", "features"])
    assert code != 0
    assert "only features goes on as lp-ft" in output


def test_features_goes_on_as_lp_ft_with_the_fine_tuning_that_is_given_then(folder, killer):
    given = {"optimizer": "sgd", "mom": 0.5, "rotate": 20, "num_epoch": 2}
    whole = arguments(folder, "whole", method="lp-ft", **given)
    assert killer(folder, whole)[0] == 0
    code, output = killer(folder, arguments(folder, num_epoch=7, cutout=0.5))
    assert code == 0, output
    assert (
        "--method features fits only a head: --num-epoch, --optimizer, --lr and --cutout have no effect until the run "
        "goes on as lp-ft, with --resume and --method lp-ft"
    ) in output
    run = ["--prefix", "run", "--resume", "--optimizer", "sgd", "--mom", "0.5", "--rotate", "20", "--num-epoch", "2"]

    code, output = killer(folder, run)
    assert code == 2
    assert (
        "--num-epoch 2: should be given with --method lp-ft, as which the run can go on: features fits only" in output
    )
    code, output = killer(folder, [*run, "--method", "lp-ft", "--cutout", "0"])
    assert code == 0, output

    assert params(folder, "whole", 2) == params(folder, "run", 2)
    configs = [json.loads((folder / f"{name}.json").read_text())["config"] for name in ("whole", "run")]
    differing = {name for name in configs[0].keys() | configs[1].keys() if configs[0].get(name) != configs[1].get(name)}
    assert differing == {"prefix"}
    # The same again changes nothing: it is a run of lp-ft now.
    assert killer(folder, [*run, "--method", "lp-ft"])[0] == 0


@pytest.fixture(scope="module")
def with_head(tmp_path_factory):
    """Train with method features and settings, and return a function for the settings it is resumed with as lp-ft."""
    folder = tmp_path_factory.mktemp("with_head")
    tiny.make_data(folder)

    def begun(prefix, **changes):
        settings = {"method": "features", "optimizer": None, "lr": None, "num_epoch": 2, **changes}
        train.fit(tiny.config(folder, prefix, **settings), SILENT, force=True)

        def resumed(**given):
            train.resume(folder / prefix, {"method": "lp-ft", **given}, SILENT)
            return json.loads((folder / f"{prefix}.json").read_text())["config"]

        return resumed

    return begun


OF_OPTIMIZER = ("optimizer", "lr", "head_lr_mult", "warmup_epochs", "mom", "wd")


@pytest.mark.parametrize(
    ("begun", "given", "expected"),
    [
        # What the recipe decided for the old optimizer goes: the tiny network has BatchNorm.
        ({}, {"optimizer": "adamw"}, ("adamw", 0.0002, 1.0, 1.0, None, 0.01)),
        ({"wd": 0.1}, {"optimizer": "adamw"}, ("adamw", 0.0002, 1.0, 1.0, None, 0.1)),
        ({"wd": 0.1, "lr": 0.003}, {"optimizer": "sgd"}, ("sgd", 0.003, 1.0, 0.0, 0.9, 0.1)),
        ({"wd": 0.1}, {"optimizer": "sgd", "wd": 0.01, "mom": 0.5}, ("sgd", 0.01, 1.0, 0.0, 0.5, 0.01)),
        (
            {"optimizer": "sgd", "mom": 0.5, "warmup_epochs": 2.0},
            {"optimizer": "nag"},
            ("nag", 0.01, 1, 2, 0.5, 0.0001),
        ),
        (
            {"optimizer": "sgd", "mom": 0.5, "head_lr_mult": 3.0},
            {"optimizer": "adam"},
            ("adam", 0.0002, 3, 1, None, 0.0001),
        ),
        ({"optimizer": "sgd", "wd": 0.1}, {"optimizer": "scaled-adamw"}, ("scaled-adamw", 0.02, 1.0, 1.0, None, 0.1)),
    ],
)
def test_another_optimizer_goes_on_with_what_the_run_was_given(with_head, begun, given, expected):
    config = with_head("optimizer", **begun)(**given)
    assert tuple(config.get(name) for name in OF_OPTIMIZER) == expected


def test_a_setting_of_another_schedule_is_refused_when_features_goes_on_too(with_head):
    resumed = with_head("schedule", lr_schedule="step", lr_steps=(1,), lr_factor=0.5)
    with pytest.raises(SettingError, match=r"`lr_decay` 0\.5: .* `lr_schedule` inverse: it is step"):
        resumed(lr_decay=0.5)
    with pytest.raises(SettingError, match=r"`lr_steps` 2,4: .* `lr_schedule` step: it is cosine"):
        resumed(lr_schedule="cosine", lr_steps=(2, 4))
    # With another schedule the settings of the run's own end.
    config = resumed(lr_schedule="inverse", lr_decay=0.5)
    assert [config[name] for name in ("lr_schedule", "lr_steps", "lr_factor", "lr_decay")] == [
        "inverse",
        [5, 10],
        0.1,
        0.5,
    ]


def test_a_features_run_takes_what_any_resume_may_change(with_head):
    resumed = with_head("patience")
    resumed(method="features", patience=3)
    assert resumed(patience=4)["patience"] == 4


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"method": "finetune", "feature_layers": 2}, "`feature_layers` 2: should be left out with `method` finetune"),
        (
            {"method": "lp-ft", "lr_steps": (1, 2)},
            "`lr_steps` 1,2: should be left out, or given with `lr_schedule` step",
        ),
        ({"lr_factor": 0.5, "lr_schedule": "inverse"}, "`lr_factor` 0.5: .* `lr_schedule` step: it is inverse"),
        ({"lr_decay": 0.5, "lr_schedule": "step"}, "`lr_decay` 0.5: .* `lr_schedule` inverse: it is step"),
    ],
)
def test_a_setting_of_another_method_or_schedule_is_refused(folder, given, said):
    with pytest.raises(SettingError, match=said):
        train.fit(tiny.config(folder, **{**FEATURES, **given}), SILENT)
    assert not (folder / "run.json").exists()


def test_a_run_killed_in_its_feature_pass_resumes_to_the_same_bits(folder, killer):
    changes = {"method": "lp-ft", "num_epoch": 2, "keep": "all"}
    here = folder / "killed"
    here.mkdir()
    assert killer(folder, arguments(folder, "whole", **changes))[0] == 0

    begin = arguments(folder, "killed/run", **changes)
    codes = []
    # In the training images' batches, in the validation's, as the head is saved, and in the first step.
    for kill in (
        ("validation", 2, "SIGKILL"),
        ("validation", 2, "SIGINT"),
        ("validation", 1, "SIGKILL"),
        ("rename run-0001.params", 1, "SIGKILL"),
        ("rename run.json", 2, "SIGKILL"),
        ("step", 1, "SIGKILL"),
    ):
        code, output = killer(folder, [*begin, "--resume"], kill)
        codes.append(code)
        assert ("continue with" in output) == (kill[2] == "SIGINT")
    assert codes == [-9, 130, -9, -9, -9, -9]
    code, output = killer(folder, [*begin, "--resume"])
    assert code == 0, output

    assert params(folder, "whole", 1) == params(here, "run", 1)
    assert params(folder, "whole", 2) == params(here, "run", 2)
    metrics = []
    for sidecar in (folder / "whole.json", here / "run.json"):
        metrics.append([entry["metrics"]["val"] for entry in json.loads(sidecar.read_text())["epochs"]])
    assert metrics[0] == metrics[1]


def test_features_that_are_too_large_or_not_finite_end_the_run_in_a_line(folder):
    symbol, args, aux = mx.model.load_checkpoint(str(folder / "net"), 0)
    aux["bn0_moving_var"] = mx.nd.full(8, 1e-30)
    args["bn0_gamma"] = mx.nd.full(8, 1e30)
    mx.model.save_checkpoint(str(folder / "net"), 0, symbol, args, aux)

    done = subprocess.run(
        [sys.executable, "-m", "mxml", "train", *arguments(folder)], capture_output=True, text=True, timeout=300
    )

    assert done.returncode == 1
    assert "train.lst: the network's features are not finite, or too large" in done.stderr.splitlines()[-1]


def test_the_share_of_unreadable_images_is_held_in_the_feature_pass(folder):
    for number in range(8):
        (folder / "images" / f"1-{number}.png").write_bytes(b"not an image")

    done = subprocess.run(
        [sys.executable, "-m", "mxml", "train", *arguments(folder)], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 1
    said = done.stderr.splitlines()[-1]
    assert "train.lst: 8 of 64 images cannot be read, more than the 0.05 that --max-bad-share" in said

    printed, said = mxml("train", *arguments(folder, max_bad_share=0.2), "--json")
    assert len(json.loads(printed)["bad"]) == 8
    assert "images skipped because they cannot be read: 8" in said
    assert np.isfinite(json.loads(printed)["best"]["train_loss"])


def test_a_pattern_that_freezes_nothing_is_refused_before_the_run_begins(folder):
    with pytest.raises(MxmlError, match="`freeze` cnv0: names no parameter; parameters are conv0_weight"):
        train.fit(tiny.config(folder, **FEATURES, freeze=("cnv0",)), SILENT)

    assert not (folder / "run.json").exists()


def test_a_view_that_the_network_cannot_take_is_refused_before_the_run_begins(folder):
    net = mx.sym.Flatten(mx.sym.Pooling(mx.sym.Variable("data"), kernel=(4, 4), stride=(4, 4), pool_type="avg"))
    net = mx.sym.FullyConnected(net, num_hidden=6, name="fc6")
    net = mx.sym.FullyConnected(mx.sym.Activation(net, act_type="relu"), num_hidden=5, name="fc7")
    net = mx.sym.SoftmaxOutput(net, name="softmax")
    shapes, _, _ = net.infer_shape(data=(1, 3, 32, 32))
    args = {
        name: mx.nd.random.normal(0, 0.1, shape)
        for name, shape in zip(net.list_arguments(), shapes)
        if name not in ("data", "softmax_label")
    }
    mx.model.save_checkpoint(str(folder / "dense"), 0, net, args, {})
    settings = {**FEATURES, "model": str(folder / "dense")}

    with pytest.raises(SettingError, match=r"`feature_copies` larger: .* the features of this network need images of "):
        train.fit(tiny.config(folder, **settings, feature_copies=("larger",)), SILENT)
    assert not (folder / "run.json").exists()

    assert train.fit(tiny.config(folder, **settings, feature_copies=("mirror",)), SILENT).finished


def test_the_run_that_force_replaces_is_there_until_the_head_is_fitted(folder, killer):
    here = folder / "old"
    here.mkdir()
    begin = arguments(folder, "old/run")
    assert killer(folder, begin)[0] == 0
    before = files_of_run(here)

    # Another size, so that no vector is known.
    again = [*begin, "--force", "--image-shape", "3,24,24", "--method", "lp-ft", "--num-epoch", "2"]
    assert killer(folder, again, ("validation", 2, "SIGKILL"))[0] == -9
    assert files_of_run(here) == before
    code, output = killer(folder, again, ("validation", 2, "SIGINT"))
    assert code == 130
    assert "the feature vectors so far are kept; to go on, start it again as before" in output
    assert "--resume" not in output
    assert files_of_run(here) == before
    for number in range(30):
        (folder / "images" / f"1-{number}.png").rename(folder / "images" / f"1-{number}.good")
        (folder / "images" / f"1-{number}.png").write_bytes(b"not an image")
    code, output = killer(folder, again)
    assert code == 1
    assert "images cannot be read" in output
    assert files_of_run(here) == before

    for number in range(30):
        (folder / "images" / f"1-{number}.good").rename(folder / "images" / f"1-{number}.png")
    code, output = killer(folder, again, ("step", 1, "SIGKILL"))
    assert code == -9, output
    code, output = killer(folder, ["--prefix", "old/run", "--resume"])
    assert code == 0, output
    assert killer(folder, [*again, "--prefix", "old/other"])[0] == 0
    assert params(here, "run", 2) == params(here, "other", 2)


def files_of_run(folder):
    """Return the content of a run's files but for its feature vectors, its lock and its log."""
    return {
        path.name: path.read_bytes()
        for path in folder.iterdir()
        if not path.name.startswith("features.sqlite") and path.suffix not in (".lock", ".log")
    }


def test_the_cross_validated_map_is_the_mean_over_the_folds_as_that_of_folds_is():
    """Each fold ranks its images right; on one scale the second fold's would come after the first one's."""
    logits = np.array([[5, 1], [4, 0], [-4, 1], [-5, 0], [np.nan, np.nan]], np.float32)
    labels = np.array([[1, 1], [0, 1], [1, 0], [0, 1], [1, 1]], np.int8)
    head = Linear(np.zeros((1, 2)), np.zeros(2))
    found = CrossValidated(np.ones(2), logits, np.array([0, 0, 1, 1, -1]), head)
    # The second label is always there in the first fold, which says nothing; in the second its AP is 1/2.
    assert cross_validated_mAP(found, labels) == pytest.approx((1 + (1 + 1 / 2) / 2) / 2)
    assert cross_validated_mAP(found, np.ones_like(labels)) is None
