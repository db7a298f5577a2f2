"""Whole runs in processes of their own, killed and stopped by real signals."""

import json
import os
import random
import re
import signal
import subprocess
import sys

import pytest
import tiny

KILL, TERM = "SIGKILL", "SIGTERM"
STEPS = 8
# So many epochs that a run killed so often, further each time, is not at its end before.
KILLS = int(os.environ.get("MXML_TEST_KILLS", "25"))
EPOCHS = max(4, KILLS)


@pytest.fixture
def folder(tmp_path):
    tiny.make_data(tmp_path, train=64)
    return tmp_path


def moments(seed):
    """Draw moments to kill a run at, in every phase of it, one after another, and whether it saves inside epochs."""
    chance = random.Random(seed)
    # What happens often is counted further.
    events = {
        "update": STEPS,
        "step": STEPS,
        "average": 5 * STEPS,
        "parameters": 2,
        "validation": 4,
        "flush": 16,
        "rename run-0*": 2,
        "rename run-paused*": 4,
        "rename run-history.csv": 1,
        "rename run.json": 2,
        "remove run-paused*": 4,
    }
    while True:
        event = chance.choice(list(events))
        kill = [(event, chance.randint(1, events[event]), KILL)]
        # Some are stopped first, and killed while they save.
        if chance.random() < 0.2:
            kill.insert(0, (chance.choice(["step", "update", "validation"]), chance.randint(1, 3), TERM))
        yield kill, "1e-9" if "paused" in event else chance.choice(["0", "1e-9"])


EVERY_AUGMENTATION = {
    "min_area": 0.5,
    "jitter": 0.3,
    "hue": 0.2,
    "pca_noise": 0.1,
    "rand_gray": 0.2,
    "rotate": 25,
    "shift": 0.1,
    "shear": 0.2,
    "zoom": 0.2,
    "rand_augment": (2, 9),
    "cutout": 0.3,
    "mixup": 0.4,
    "cutmix": 1.0,
}


def test_augmentation_and_mixing_go_on_as_if_nothing_had_happened(folder, killer):
    """Stopped twice inside an epoch and killed once, and loaded by another number of threads."""
    options = {"num_epoch": 3, **EVERY_AUGMENTATION}
    arguments = [*tiny.arguments(folder, "whole", **options, decode_threads=1), "--vertical-flip"]
    code, output = killer(folder, arguments)
    assert code == 0, output
    arguments = [*tiny.arguments(folder, "run", **options, decode_threads=3), "--vertical-flip", "--resume"]
    for event, number, name in (("step", 3, TERM), ("step", STEPS + 2, TERM), ("update", 2, KILL)):
        code, output = killer(folder, arguments, (event, number, name))
        assert code in (128 + signal.SIGTERM, -signal.SIGKILL), output
    code, output = killer(folder, ["--prefix", "run", "--resume"])
    assert code == 0, output
    whole, run = (json.loads((folder / f"{name}.json").read_text()) for name in ("whole", "run"))
    for one, other in zip(whole["epochs"], run["epochs"]):
        assert one["metrics"]["train_loss"] == other["metrics"]["train_loss"]
        assert one["metrics"]["train_accuracy"] == other["metrics"]["train_accuracy"]
        assert 0 < one["metrics"]["train_accuracy"] < 1
    for name in ("-0003.params", "-0003.states"):
        assert (folder / f"run{name}").read_bytes() == (folder / f"whole{name}").read_bytes(), name


@pytest.mark.parametrize(
    ("seed", "options"),
    [(1, {"optimizer": "nag"}), (2, {"optimizer": "adam", "lr": 0.01, "device": "cpu:0,1"})],
    ids=["one device", "two devices"],
)
def test_a_run_killed_again_and_again_ends_as_one_never_killed(folder, killer, seed, options):
    options = {"num_epoch": EPOCHS, **options}
    code, output = killer(folder, tiny.arguments(folder, "whole", **options))
    assert code == 0, output
    arguments = [*tiny.arguments(folder, "run", **options), "--resume"]
    killed = 0
    for kill, save_every in moments(seed):
        code, output = killer(folder, [*arguments, "--save-every", save_every], *kill)
        assert code in (-signal.SIGKILL, 128 + signal.SIGTERM), (killed, kill, output)
        killed += code == -signal.SIGKILL
        if killed == KILLS:
            break
    code, output = killer(folder, ["--prefix", "run", "--resume"])
    assert code == 0, output
    assert "resuming " in output

    whole, run = (json.loads((folder / f"{name}.json").read_text()) for name in ("whole", "run"))
    assert [epoch["epoch"] for epoch in run["epochs"]] == list(range(1, EPOCHS + 1))
    for one, other in zip(whole["epochs"], run["epochs"]):
        assert one["files"] == other["files"], one["epoch"]
        assert one["metrics"]["val"] == other["metrics"]["val"], one["epoch"]
        assert one["metrics"]["train_loss"] == other["metrics"]["train_loss"], one["epoch"]
    assert run["best_epoch"] == whole["best_epoch"]
    names = {kind: sorted(path.name[len(kind) :] for path in folder.glob(f"{kind}-*")) for kind in ("whole", "run")}
    assert names["run"] == names["whole"]
    for name in names["run"]:
        if name.endswith((".params", ".states")):
            assert (folder / f"run{name}").read_bytes() == (folder / f"whole{name}").read_bytes(), name
    assert not list(folder.glob(".*.tmp"))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_and_says_how_to_go_on(folder, number, code):
    process = subprocess.Popen(
        [sys.executable, "-m", "mxml", "train", *tiny.arguments(folder, "run", num_epoch=500, patience=400)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env=os.environ,
    )
    seen = []
    assert process.stderr
    for line in process.stderr:  # until it says that an epoch has ended
        seen.append(line)
        if "mAP" in line:
            break
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code, (seen, err)
    last = err.strip().splitlines()[-1]
    assert re.fullmatch(
        rf"mxml: stopped by {number.name} in epoch \d+ after batch \d+, and saved; "
        r"continue with --resume: mxml train --prefix .*run --resume",
        last,
    )
    pause = json.loads((folder / "run.json").read_text())["pause"]
    assert (folder / "run-paused.params").stat().st_size == pause["files"]["params"]["size"]
    assert "Interrupted: stopped by" in (folder / "train.log").read_text()
