"""The command line as its users meet it: whole commands, what they print, and what wrong input gets."""

import io
import json
import os
import re
import shlex
import shutil
import sys
import time

import pytest
import tiny
from commands import ORIGINAL
from refusals import check_refusal

from mxml import cli
from mxml.cli.progress import ConsoleProgress

# ---- what commands do


def test_the_original_scripts_options_train_as_typed(trained):
    folder, out, err = trained
    for name in ("multi-symbol.json", "multi-0001.params", "multi-0002.params", "multi.json", "multi-history.csv"):
        assert (folder / "saved" / name).stat().st_size > 0
    assert re.fullmatch(r"starting from net.*\n(epoch [12]/2: .* img/s.*\n){2}", err), (
        "no bar where there is no terminal"
    )
    assert out.splitlines()[-1] == "next: mxml predict --prefix saved/multi"
    log = (folder / "saved" / "train.log").read_text().splitlines()
    assert [line[20:] for line in log] == err.splitlines()


def test_every_option_of_the_original_is_there(shared):
    text = (shared / "reference" / "mxnet-original-options.md").read_text().partition("Its graph")[0]
    options = set(re.findall(r"--[a-z-]+[a-z]", text))
    assert len(options) == 18
    command = cli.group.get_command(None, "train")
    assert options <= {name for param in command.params for name in param.opts}


def test_a_run_killed_between_its_symbol_and_its_sidecar_starts_again(folder, mxml):
    shutil.copy("saved/multi-symbol.json", "run-symbol.json")
    arguments = tiny.arguments(folder, num_epoch=1)
    assert mxml("train", *arguments)[0] == 1
    code, out, _ = mxml("train", *arguments, "--resume", "--json")
    assert code == 0
    assert json.loads(out)["best_epoch"] == 1


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


def train(*changes):
    """Give the original's command line with the options in ``changes`` in place of its own."""
    return ("train", *shlex.split(ORIGINAL), "--save-name", "other", *changes)


RUN = ("--prefix", "saved/multi")
RESUME = ("train", *RUN, "--resume")

USAGE = [
    (("nonsense",), "No such command 'nonsense'"),
    (("train",), "say where the run's files go: --prefix PREFIX"),
    (("train", "--prefix", "x"), "missing --model, --data-train, --image-train, --data-val, --image-val"),
    (("train", "--prefix", "x", "--resume"), "there is no run at x to resume"),
    (train("--nonsense"), "No such option:? '?--nonsense"),
    (train("more"), r"unexpected extra argument \(more\)"),
    (train("--prefix", "x"), "--prefix says the same as --save-result and --save-name"),
    (train("--save-name", "folder/"), "--save-name 'folder/': names no files"),
    (train("--device", "cpu"), "--gpus and --device say the same"),
    (train("--gpus", "one"), "--gpus one: should be numbers of GPUs"),
    (train("--resume", "--force"), "--resume goes on with a run and --force replaces it"),
    (train("--lr", "fast"), "'--lr': 'fast' is not a valid float"),
    (train("--lr", "nan"), "--lr nan: should be a positive number"),
    (train("--image-shape", "3,32"), "'3,32' has 2 numbers, should have 3"),
    (train("--image-shape", "1,32,32"), "--image-shape 1,32,32: should be 3,HEIGHT,WIDTH"),
    (train("--batch-size", "99999999"), "--batch-size 99999999: should be 1 to 65536"),
    (train("--kv-store", "dist_sync"), "several machines are not supported yet"),
]
FAULTS = [
    (train("--model", "nonet"), r"nonet-symbol\.json: is not there; the nearest prefixes that are: net, "),
    (
        train("--model", "net-0000.params"),
        "; the prefix of that file is net, its epoch 0",
    ),
    (train("--model", "nowhere/net"), r"nowhere/net-symbol\.json: is not there, nor is its folder"),
    (train("--model", "alone"), r"alone-0000\.params: is not there, and no PREFIX-NNNN\.params"),
    (train("--epoch", "7", "--num-epoch", "9"), r"net-0007\.params: is not there; epochs that are: 0"),
    (train("--model", "folder"), r"folder-0000\.params: is not a file"),
    (train("--model", "text"), r"text-0000\.params: is no MXNet parameter file"),
    (train("--model", "cut"), r"cut-0000\.params: is cut short or damaged"),
    (train("--model", "garbage"), r"garbage-symbol\.json: is no symbol file: not JSON"),
    (train("--data-train", "lists/none.lst"), r"lists/none\.lst: cannot be read: No such file"),
    (train("--data-train", "lists"), "lists: is a folder, should be a file"),
    (train("--data-val", "lists/wide.lst"), r"wide\.lst: every line has 4 labels, should be 3"),
    (train("--num-classes", "4"), r"train\.lst: every line has 3 labels, should be 4"),
    (train("--labels", "two.txt"), r"two\.txt: has 2 labels, should be 3"),
    (train("--image-train", "lists"), r"40 of 40 images are not there, such as lists/1-0\.png; check the image root"),
    (train("--gpus", "0"), "cannot use a GPU .*; set --device to cpu"),
    (train("--image-shape", "3,1,1"), r"does not take images of shape \(3, 1, 1\)"),
    (train("--layer", "nonsense"), r"there is no layer 'nonsense'; .* likely: flatten0 \(8,\)"),
    (train("--save-name", "multi"), r"saved/multi\.json: is there already; go on with --resume"),
    (train("--save-name", "multi", "--force", "--freeze", "no*"), r"--freeze no\*: names no parameter"),
    (train("--save-name", "multi", "--force", "--model", "text"), "is no MXNet parameter file"),
    (train("--save-result", "/proc/mxml"), "/proc/mxml: cannot be made"),
    ((*RESUME, "--lr", "3"), "--lr 3: the run to resume has 0.001"),
    (("train", "--prefix", "hurt", "--resume"), r"hurt\.json: is not JSON .*epochs on disk: 2"),
]


