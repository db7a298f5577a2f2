"""Runs of several workers on this machine: what they compute, and how they end."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import shlex
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny

from mxml.data.lst_file import read_lst, write_lst
from mxml.model import params_file
from mxml.model.sidecar import Stamp
from mxml.progress import SILENT
from mxml.runtime.imports import load_mxnet
from mxml.training import fit as train
from mxml.training.config import TrainConfig
from mxml.training.launching.addresses import reserved_port

mx = load_mxnet()
HERE = Path(__file__).parent
# Images that fill no batch and do not share out evenly, and rows of the last batch that are padding for two workers.
SETTINGS: dict[str, Any] = {"batch_size": 9, "num_epoch": 3, "optimizer": "adamw", "lr": 0.005, "seed": 3}


def make_plain_network(prefix):
    """Write a network without BatchNorm and dropout, which depend on who has which rows of a batch."""
    tiny.make_network(prefix, dropout=0, batch_norm=False)


@pytest.fixture
def folder(tmp_path):
    tiny.make_data(tmp_path, train=40, val=13)
    return tmp_path


@pytest.fixture
def worker(tmp_path):
    """A command called mxml that is ``mxml train`` with the events of worker.py."""
    path = tmp_path / "bin" / "mxml"
    path.parent.mkdir()
    code = f"import runpy, sys; sys.path.insert(0, {str(HERE)!r}); runpy.run_path({str(HERE / 'worker.py')!r}, None, "
    path.write_text(f"#!{sys.executable}\n{code}'__main__')\n")
    path.chmod(0o755)
    return path


def command(*words, **options):
    """Return the words of mxml launch, up to the workers' command."""
    more = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    return [sys.executable, "-m", "mxml", "launch", *more, "--", *map(str, words)]


def run(words, folder, **environment):
    """Run a command to its end; nothing that it has started, however indirectly, may outlive it."""
    env = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    with remaining() as left:
        done = subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True, timeout=300)
    assert not left, done.stderr
    return done


@contextlib.contextmanager
def remaining():
    """Yield a list that holds afterwards the command lines of the processes that are new."""
    before = set(run_processes())
    left: list[str] = []
    yield left
    left += [line for pid, line in run_processes().items() if pid not in before]


def run_processes():
    """Return the processes of this test's user that belong to a run, by number: nodes, and what they start."""
    found = {}
    marker = f"TEST_OF={os.getpid()}"
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if marker in (entry / "environ").read_text(errors="replace").split("\0"):
                line = (entry / "cmdline").read_text(errors="replace").replace("\0", " ")
                if int(entry.name) != os.getpid() and line:
                    found[int(entry.name)] = line
    return found


@pytest.fixture(autouse=True)
def marked(monkeypatch):
    monkeypatch.setenv("TEST_OF", str(os.getpid()))


def close(one, other):
    """Assert that two files hold the same arrays to 1e-4."""
    one, other = (params_file.read_params(str(path)) for path in (one, other))
    assert one.keys() == other.keys()
    for name, array in one.items():
        np.testing.assert_allclose(array.asnumpy(), other[name].asnumpy(), rtol=1e-4, atol=1e-4, err_msg=name)


def same_run(folder, one, other, epoch):
    """Assert that two runs have the same files, parameters, states and metrics."""
    names = [sorted(path.name[len(run) :] for path in folder.glob(f"{run}[.-]*")) for run in (one, other)]
    assert names[0] == names[1]
    for ending in ("params", "states"):
        close(folder / f"{one}-{epoch:04d}.{ending}", folder / f"{other}-{epoch:04d}.{ending}")
    rows = [np.genfromtxt(folder / f"{run}-history.csv", delimiter=",", names=True) for run in (one, other)]
    for column in ("epoch", "lr", "train_loss", "train_accuracy", "val_loss", "mAP", "CF1", "OF1", "hamming"):
        np.testing.assert_allclose(rows[0][column], rows[1][column], atol=1e-4, err_msg=column)


