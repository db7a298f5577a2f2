import json

import pytest

from mxml.errors import CheckpointError, MxmlError
from mxml.training.config import TrainConfig, resumed

REQUIRED = {
    "model": "net",
    "prefix": "run",
    "data_train": "train.lst",
    "image_train": "images",
    "data_val": "val.lst",
    "image_val": "images",
}


def test_a_config_survives_json():
    config = TrainConfig(**REQUIRED, mean=(1.0, 2.0, 3.0), freeze=("conv*",), num_epoch=7, patience=2)
    assert TrainConfig.from_dict(json.loads(json.dumps(config.to_dict())), config.folder) == config


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_epoch": 0}, "--num-epoch 0: should be 1 or more"),
        ({"epoch": 5, "num_epoch": 5}, "--num-epoch 5: should be above --epoch 5"),
        ({"image_shape": (1, 224, 224)}, "--image-shape 1,224,224: should be 3,HEIGHT,WIDTH"),
        ({"lr": float("nan")}, "--lr nan: should be a positive number"),
        ({"std": (1.0, 0.0, 1.0)}, "--std .*: should be three positive numbers"),
        ({"mean": (1.0, 2.0)}, "--mean .*: should be three numbers"),
        ({"optimizer": "lamb"}, "--optimizer lamb: should be one of sgd, nag, adam, adamw"),
        ({"preset": "torch"}, "--preset torch: should be one of original"),
        ({"kv_store": "dist_sync"}, "several machines are not supported yet"),
        ({"max_bad_share": 1.5}, "--max-bad-share 1.5: should be 0 to 1"),
    ],
)
def test_a_senseless_setting_is_named_with_what_it_should_be(changes, message):
    with pytest.raises(MxmlError, match=message):
        TrainConfig(**{**REQUIRED, **changes})


def test_resuming_keeps_the_run_as_it_was():
    saved = TrainConfig(**REQUIRED, lr=0.1, num_epoch=5)
    assert resumed(saved, {"lr": 0.1, "num_epoch": 8, "device": "cpu:0,1"}).num_epoch == 8
    with pytest.raises(MxmlError, match=r"--lr 0\.2: the run to resume has 0\.1"):
        resumed(saved, {"lr": 0.2})
    with pytest.raises(MxmlError, match="--num-epoch 3"):
        resumed(saved, {"num_epoch": 3})


@pytest.mark.parametrize(
    "value",
    [{**REQUIRED, "surprise": 1}, {name: REQUIRED[name] for name in list(REQUIRED)[1:]}, {**REQUIRED, "lr": "high"}],
)
def test_a_foreign_config_is_refused(value):
    with pytest.raises(CheckpointError, match="config: "):
        TrainConfig.from_dict(value, "")
