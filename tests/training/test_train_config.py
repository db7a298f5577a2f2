import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mxml.errors import CheckpointError, MxmlError, SettingError
from mxml.training.config import TrainConfig, resumed, train_settings

REQUIRED: dict[str, Any] = {
    "model": "net",
    "prefix": "run",
    "data_train": "train.lst",
    "image_train": "images",
    "data_val": "val.lst",
    "image_val": "images",
}


def test_a_config_survives_json():
    config = TrainConfig(
        **REQUIRED, mean=(1.0, 2.0, 3.0), rand_augment=(2, 9), freeze=("conv*",), num_epoch=7, patience=2, device="cpu"
    )
    assert TrainConfig.from_dict(json.loads(json.dumps(config.to_dict())), config.folder) == config


def test_paths_are_stored_relative_to_the_prefix_and_found_where_it_is_now():
    paths = {"prefix": "runs/a/model", "model": "nets/r18", "data_train": "/lists/train.lst", "labels": "names.txt"}
    stored = TrainConfig(**{**REQUIRED, **paths}).to_dict()
    assert (stored["prefix"], stored["model"], stored["labels"]) == ("model", "../../nets/r18", "../../names.txt")
    moved = TrainConfig.from_dict(stored, "other/b/c")
    assert (moved.prefix, moved.model, moved.labels) == ("other/b/c/model", "other/nets/r18", "other/names.txt")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_epoch": 0}, "`num_epoch` 0: should be 1 to 9999999"),
        ({"num_epoch": 99999999999}, "`num_epoch` 99999999999: should be 1 to 9999999"),
        ({"epoch": 5, "num_epoch": 5}, "`num_epoch` 5: should be above `epoch` 5, .*: 15 runs ten"),
        ({"epoch": -1}, "`epoch` -1: should be 0 to 9999999"),
        ({"image_shape": (1, 224, 224)}, "`image_shape` 1,224,224: should be 3,HEIGHT,WIDTH"),
        ({"image_shape": (3, 224)}, "`image_shape` 3,224: should be 3,HEIGHT,WIDTH"),
        ({"lr": float("nan")}, "`lr` nan: should be above 0, at most 1000"),
        ({"lr": float("inf")}, "`lr` inf: should be above 0, at most 1000"),
        ({"lr": 1e30}, r"`lr` 1e\+30: should be above 0, at most 1000"),
        ({"head_lr_mult": 1e99}, r"`head_lr_mult` 1e\+99: should be 0 to 1000"),
        ({"lr_factor": 1e9}, r"`lr_factor` 1e\+09: should be above 0, at most 1"),
        ({"wd": 1e99}, r"`wd` 1e\+99: should be 0 to 1000"),
        ({"clip_gradient": 1e99}, r"`clip_gradient` 1e\+99: should be above 0, at most 1e\+06"),
        ({"lr": "high"}, "`lr` high: should be a number"),
        ({"batch_size": 1.5}, "`batch_size` 1.5: should be a whole number"),
        ({"batch_size": True}, "`batch_size` True: should be a whole number"),
        ({"rand_crop": 1}, "`rand_crop` 1: should be true or false"),
        ({"freeze": "conv0_*"}, r"`freeze` conv0_\*: should be a tuple"),
        ({"lr_steps": (3, 0)}, "`lr_steps` 3,0: should be epochs, 1 or more each"),
        ({"std": (1.0, 0.0, 1.0)}, "`std` .*: should be three positive numbers"),
        ({"std": (1.0, 5e-324, 1.0)}, "`std` .*: should be three positive numbers, from 0.000001 to 1,000,000"),
        ({"mean": (1.0, 1e308, 2.0)}, "`mean` .*: should be three numbers up to 1,000,000"),
        ({"rotate": 200}, "`rotate` 200: should be 0 to 180"),
        ({"zoom": 1.0}, "`zoom` 1: should be at least 0 and below 1"),
        ({"hue": -0.1}, "`hue` -0.1: should be 0 to 1"),
        ({"mixup": 0.001}, "`mixup` 0.001: should be 0, or 0.01 to 100"),
        ({"cutmix": float("nan")}, "`cutmix` nan: should be 0, or 0.01 to 100"),
        ({"rand_augment": (2,)}, "`rand_augment` 2: should be 1 to 5 operations and a magnitude from 0 to 10, as 2,9"),
        ({"rand_augment": (2, 11)}, "`rand_augment` 2,11: should be 1 to 5 operations and a magnitude from 0 to 10"),
        ({"mean": (1.0, 2.0)}, "`mean` .*: should be three numbers"),
        ({"mean": (1.0, float("nan"), 2.0)}, "`mean` .*: should be three numbers"),
        ({"model": None}, "missing `model` or `network`"),
        ({"optimizer": "lamb"}, "`optimizer` lamb: should be one of sgd, nag, adam, adamw"),
        ({"preset": "torch"}, "`preset` torch: should be one of original"),
        ({"kv_store": "dist_async"}, "`kv_store` dist_async: should be one of device, local, dist_sync"),
        ({"max_bad_share": 1.5}, "`max_bad_share` 1.5: should be 0 to 1"),
        ({"keep": "best"}, "`keep` best: should be one of best,last, all"),
    ],
)
def test_a_senseless_setting_is_named_with_what_it_should_be(changes, message):
    with pytest.raises(SettingError, match=message):
        TrainConfig(**{**REQUIRED, **changes})