def resume_line(done):
    line = done.stderr.splitlines()[-1]
    before, _, words = line.partition("the run can be resumed: ")
    assert before == "mxml: "
    first, *rest = shlex.split(words)
    assert first == "mxml"
    return [sys.executable, "-m", "mxml", *rest]


def test_three_workers_compute_what_one_process_does_and_listen_on_loopback(folder, worker):
    make_plain_network(folder / "net")
    changes = {**SETTINGS, "mixup": 0.4, "cutmix": 1.0}
    train.fit(tiny.config(folder, "alone", **changes), SILENT)
    arguments = tiny.arguments(folder, "run", **changes)
    done = run(command(worker, "train", *arguments, workers=3), folder, WORKER_EVENT="2 3 look")
    assert done.returncode == 0, done.stderr
    same_run(folder, "alone", "run", 3)
    # The first worker alone speaks.
    assert done.stderr.count("epoch 3/3") == done.stdout.count("best epoch") == 1
    listening = json.loads((folder / "listening").read_text())
    assert sorted(role for role, _ in listening) == ["scheduler", "server", "worker", "worker", "worker"]
    assert {address for _, address in listening} == {"127.0.0.1"}


def from_features(folder, prefix, **changes):
    """Return the settings of a run that fits a head to features first, and finds out its lists and its preset."""
    changes = {**SETTINGS, "batch_size": 8, "num_epoch": 2, "method": "lp-ft", **changes}
    found = tiny.settings(folder, prefix, **changes)
    for name in ("data_train", "data_val", "image_train", "image_val", "preset"):
        del found[name]
    return {**found, "data": (str(folder / "labels.csv"),), "data_root": str(folder / "images")}


def as_options(settings):
    """Return settings as options of mxml train."""
    texts = {name: ",".join(map(str, value)) if isinstance(value, tuple) else value for name, value in settings.items()}
    return [word for name, text in texts.items() for word in (f"--{name.replace('_', '-')}", str(text))]


@pytest.fixture
def labelled(folder):
    """A folder with a plain network and a table of labels."""
    make_plain_network(folder / "net")
    images = read_lst(folder / "lists" / "train.lst", folder / "images")
    rows = [[images.name(at), *map(str, images.labels[at])] for at in range(len(images))]
    (folder / "labels.csv").write_text("\n".join(map(",".join, [["image", *tiny.LABELS], *rows])) + "\n")
    return folder


def kept_vectors(path):
    with contextlib.closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT source, image, vector FROM vectors").fetchall()
    return {(source, image): np.frombuffer(vector, "<f4") for source, image, vector in rows}


def test_workers_share_out_the_features_and_fine_tune_the_same_head(labelled, worker):
    alone, together = (from_features(labelled, name, keep="all") for name in ("alone", "run"))
    train.fit(TrainConfig.of(alone), SILENT)
    (labelled / "features.sqlite").rename(labelled / "expected.sqlite")
    done = run(command(worker, "train", *as_options(together), workers=2), labelled)
    assert done.returncode == 0, done.stderr
    close(labelled / "alone-0001.params", labelled / "run-0001.params")
    same_run(labelled, "alone", "run", 2)
    found, expected = (kept_vectors(labelled / name) for name in ("features.sqlite", "expected.sqlite"))
    assert found.keys() == expected.keys() and len(found) >= 40
    for name, vector in found.items():
        np.testing.assert_allclose(vector, expected[name], rtol=1e-5, atol=1e-5)


