"""Which of a run's files stay, and what a machine without room or memory gets told."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import tiny
from told import StopAfter, Told

from mxml.errors import CheckpointError, Interrupted
from mxml.inference.feature_cache import FeatureCache
from mxml.model import checkpoint
from mxml.progress import SILENT
from mxml.training import fit as train
from mxml.training.signals import StopRequest


def numbers(folder, ending):
    return sorted(int(path.stem[-4:]) for path in folder.glob(f"run-[0-9]*.{ending}"))


# The head stays zero, so that every epoch scores alike: the first stays the best.
FIRST_IS_BEST: dict[str, Any] = {"head_lr_mult": 0.0, "best_by": "hamming"}


def test_the_best_and_the_last_epoch_stay_and_all_their_metrics(folder):
    seen = []

    def look(row):
        seen.append((numbers(folder, "params"), numbers(folder, "states")))

    train.fit(tiny.config(folder, num_epoch=4, **FIRST_IS_BEST), SILENT, callbacks=[look])
    assert seen == [([1], [1]), ([1, 2], [1, 2]), ([1, 3], [1, 3]), ([1, 4], [1, 4])]
    epochs = json.loads((folder / "run.json").read_text())["epochs"]
    assert [sorted(epoch["files"]) for epoch in epochs] == [["params", "states"], [], [], ["params", "states"]]
    assert all(epoch["metrics"]["val"]["hamming"] is not None for epoch in epochs)
    assert [len(epoch["metrics"]["val"].get("per_class", ())) for epoch in epochs] == [3, 0, 0, 3]
    assert [len(epoch["metrics"]["val"]["AP_per_class"]) for epoch in epochs] == [3, 3, 3, 3]
    with pytest.raises(CheckpointError, match=r"run-0003\.params: does not exist; existing epochs: 1, 4"):
        checkpoint.load(str(folder / "run"), 3)
    train.resume(folder / "run", {"num_epoch": 6, "keep": "all"}, SILENT)
    assert numbers(folder, "params") == [1, 4, 5, 6]


def comparable(path):
    """Return a sidecar's epochs without what is timed."""
    epochs = json.loads(path.read_text())["epochs"]
    for entry in epochs:
        del entry["metrics"]["seconds"], entry["metrics"]["images_per_second"]
    return epochs


def APs(folder, prefix):
    rows = csv.DictReader(io.StringIO((folder / f"{prefix}-history.csv").read_text()))
    return [[row[f"AP {name}"] for name in tiny.LABELS] for row in rows]


def test_the_metrics_of_labels_of_an_earlier_mxml_are_thinned_as_its_run_goes_on(folder):
    options = {**FIRST_IS_BEST, "lr_schedule": "constant"}
    train.fit(tiny.config(folder, "whole", num_epoch=4, **options), SILENT)
    train.fit(tiny.config(folder, num_epoch=2, **options), SILENT)
    sidecar = json.loads((folder / "run.json").read_text())
    for entry in sidecar["epochs"]:
        del entry["metrics"]["val"]["AP_per_class"]
        assert [found["index"] for found in entry["metrics"]["val"]["per_class"]] == [0, 1, 2]
    (folder / "run.json").write_text(json.dumps(sidecar, indent=1))
    train.resume(folder / "run", {"num_epoch": 4}, SILENT)
    assert APs(folder, "run") == APs(folder, "whole")
    assert all(map(all, APs(folder, "run")))
    (first, *rest), (own, *others) = (comparable(folder / f"{name}.json") for name in ("whole", "run"))
    assert others == rest
    # The best stays as it was written.
    assert own["metrics"]["val"] == {n: v for n, v in first["metrics"]["val"].items() if n != "AP_per_class"}


def test_files_that_a_killed_run_no_longer_needed_go_with_the_next_epoch(folder):
    config = tiny.config(folder, num_epoch=3, **FIRST_IS_BEST)
    train.fit(config, SILENT)
    # As a process killed between the sidecar and the removal leaves them.
    for ending in ("params", "states"):
        shutil.copy(folder / f"run-0001.{ending}", folder / f"run-0002.{ending}")
    with pytest.raises(
        CheckpointError, match=r"run-0002\.params: belongs to an epoch that the run in .* did not keep; .* 3"
    ):
        checkpoint.load(str(folder / "run"), 2)
    train.resume(folder / "run", {"num_epoch": 4}, SILENT)
    assert numbers(folder, "params") == numbers(folder, "states") == [1, 4]