@pytest.mark.parametrize(
    ("code", "arguments", "message"), [*((2, *case) for case in USAGE), *((1, *case) for case in FAULTS)]
)
def test_wrong_input_gets_one_line_and_nothing_written(wrong, monkeypatch, mxml, code, arguments, message):
    monkeypatch.chdir(wrong)
    check_refusal(mxml, wrong, code, arguments, message)


def test_every_fault_of_a_list_has_its_line(folder, mxml):
    (folder / "lists" / "train.lst").write_text("0\t1\t0\t0\ta.png\nrubbish\n2\t1\t0\t7\tb.png\n")
    code, _, err = mxml(*train())
    assert code == 1
    assert [line.partition(" ")[0] for line in err.splitlines()] == ["mxml:", "lists/train.lst:3:"]
    assert err.startswith("mxml: lists/train.lst:2: ")


def test_a_full_disk_is_one_line(folder, mxml):
    if not os.path.exists("/dev/full"):
        pytest.skip("needs /dev/full")
    (folder / "saved" / "train.log").unlink()
    os.symlink("/dev/full", "saved/train.log")
    code, _, err = mxml(*train())
    assert code == 1
    assert err.splitlines()[-1] == "mxml: saved/train.log: cannot be written: No space left on device"


# ---- progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


FIGURES = dict.fromkeys(("train_loss", "val_loss", "mAP", "CF1", "OF1", "hamming", "element_accuracy"), 0.25)


@pytest.mark.parametrize("screen", [Terminal(), io.StringIO()])
def test_a_terminal_gets_a_bar_and_all_get_a_line_an_epoch(monkeypatch, tmp_path, screen):
    monkeypatch.setattr(sys, "stderr", screen)
    log = tmp_path / "train.log"
    with ConsoleProgress(str(log), 2) as progress:
        progress.note("before")
        assert not log.exists()
        progress.epoch_started(1, 64, 0)
        for _ in range(2):
            time.sleep(0.35)  # a bar is drawn three times a second
            progress.step_ended(32, 0.5, 0.01)
        progress.epoch_ended({**FIGURES, "mAP": None, "epoch": 1, "images_per_second": 123.4}, True)
    line = (
        "epoch 1/2: loss 0.2500, val loss 0.2500, mAP undefined, CF1 0.2500, OF1 0.2500, Hamming 0.2500, acc 0.2500, "
    )
    line += "123 img/s, best so far"
    shown = screen.getvalue()
    assert shown.startswith("before\n")
    assert shown.endswith(line + "\n")
    if screen.isatty():
        assert re.search(r"epoch 1/2: +50%.* 32/64 \[.*<.* img/s, loss 0\.5000, lr 0\.01\]", shown)
    else:
        assert shown == f"before\n{line}\n"
    assert [entry[20:] for entry in log.read_text().splitlines()] == ["before", line]


def test_the_log_ends_with_the_error_of_a_run_that_began(tmp_path):
    for name in ("never", "began"):
        with pytest.raises(ValueError), ConsoleProgress(str(tmp_path / name), 2) as progress:
            if name == "began":
                progress.epoch_started(1, 64, 0)
            raise ValueError("wrong")
    assert os.listdir(tmp_path) == ["began"]
    assert (tmp_path / "began").read_text().endswith(" ValueError: wrong\n")