def test_workers_on_processors_that_differ_compute_the_same_features(folder, checkout):
    options = ["--labels", checkout / "lists" / "labels.txt"]
    for subset in ("train", "val"):
        some = read_lst(checkout / "lists" / f"{subset}.lst", str(checkout / "images"), 8).select(np.arange(40))
        write_lst(folder / f"{subset}.lst", some)
        options += [f"--data-{subset}", folder / f"{subset}.lst", f"--image-{subset}", checkout / "images"]
    options += ["--model", checkout / "models" / "sample", "--image-shape", "3,96,96", "--method", "features"]
    script = '[ "$DMLC_WORKER_ID" = 1 ] && export DNNL_MAX_CPU_ISA=AVX512_CORE; exec "$@"'
    words = [sys.executable, "-m", "mxml", "train", *options, "--prefix", folder / "run"]
    done = run(command("sh", "-c", script, "sh", *words, workers=2), folder)
    assert done.returncode == 0, done.stderr
    (folder / "features.sqlite").rename(folder / "together.sqlite")

    done = run([*words[:-1], folder / "alone"], folder, DNNL_MAX_CPU_ISA="AVX512_CORE")
    assert done.returncode == 0, done.stderr
    found, expected = (kept_vectors(folder / name) for name in ("together.sqlite", "features.sqlite"))
    assert expected.keys() <= found.keys()


def test_workers_go_back_together_to_the_epoch_before_a_divergence(labelled, worker):
    # Epoch 2 diverges at this rate, and not at a tenth of it.
    changes: dict[str, Any] = {"optimizer": "sgd", "lr": 5.0, "num_epoch": 3}
    train.fit(TrainConfig.of(from_features(labelled, "alone", **changes)), SILENT)
    options = from_features(labelled, "run", **changes)
    done = run(command(worker, "train", *as_options(options), workers=2), labelled)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("training diverged in epoch 2") == done.stderr.count("resuming after epoch 1") == 1
    same_run(labelled, "alone", "run", 3)


def test_a_worker_that_is_killed_ends_all_and_the_printed_command_resumes_the_run(folder, worker):
    make_plain_network(folder / "net")
    train.fit(tiny.config(folder, "alone", **SETTINGS), SILENT)
    arguments = tiny.arguments(folder, "run", **SETTINGS)
    # In the second epoch of three.
    done = run(command(worker, "train", *arguments, workers=3), folder, WORKER_EVENT="1 7 kill")
    assert done.returncode == 128 + signal.SIGKILL
    assert "worker 1 has ended with signal SIGKILL; all others end" in done.stderr
    assert "worker 1: 40 images to train on, 13 to validate on, 3 labels" in done.stderr
    assert not (folder / "run-0002.params").exists()
    resumed = run(resume_line(done), folder)
    assert resumed.returncode == 0, resumed.stderr
    assert "resuming after epoch 1" in resumed.stderr
    same_run(folder, "alone", "run", 3)


FAKE_SSH = """#!{python}
import os, sys
with open({log!r}, "a") as log:
    print(*sys.argv[1:], file=log)
os.chdir("/")
os.execvp("sh", ["sh", "-c", sys.argv[-1]])
"""


def test_an_interrupt_is_saved_after_the_same_step_and_resumes_bit_for_bit(folder, worker):
    """Two workers by ssh, with BatchNorm, dropout and averaged weights; sums of two do not depend on their order."""
    ssh = folder / "ssh-bin" / "ssh"
    ssh.parent.mkdir()
    ssh.write_text(FAKE_SSH.format(python=sys.executable, log=str(folder / "ssh.log")))
    ssh.chmod(ssh.stat().st_mode | stat.S_IXUSR)
    (folder / "hosts").write_text("# two machines\nfirst.cluster\n\nme@second.cluster  # with a GPU\n")
    by_ssh = {"workers": 2, "servers": 2, "hosts": folder / "hosts", "interface": "lo"}
    path = f"{ssh.parent}:{os.environ['PATH']}"
    changes = {**SETTINGS, "batch_size": 8, "ema": 0.9}
    arguments = tiny.arguments(folder, "run", **changes)
    done = run(command(worker, "train", *arguments, **by_ssh), folder, PATH=path, WORKER_EVENT="1 8 interrupt")
    assert done.returncode == 128 + signal.SIGINT, done.stderr
    assert "stopped by SIGINT in epoch 2 after batch" in done.stderr and "all others end" not in done.stderr
    assert (folder / "run-paused.params").exists()
    resumed = run(resume_line(done), folder, PATH=path)
    assert resumed.returncode == 0 and "resuming in epoch 2 after batch" in resumed.stderr, resumed.stderr
    whole = run(command(worker, "train", *tiny.arguments(folder, "whole", **changes), workers=2), folder)
    assert whole.returncode == 0, whole.stderr
    same_run(folder, "run", "whole", 3)
    for ending in ("params", "states"):
        assert (folder / f"run-0003.{ending}").read_bytes() == (folder / f"whole-0003.{ending}").read_bytes()
    lines = (folder / "ssh.log").read_text().splitlines()
    assert len(lines) == 8 and all("BatchMode=yes" in line for line in lines)
    assert {line.split(" -- ")[1].split()[0] for line in lines} == {"first.cluster", "me@second.cluster"}


