"""Whole runs in a lower precision: what they save is float32 and plain, and they go on exactly."""

import json
from typing import Any

import needs
import numpy as np
import pytest
import tiny

from mxml.errors import DeviceError, MxmlError
from mxml.inference.classifier import Classifier
from mxml.model import params_file
from mxml.progress import SILENT
from mxml.runtime.imports import load_mxnet
from mxml.training.fit import fit, resume

mx = load_mxnet()


def arrays(folder, prefix, epoch, suffix="params"):
    return params_file.read_params(str(folder / f"{prefix}-{epoch:04d}.{suffix}"))


def content(*files):
    return [{name: array.asnumpy().tobytes() for name, array in file.items()} for file in files]


@needs.bfloat16
def test_a_run_in_bfloat16_saves_float32_and_resumes_bit_for_bit(folder):
    changes = {"dtype": "bfloat16", "optimizer": "adamw", "lr": 0.01, "lr_schedule": "constant"}
    fit(tiny.config(folder, "whole", num_epoch=2, **changes), SILENT)
    fit(tiny.config(folder, "parts", num_epoch=1, **changes), SILENT)
    resume(folder / "parts", {"num_epoch": 2}, SILENT)
    saved = [(arrays(folder, name, 2), arrays(folder, name, 2, "states")) for name in ("whole", "parts")]
    assert content(*saved[0]) == content(*saved[1])
    assert {array.dtype for file in saved[0] for array in file.values()} == {np.float32}
    assert "cast" not in (folder / "whole-symbol.json").read_text()

    fit(tiny.config(folder, "float32", num_epoch=2, **{**changes, "dtype": "float32"}), SILENT)
    assert content(arrays(folder, "float32", 2)) != content(saved[0][0])
    # Evaluation is in float32, with what bfloat16 found.
    best = json.loads((folder / "whole.json").read_text())
    validated = best["epochs"][best["best_epoch"] - 1]["metrics"]["val"]
    evaluated = Classifier.load(folder / "whole").evaluate().metrics.to_dict()
    assert evaluated["loss"] == pytest.approx(validated["loss"], rel=0.02)


@needs.bfloat16
def test_a_run_continues_in_its_own_precision_alone(folder):
    fit(tiny.config(folder, num_epoch=1), SILENT)
    with pytest.raises(MxmlError, match="`dtype` bfloat16: the run to resume has float32"):
        resume(folder / "run", {"num_epoch": 2, "dtype": "bfloat16"}, SILENT)


def test_float16_on_the_cpu_is_refused_before_anything_is_written(folder):
    with pytest.raises(DeviceError, match=r"`dtype` float16 needs a GPU that MXNet can use.*use float32 or bfloat16"):
        fit(tiny.config(folder, dtype="float16"), SILENT)
    assert not (folder / "run.json").exists()


def write_network(prefix, dtype):
    """Write a classifier as it is trained in ``dtype`` for ImageNet: between two casts, with its parameters in it."""
    net = mx.sym.Variable("data")
    net = mx.sym.Cast(net, dtype="float16") if dtype == "float16" else net
    net = mx.sym.Convolution(net, num_filter=8, kernel=(3, 3), stride=(2, 2), name="conv0")
    net = mx.sym.Activation(mx.sym.BatchNorm(net, fix_gamma=False, name="bn0"), act_type="relu", name="relu0")
    net = mx.sym.Pooling(net, global_pool=True, kernel=(1, 1), pool_type="avg", name="pool0")
    net = mx.sym.FullyConnected(mx.sym.Flatten(net, name="flatten0"), num_hidden=5, name="fc")
    net = mx.sym.Cast(net, dtype="float32") if dtype == "float16" else net
    net = mx.sym.SoftmaxOutput(net, name="softmax")
    args, aux = tiny.random_parameters(net, (3, 32, 32), np.random.default_rng(7))
    args = {name: array.astype("float16").astype(dtype) for name, array in args.items()}
    net.save(f"{prefix}-symbol.json")
    params_file.write_params(f"{prefix}-0000.params", params_file.join_params(args, aux))


@pytest.mark.parametrize("method", ["lp-ft", "features", "finetune"])
def test_a_network_in_float16_trains_as_the_same_one_in_float32(folder, method):
    changes: dict[str, Any] = {"method": method, "optimizer": None, "lr": None}
    changes["num_epoch"] = 1 if method == "features" else 2
    found = []
    for dtype in ("float16", "float32"):
        write_network(folder / "net", dtype)
        result = fit(tiny.config(folder, dtype, **changes), SILENT)
        classifier = Classifier.load(folder / dtype)
        evaluated = classifier.evaluate().metrics.to_dict()
        assert evaluated["mAP"] == result.best["mAP"] > 0.5
        predicted = classifier.predict(sorted((folder / "images").glob("2-*.png")))
        params = arrays(folder, dtype, changes["num_epoch"])
        assert {array.dtype for array in params.values()} == {np.float32}
        found.append((evaluated, [prediction.scores.tolist() for prediction in predicted], content(params)))
    assert found[0] == found[1]
    assert (folder / "float16-symbol.json").read_bytes() == (folder / "float32-symbol.json").read_bytes()