def test_a_damaged_last_epoch_goes_back_to_the_best_and_ends_the_same(folder):
    options = {"num_epoch": 4, **FIRST_IS_BEST}
    train.fit(tiny.config(folder, "whole", **options), SILENT)
    train.fit(tiny.config(folder, "run", **options), SILENT)
    (folder / "run-0004.states").write_bytes(b"")
    train.resume(folder / "run", progress=SILENT)
    for ending in ("params", "states"):
        assert (folder / f"run-0004.{ending}").read_bytes() == (folder / f"whole-0004.{ending}").read_bytes()
    assert comparable(folder / "run.json") == comparable(folder / "whole.json")


def test_an_epoch_without_states_is_gone_on_from_with_a_fresh_optimizer(folder):
    train.fit(tiny.config(folder, num_epoch=1, ema=0.0), SILENT)
    # As an epoch is saved whose parameters no optimizer has made.
    sidecar = json.loads((folder / "run.json").read_text())
    del sidecar["epochs"][0]["files"]["states"]
    sidecar["epochs"][0]["num_update"] = 0
    (folder / "run.json").write_text(json.dumps(sidecar))
    (folder / "run-0001.states").unlink()
    told = Told()
    train.resume(folder / "run", {"num_epoch": 2}, told)
    assert "resuming after epoch 1" in told.notes
    epochs = json.loads((folder / "run.json").read_text())["epochs"]
    assert [epoch["num_update"] for epoch in epochs] == [0, 5]
    assert sorted(epochs[1]["files"]) == ["params", "states"]


def run(script, *arguments, **environment):
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment})


# Kills the process as it is about to remove the first file that is no longer needed.
KILLED = """
import functools, os, signal, sys
sys.path.insert(0, sys.argv[1])
unlink = os.unlink
def unlink_or_die(path, *rest, **options):
    if os.fspath(path).endswith("run-0002.params"):
        os.kill(os.getpid(), signal.SIGKILL)
    unlink(path, *rest, **options)
# A partial, which Python 3.9's pathlib does not take for a method of its own.
os.unlink = functools.partial(unlink_or_die)
import pathlib, tiny
from mxml import fit
from mxml.progress import SILENT
fit(tiny.config(pathlib.Path(sys.argv[2]), num_epoch=4, head_lr_mult=0.0, best_by="hamming"), SILENT)
"""


def test_a_run_killed_before_it_removes_files_has_lost_none_and_ends_the_same(folder, checkout):
    assert run(KILLED, checkout / "tests", folder).returncode == -signal.SIGKILL
    assert numbers(folder, "params") == numbers(folder, "states") == [1, 2, 3]
    assert [checkpoint.load(str(folder / "run"), epoch).epoch for epoch in (1, 3)] == [1, 3]
    train.resume(folder / "run", progress=SILENT)
    assert numbers(folder, "params") == numbers(folder, "states") == [1, 4]
    train.fit(tiny.config(folder, "whole", num_epoch=4, **FIRST_IS_BEST), SILENT)
    for ending in ("params", "states"):
        assert (folder / f"run-0004.{ending}").read_bytes() == (folder / f"whole-0004.{ending}").read_bytes()


# After its first epoch the process may write no file of the parameters' size, as on a full disk; MXNet does not notice.
FULL_DISK = """
import resource, signal, sys
sys.path.insert(0, sys.argv[1])
import pathlib, tiny
from mxml import fit
from mxml.errors import StorageError
from mxml.progress import SILENT
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
def fill(row):
    resource.setrlimit(resource.RLIMIT_FSIZE, (1400, resource.RLIM_INFINITY))
try:
    fit(tiny.config(pathlib.Path(sys.argv[2]), num_epoch=2), SILENT, callbacks=[fill])
except StorageError as error:
    print(error)
"""


def test_a_full_disk_is_named_and_the_run_goes_on_once_there_is_room(folder, checkout):
    done = run(FULL_DISK, checkout / "tests", folder)
    assert done.stdout == (
        f"{folder}/run-0002.params: cannot be written: File too large; everything saved before is kept: make "
        "room, then continue with `resume`\n"
    ), done.stderr
    assert not list(folder.glob(".*.tmp"))
    assert checkpoint.load(str(folder / "run")).epoch == 1
    train.resume(folder / "run", progress=SILENT)
    train.fit(tiny.config(folder, "whole", num_epoch=2), SILENT)
    assert (folder / "run-0002.params").read_bytes() == (folder / "whole-0002.params").read_bytes()


# In the second epoch only files as large as the first one's NAME can be written.
FULL_FOR = """
import os, resource, sys
sys.path.insert(0, sys.argv[1])
import pathlib, tiny
from mxml import fit
from mxml.errors import StorageError
from mxml.progress import SILENT
folder, name = pathlib.Path(sys.argv[2]), sys.argv[3]
def fill(row):
    resource.setrlimit(resource.RLIMIT_FSIZE, (os.path.getsize(folder / name), resource.RLIM_INFINITY))
try:
    fit(tiny.config(folder, num_epoch=2, optimizer="adam", lr=0.01), SILENT, callbacks=[fill])
except StorageError as error:
    print(error)
"""