SRUN = """#!{python}
import os, subprocess, sys
assert sys.argv[1] == "--kill-on-bad-exit=1"
tasks = [
    subprocess.Popen(sys.argv[2:], env={{**os.environ, "SLURM_PROCID": str(task)}})
    for task in range(int(os.environ["SLURM_NTASKS"]))
]
while tasks:
    pid, status = os.wait()
    tasks = [task for task in tasks if task.pid != pid]
    if status:
        for task in tasks:
            task.kill()
        sys.exit(1)
"""
IP = """#!/bin/sh
echo "1: $6    inet 127.0.0.1/8 scope host lo"
"""


def test_the_slurm_script_of_the_document_trains_like_a_process_with_two_devices(folder, checkout):
    # With BatchNorm, which sees half a batch in both.
    tiny.make_network(folder / "net", dropout=0)
    changes = {**SETTINGS, "batch_size": 8, "num_epoch": 1}
    # In a process of its own, which has as many threads as each of the script's.
    alone = [sys.executable, "-m", "mxml", "train", *tiny.arguments(folder, "alone", **changes, device="cpu:0,1")]
    assert run(alone, folder).returncode == 0
    text = (checkout / "docs" / "several-machines.md").read_text(encoding="utf-8")
    (script,) = (block for block in re.findall(r"```text\n(.*?)```", text, re.S) if "#SBATCH" in block)
    (folder / "job.sh").write_text(script)
    (folder / "fakes").mkdir()
    for name, content in (("srun", SRUN.format(python=sys.executable)), ("ip", IP)):
        (folder / "fakes" / name).write_text(content)
        (folder / "fakes" / name).chmod(0o755)
    with reserved_port("127.0.0.1") as keeper:
        script = script.replace("20000 + SLURM_JOB_ID % 10000", str(keeper.getsockname()[1]))
        (folder / "job.sh").write_text(script)
        done = run(
            ["bash", "job.sh", *tiny.arguments(folder, "run", **changes)],
            folder,
            PATH=f"{folder / 'fakes'}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            INTERFACE="lo",
            SERVERS="1",
            SLURM_NTASKS="4",
            SLURM_JOB_ID="1",
            SLURM_CPUS_PER_TASK="1",
        )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("best epoch: 1") == 1
    same_run(folder, "alone", "run", 1)