def test_features_has_one_epoch_whatever_the_number_of_the_last():
    config = TrainConfig(**REQUIRED, method="features", epoch=10)
    assert (config.num_epoch, config.last_epoch) == (10, 11)
    with pytest.raises(SettingError, match="`num_epoch` 10: should be above `epoch` 10"):
        resumed(config, {"method": "lp-ft"})


def test_what_python_gives_is_taken_as_json_would_bring_it():
    config = TrainConfig(**{**REQUIRED, "model": Path("nets/a"), "lr": 1, "lr_steps": [2, 4], "freeze": ["a*"]})
    assert (config.model, config.lr, config.lr_steps, config.freeze) == ("nets/a", 1.0, (2, 4), ("a*",))
    assert type(config.lr) is float


def test_every_default_passes_its_own_check():
    given = {
        "data": ("photos",),
        **{name: REQUIRED[name] for name in ("prefix", "model")},
    }
    config = TrainConfig(**given)
    filled_in = {**given, "image_shape": (3, 224, 224), "loss": "bce", "best_by": "mAP"}
    for name, known in train_settings().items():
        assert getattr(config, name) == filled_in.get(name, known.default)
        assert known.help.endswith(".")


def test_missing_settings_are_all_named():
    with pytest.raises(SettingError, match="missing `model` or `network`, `data_val`"):
        TrainConfig.of({name: value for name, value in REQUIRED.items() if name not in ("model", "data_val")})
    with pytest.raises(SettingError, match=r"^missing `data_train`, `data_val` \(or `data` in place of the lists\)"):
        TrainConfig(prefix="run", model="net")
    assert TrainConfig.of({"prefix": "run", "model": "net", "data": ["a.csv"]}).data == ("a.csv",)


def test_sources_of_images_are_paths_too():
    stored = TrainConfig(
        prefix="runs/a/model", model="net", data=("photos", "/far/more.csv"), data_root="photos"
    ).to_dict()
    assert (stored["data"][0], stored["data_root"]) == ("../../photos", "../../photos")
    moved = TrainConfig.from_dict(json.loads(json.dumps(stored)), "other/b/c")
    assert (moved.data[0], moved.data_root) == ("other/photos", "other/photos")
    with pytest.raises(SettingError, match=r"`data` .*: should be a path that a file can have"):
        TrainConfig(prefix="run", model="net", data=("photos", "a\0b"))


@pytest.mark.parametrize(
    ("given", "prefix", "epoch"),
    [
        ({"model": "nets/net-symbol.json"}, "nets/net", 0),
        ({"model": "net-0003.params"}, "net", 3),
        ({"model": "net-0003.params", "epoch": 3}, "net", 3),
        ({"model": Path("net-0000.params")}, "net", 0),
        ({"model": "net", "epoch": 2}, "net", 2),
    ],
)
def test_one_of_a_networks_files_names_it(given, prefix, epoch):
    config = TrainConfig.of({**REQUIRED, **given})
    assert (config.model, config.epoch) == (prefix, epoch)
    assert resumed(config, given) == config


def test_a_networks_file_of_another_epoch_is_refused():
    with pytest.raises(SettingError, match=r"`epoch` 0: should be 3, as net-0003\.params says, or left out"):
        TrainConfig.of({**REQUIRED, "model": "net-0003.params", "epoch": 0})


def test_resuming_keeps_the_run_as_it_was():
    saved = TrainConfig(**REQUIRED, lr=0.1, num_epoch=5, patience=3)
    assert resumed(saved, {}) == saved
    changes: dict[str, Any] = {"lr": 0.1, "num_epoch": 8, "device": "cpu:0,1", "keep": "all", "model": "moved/net"}
    assert resumed(saved, changes) == dataclasses.replace(saved, **changes)
    with pytest.raises(MxmlError, match=r"`lr` 0\.2: the run to resume has 0\.1"):
        resumed(saved, {"lr": 0.2})
    with pytest.raises(MxmlError, match="`num_epoch` 4: the run to resume has 5, and may only have more; leave it out"):
        resumed(saved, {"num_epoch": 4})
    with pytest.raises(SettingError, match="`cache_mb` -1"):
        resumed(saved, {"cache_mb": -1})


def test_only_what_changes_no_result_is_free_on_resuming():
    free = {name for name, known in train_settings().items() if known.on_resume != "same" and not known.path}
    machine = {"device", "kv_store", "decode_threads", "cache_mb"}
    assert free == {"num_epoch", "patience", "keep", *machine, "num_examples", "method", "save_every", "time_limit"}


@pytest.mark.parametrize(
    "value",
    [{**REQUIRED, "surprise": 1}, {name: REQUIRED[name] for name in list(REQUIRED)[1:]}, {**REQUIRED, "lr": "high"}],
)
def test_a_foreign_config_is_refused(value):
    with pytest.raises(CheckpointError, match="config: "):
        TrainConfig.from_dict(value, "")


@pytest.mark.parametrize(
    "script",
    [
        f"from mxml import TrainConfig, fit; TrainConfig(**{REQUIRED!r})",
        "from mxml.cli import group; group(['train', '--help'], standalone_mode=False)",
    ],
)
def test_saying_what_to_train_loads_neither_mxnet_nor_matplotlib(script):
    loaded = "import sys\n" + script + "\nsys.exit(str(sorted({'mxnet', 'cv2', 'matplotlib'} & set(sys.modules))))"
    done = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True)
    assert done.stderr == "[]\n"