@pytest.mark.parametrize(("fits", "fails"), [("run-0001.params", "run-0002.states"), ("run-0001.states", "run.json")])
def test_what_a_full_disk_has_no_room_for_is_named_and_what_came_before_it_goes(folder, checkout, fits, fails):
    done = run(FULL_FOR, checkout / "tests", folder, fits)
    assert done.stdout == (
        f"{folder}/{fails}: cannot be written: File too large; everything saved before is kept: make room, then "
        "continue with `resume`\n"
    ), done.stderr
    assert numbers(folder, "params") == numbers(folder, "states") == [1]
    assert train.resume(folder / "run", progress=SILENT).epochs == 2


# No file can become as large as the feature vectors that others have left, and matplotlib finds no room for its own.
FULL_FOR_BY_PRODUCTS = """
import resource, sys, tempfile
sys.path.insert(0, sys.argv[1])
import pathlib, tiny
from mxml import fit
from told import Told
def full(*arguments, **named):
    raise OSError(28, "No space left on device")
tempfile.mkdtemp = full
resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, resource.RLIM_INFINITY))
told = Told()
given = {"method": "lp-ft", "optimizer": None, "lr": None, "preset": None, "num_epoch": 2}
fit(tiny.config(pathlib.Path(sys.argv[2]), **given), told)
print("\\n".join(told.notes))
"""


def test_a_full_disk_costs_the_feature_vectors_and_the_curves_but_no_run(folder, checkout):
    others = {bytes([number]): np.full(1000, number, np.float32) for number in range(250)}
    with FeatureCache(str(folder / "features.sqlite"), SILENT) as cache:
        cache.put(b"other", others)
    done = run(FULL_FOR_BY_PRODUCTS, checkout / "tests", folder, MPLCONFIGDIR="/dev/null/none")
    assert done.returncode == 0, done.stderr
    notes = done.stdout.splitlines()
    # Once in the search for the preset, once in the feature pass.
    assert len([note for note in notes if "features.sqlite: cannot be used (" in note]) == 2
    assert [note for note in notes if note.endswith("; the checkpoints are saved, and the next epoch writes it again")]
    assert json.loads((folder / "run.json").read_text())["finished"]
    with FeatureCache(str(folder / "features.sqlite"), SILENT) as cache:
        assert len(cache.get(b"other", list(others), 1000)) == len(others)
    assert len((folder / "run-history.csv").read_text().splitlines()) == 3
    train.fit(tiny.config(folder, "roomy", method="lp-ft", optimizer=None, lr=None, preset=None, num_epoch=2), SILENT)
    assert (folder / "run-0002.params").read_bytes() == (folder / "roomy-0002.params").read_bytes()


@pytest.mark.parametrize("name", ["run-history.csv", "run-curves.png"])
def test_a_history_that_cannot_be_written_costs_no_epoch_and_no_pause(folder, name):
    (folder / name).mkdir()
    told = Told()
    assert train.fit(tiny.config(folder, num_epoch=1), told).epochs == 1
    assert [note for note in told.notes if f"{name}: cannot be written: Is a directory; the checkpoints are" in note]
    assert checkpoint.load(str(folder / "run")).epoch == 1

    stop = StopRequest()
    with pytest.raises(Interrupted):
        train.resume(folder / "run", {"num_epoch": 2}, StopAfter(stop, 1), stop=stop)
    assert json.loads((folder / "run.json").read_text())["pause"]["epoch"] == 2
    (folder / name).rmdir()
    train.resume(folder / "run", progress=SILENT)
    assert len((folder / "run-history.csv").read_text().splitlines()) == 3
    assert (folder / "run-curves.png").is_file()


NO_MEMORY = """
import resource, sys
sys.path.insert(0, sys.argv[1])
import pathlib, tiny
from mxml import fit
from mxml.errors import DeviceError
from mxml.progress import SILENT
import mxml.training.run
pages = int(open("/proc/self/statm").read().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (int(sys.argv[3]) << 20),) * 2)
config = tiny.config(pathlib.Path(sys.argv[2]), image_shape=(3, 1024, 1024), batch_size=64, decode_threads=1)
try:
    fit(config, SILENT)
except DeviceError as error:
    print(error)
"""


# The first is too little for a batch in Python, the second for what MXNet binds.
@pytest.mark.parametrize("megabytes", [400, 700])
def test_too_little_memory_is_one_line_that_names_the_batch_size(folder, checkout, megabytes):
    done = run(NO_MEMORY, checkout / "tests", folder, megabytes)
    assert re.fullmatch(r".*\b64 images.*; reduce `batch_size`\n", done.stdout), done.stderr