def test_workers_exchange_what_each_of_them_has_and_servers_run_no_pickles(tmp_path):
    done = run(command(sys.executable, HERE / "exchange.py", tmp_path / "evil", workers=3, servers=2), tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "exchanged\n" and not (tmp_path / "evil").exists()


def test_a_worker_that_fails_ends_all_with_its_status_and_last_lines(tmp_path):
    # The other one would go on for ever.
    script = 'if [ $DMLC_WORKER_ID = 1 ]; then echo "no such list" >&2; exit 3; fi; kill -STOP $$'
    done = run(command("sh", "-c", script, workers=2), tmp_path)
    assert done.returncode == 3
    assert done.stderr == "worker 1 has ended with status 3; all others end\nworker 1: no such list\n"


FAKE_TRAINING = """#!/bin/sh
[ $DMLC_WORKER_ID = 0 ] || exec sleep 1000
echo "$MXML_RESUMING"
case $* in *begins*) echo new > run.json ;; esac
exit 1
"""


@pytest.mark.parametrize("begins", [True, False])
def test_a_run_that_was_to_replace_another_is_resumed_only_once_it_has(tmp_path, begins):
    mxml = tmp_path / "mxml"
    mxml.write_text(FAKE_TRAINING)
    mxml.chmod(0o755)
    (tmp_path / "run.json").write_text("old")
    settings = ["--model", "begins" if begins else "ends", "--prefix", str(tmp_path / "run")]
    done = run(command(mxml, "train", "--force", *settings, workers=2), tmp_path)
    assert done.returncode == 1
    before, given = ["mxml", "launch", "--workers", "2", "--"], [str(mxml), "train"]
    resuming = shlex.join([*before, *given, *settings, "--resume"])
    assert done.stdout == f"{resuming}\n"
    again = shlex.join([*before, *given, "--force", *settings])
    as_it_was = f"mxml: the run that it was to replace is as it was; to start again: {again}"
    assert done.stderr.splitlines()[-1] == (f"mxml: the run can be resumed: {resuming}" if begins else as_it_was)


@pytest.mark.parametrize("there", [True, False])
def test_a_forced_run_on_storage_that_is_not_mounted_here_is_not_said_to_have_begun(tmp_path, there):
    for name, content in (("mxml", FAKE_TRAINING), ("ssh", FAKE_SSH.format(python=sys.executable, log="/dev/null"))):
        (tmp_path / name).write_text(content)
        (tmp_path / name).chmod(0o755)
    (tmp_path / "hosts").write_text("first.cluster\n")
    sidecar = tmp_path / "run.json"
    if there:
        sidecar.write_text("old")
    settings = ["--model", "ends", "--prefix", str(tmp_path / "run")]
    words = command(tmp_path / "mxml", "train", "--force", *settings, workers=1, hosts="hosts", interface="lo")
    done = run(words, tmp_path, PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert done.returncode == 1
    launch = ["mxml", "launch", "--workers", "1", "--hosts", "hosts", "--interface", "lo", "--"]
    again = shlex.join([*launch, str(tmp_path / "mxml"), "train", "--force", *settings])
    resuming = shlex.join([*launch, str(tmp_path / "mxml"), "train", *settings, "--resume"])
    both = (
        f"mxml: {sidecar} cannot be read on this machine; if the new run has begun, it can be resumed: {resuming}; if "
        f"the run that it was to replace is as it was, start again: {again}"
    )
    as_it_was = f"mxml: the run that it was to replace is as it was; to start again: {again}"
    assert done.stderr.splitlines()[-1] == (as_it_was if there else both)


def test_a_job_that_could_not_begin_is_started_again_also_as_a_module_of_python(tmp_path):
    program = [sys.executable, "-W", "ignore", "-m", "mxml", "train"]
    options = ["--model", "none", "--data", "none.csv", "--prefix", "run"]
    done = run(command(*program, *options, workers=1), tmp_path)
    assert done.returncode == 1
    again = ["mxml", "launch", "--workers", "1", "--", *program, *options]
    assert done.stderr.splitlines()[-1] == f"mxml: no run has begun; to start again: {shlex.join(again)}"


@pytest.mark.parametrize(
    "part", ["opening images", "comparing both lists", "trying the preset", "sum of the validation"]
)
def test_a_signal_in_what_the_first_worker_does_for_all_ends_all(labelled, part):
    """The others wait for it: where they were not told, this would never end."""
    # Outside of the run's folder, so that they are known by their sum.
    settings = {**from_features(labelled, "runs/run"), "prefix": str(labelled / "runs" / "run")}
    (labelled / "runs").mkdir()
    (labelled / "settings.json").write_text(json.dumps(settings))
    done = run(command(sys.executable, HERE / "stopped.py", "settings.json", part, workers=2), labelled)
    assert done.returncode == 0, done.stderr
    for rank in "01":
        told = (labelled / f"stopped-{rank}").read_text()
        assert told == "stopped by SIGTERM before the run began; to go on, start it again as before"
    assert not (labelled / "runs" / "run.json").exists()


def test_the_first_worker_moves_lists_before_any_reads_them_and_alone_shows_how_far_it_is(folder):
    """A process was killed as it moved lists into place; the first worker holds until the other waits, or has read."""
    make_plain_network(folder / "net")
    lists, begun = folder / "run-lists", folder / "run-lists" / "begun"
    shutil.copytree(folder / "lists", lists)
    begun.mkdir()
    for name in ("train", "val"):
        lines = (lists / f"{name}.lst").read_text().splitlines(keepends=True)
        (begun / f"{name}.lst").write_text("".join(lines[1:]))
    new = {name: Stamp.of(begun / f"{name}.lst").sha256 for name in ("train", "val")}
    os.mkfifo(folder / "fifo")
    paths = {f"data_{name}": str(lists / f"{name}.lst") for name in ("train", "val")}
    settings = tiny.settings(folder, "run", **{**SETTINGS, **paths, "batch_size": 8, "num_epoch": 1})
    (folder / "settings.json").write_text(json.dumps(settings))
    done = run(
        command(sys.executable, HERE / "telling.py", "settings.json", "fifo", workers=2),
        folder,
        PYTHONPATH=os.pathsep.join([str(HERE.parent), os.environ.get("PYTHONPATH", "")]),
    )
    assert done.returncode == 0, done.stderr
    sidecar = json.loads((folder / "run.json").read_text())
    assert {name: used["sha256"] for name, used in sidecar["data"].items()} == new
    assert not begun.exists()

    told = [json.loads((folder / f"told-{rank}").read_text()) for rank in "01"]
    size = "39 images to train on, 12 to validate on, 3 labels"
    looked = ["looking for the images", 39, 0]
    assert [(size in notes, looked in parts) for notes, parts in told] == [(True, True), (True, False)]


def test_a_time_limit_names_the_command_that_resumes_all_workers(folder, worker):
    make_plain_network(folder / "net")
    changes = {**SETTINGS, "batch_size": 8}
    train.fit(tiny.config(folder, "run", **{**changes, "num_epoch": 1}), SILENT)
    more = ["--resume", "--time-limit", "0.000001"]
    done = run(command(worker, "train", *tiny.arguments(folder, "run", **changes), *more, workers=2), folder)
    assert done.returncode == 0, done.stderr
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("not finished"))
    before, _, words = line.partition("; continue with: ")
    assert before == "not finished"
    assert shlex.split(words)[:7] == ["mxml", "launch", "--workers", "2", "--", str(worker), "train"]
    assert "--resume" in words


def test_what_a_worker_has_started_ends_too_when_launch_is_killed(tmp_path):
    script = "echo up; sleep 1000 & wait"
    words = command("sh", "-c", script, workers=2)
    with subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "up\n"
        handles = [os.pidfd_open(pid) for pid in run_processes() if pid != process.pid]
        process.kill()
        for handle in handles:
            assert select.select([handle], [], [], 60)[0], "a process of the run is still there"
            os.close(handle)
    assert not run_processes()


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        ({"workers": 2, "interface": "8.8.8.8"}, 1, "8.8.8.8: is not an address of a private network"),
        ({"workers": 2, "interface": "eth99"}, 1, "eth99: is no IPv4 address, and no network interface here"),
        ({"workers": 2, "hosts": "hosts"}, 2, "--interface none: should be given with --hosts"),
        ({"workers": 2, "hosts": "bad", "interface": "lo"}, 1, "bad:2: '-oProxyCommand=evil': should be HOST or USER"),
        ({"workers": 2, "hosts": "absent", "interface": "lo"}, 1, "absent: cannot be read: No such file"),
        ({"workers": 0}, 2, "Invalid value for '--workers'"),
    ],
)
def test_a_job_that_cannot_be_started_is_refused(tmp_path, options, status, message):
    (tmp_path / "hosts").write_text("one\ntwo\n")
    (tmp_path / "bad").write_text("one\n-oProxyCommand=evil\n")
    done = run(command("true", **options), tmp_path)
    assert done.returncode == status and message in done.stderr and "Traceback" not in done.stderr
