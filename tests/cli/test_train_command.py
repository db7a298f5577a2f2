"""``mxml train`` as its users meet it: what it prints and logs, and what wrong input gets."""

import dataclasses
import json
import re
import shlex
import shutil

import click
import pytest
import tiny
from commands import ORIGINAL, snapshot

from mxml import __version__, cli, fit, resume
from mxml.cli.train import resume_command
from mxml.cli.wording import with_options
from mxml.progress import SILENT
from mxml.training.config import train_settings


def test_the_original_scripts_options_train_as_typed(trained):
    folder, out, err = trained
    for name in ("multi-symbol.json", "multi-0001.params", "multi-0002.params", "multi.json", "multi-history.csv"):
        assert (folder / "saved" / name).stat().st_size > 0
    told = (
        r"training saved/multi with mxml \S+\n40 images to train on, 12 to validate on, 3 labels\n"
        r"preprocessing: \w+, .*; --preset sets another\nstarting from net.*\n"
    )
    told += r"(epoch [12]/2: .* img/s.*\n){2}described .*, and would mark \S+% of the validation images\n"
    assert re.fullmatch(told, err), "no bar where there is no terminal"
    assert out.splitlines()[-1] == "next: mxml predict --prefix saved/multi"
    log = (folder / "saved" / "train.log").read_text().splitlines()
    typed = shlex.join(["mxml", "train", *shlex.split(ORIGINAL), "--keep", "all"])
    assert [line[20:] for line in log] == [f"mxml {__version__}: {typed}", *err.splitlines()]


def test_a_log_that_several_runs_share_says_which_run_begins_where(folder, mxml):
    assert mxml("train", *tiny.arguments(folder, "saved/second", num_epoch=1))[0] == 0
    assert mxml("train", "--prefix", "saved/second", "--resume", "--num-epoch", "2")[0] == 0
    log = [line[20:] for line in (folder / "saved" / "train.log").read_text().splitlines()]
    commands = [position for position, line in enumerate(log) if line.startswith("mxml ")]
    assert [log[position + 1] for position in commands] == [
        f"training saved/multi with mxml {__version__}",
        f"training {folder}/saved/second with mxml {__version__}",
        f"resuming saved/second with mxml {__version__}",
    ]
    assert log[commands[2]] == f"mxml {__version__}: mxml train --prefix saved/second --resume --num-epoch 2"


def test_an_option_given_on_resume_that_differs_is_refused_and_one_not_given_is_the_runs(folder, mxml):
    assert mxml("train", "--prefix", "saved/multi", "--resume", "--num-epoch", "3", "--decode-threads", "1")[0] == 0
    config = json.loads((folder / "saved" / "multi.json").read_text())["config"]
    assert (config["lr"], config["num_epoch"], config["batch_size"], config["keep"]) == (0.001, 3, 16, "all")


def test_the_command_and_the_library_train_the_same(folder, mxml):
    """A new run, and one that goes on with the settings that it has."""
    options = {"num_epoch": 1, "lr_schedule": "constant", "mean": (1.0, 2.0, 3.0), "freeze": ("bn0_*",)}
    code, out, _ = mxml("train", *tiny.arguments(folder, "command", **options), "--json")
    assert code == 0
    result = fit(tiny.config(folder, "library", **options), SILENT)
    printed, returned = json.loads(out), json.loads(json.dumps(dataclasses.asdict(result)))
    for value in (printed, returned):
        for name in ("seconds", "images_per_second"):
            assert value["best"].pop(name) > 0
        assert value.pop("prefix").startswith(str(folder))
    assert printed == returned
    assert mxml("train", "--prefix", folder / "command", "--resume", "--num-epoch", "2")[0] == 0
    resume(folder / "library", {"num_epoch": 2}, SILENT)
    for ending in ("0002.params", "0002.states"):
        assert (folder / f"command-{ending}").read_bytes() == (folder / f"library-{ending}").read_bytes()


def test_every_setting_is_an_option_with_its_help_and_no_other_list_names_them(mxml):
    code, out, _ = mxml("train", "--help")
    assert code == 0
    shown = " ".join(out.split()).replace("- ", "-")
    for name, known in train_settings().items():
        option = "--" + name.replace("_", "-")
        assert f" {option} " in shown or f" {option} /" in shown, option
        assert " ".join(re.sub(r"`(\w+)`", r"--\1", known.help).split()) in shown, option


def test_every_option_of_the_original_is_there(shared):
    text = (shared / "reference" / "mxnet-original-options.md").read_text().partition("Its graph")[0]
    options = set(re.findall(r"--[a-z-]+[a-z]", text))
    assert len(options) == 18
    command = cli.group.get_command(click.Context(cli.group), "train")
    assert command
    assert options <= {name for param in command.params for name in param.opts}


def test_a_run_killed_between_its_symbol_and_its_sidecar_starts_again(folder, mxml):
    shutil.copy("saved/multi-symbol.json", "run-symbol.json")
    arguments = tiny.arguments(folder, num_epoch=1)
    assert mxml("train", *arguments)[0] == 1
    code, out, _ = mxml("train", *arguments, "--resume", "--json")
    assert code == 0
    assert json.loads(out)["best_epoch"] == 1


# ---- what wrong input gets


def train(*changes):
    """Give the original's command line with the options in ``changes`` in place of its own."""
    return ("train", *shlex.split(ORIGINAL), "--save-name", "other", *changes)


RESUME = ("train", "--prefix", "saved/multi", "--resume")

USAGE = [
    (("train",), "say where the run's files go: --prefix PREFIX"),
    (
        ("train", "--prefix", "x"),
        r"missing --model or --network, --data-train, --data-val \(or --data in place of the lists\)",
    ),
    (train("--data", "images"), "--data-train lists/train.lst: should be left out with --data, of which"),
    (train("--data-root", "images"), "--data-root images: should be left out without --data"),
    (train("--model", "net-0000.params", "--epoch", "1"), r"--epoch 1: should be 0, as net-0000\.params says"),
    (("train", "--prefix", "x", "--resume"), "there is no run at x to resume"),
    (train("--nonsense"), "No such option:? '?--nonsense"),
    (train("more"), r"unexpected extra argument \(more\)"),
    (train("--prefix", "x"), "--prefix means the same as --save-result with --save-name"),
    (train("--save-name", "folder/"), "--save-name 'folder/': names no files"),
    (train("--device", "cpu"), "--gpus and --device mean the same"),
    (train("--gpus", "one"), "--gpus one: should be numbers of GPUs"),
    (train("--resume", "--force"), "--resume continues a run and --force replaces it"),
    (train("--lr", "fast"), "'--lr': 'fast' is not a valid float"),
    (train("--lr", "nan"), "--lr nan: should be above 0, at most 1000"),
    (train("--image-shape", "3,32"), "'3,32' has 2 numbers, should have 3"),
    (train("--image-shape", "1,32,32"), "--image-shape 1,32,32: should be 3,HEIGHT,WIDTH"),
    (train("--batch-size", "99999999"), "--batch-size 99999999: should be 1 to 65536"),
    (train("--kv-store", "dist_sync"), "--kv-store dist_sync: should be device or local on one machine"),
]
FAULTS = [
    (train("--model", "nonet"), r"nonet-symbol\.json: does not exist; similar prefixes: net,"),
    (train("--model", "nowhere/net"), r"nowhere/net-symbol\.json: does not exist, and neither does its folder"),
    (train("--model", "alone"), r"alone-0000\.params: does not exist"),
    (train("--epoch", "7", "--num-epoch", "9"), r"net-0007\.params: does not exist; existing epochs: 0"),
    (train("--model", "folder"), r"folder-0000\.params: is not a file"),
    (train("--model", "text"), r"text-0000\.params: is not an MXNet parameter file"),
    (train("--model", "cut"), r"cut-0000\.params: is cut short or damaged"),
    (train("--model", "garbage"), r"garbage-symbol\.json: is not a symbol file: not JSON"),
    (train("--data-train", "lists/none.lst"), r"lists/none\.lst: cannot be read: No such file"),
    (
        train("--data-train", "lists"),
        "lists: is a folder, should be an image list; mxml make-lst or mxml convert makes",
    ),
    (train("--data-val", "lists/wide.lst"), r"wide\.lst: every line has 4 labels, should be 3"),
    (train("--num-classes", "4"), r"train\.lst: every line has 3 labels, should be 4"),
    (train("--labels", "two.txt"), r"two\.txt: has 2 labels, should be 3"),
    (
        train("--image-train", "lists"),
        r"40 of 40 images do not exist, such as lists/1-0\.png; --image-train says which folder",
    ),
    (("train", "--model", "net", "--prefix", "x", "--data", "no.csv"), r"no\.csv: does not exist, should be a file of"),
    (("train", "--model", "net", "--prefix", "x", "--data", "empty"), "empty: holds no images"),
    (
        ("train", "--model", "net", "--prefix", "x", "--data", "two.txt"),
        r"labels in no known format; set --from to one of.*mxml make-lst",
    ),
    (train("--gpus", "0"), "cannot use a GPU .*; use the CPU"),
    (train("--image-shape", "3,1,1"), r"does not take images of shape \(3, 1, 1\)"),
    (train("--layer", "nonsense"), r"there is no layer 'nonsense'; .* likely: flatten0 \(8,\)"),
    (train("--save-name", "multi"), r"saved/multi\.json: already exists; continue with --resume"),
    (train("--save-name", "multi", "--force", "--freeze", "no*"), r"--freeze no\*: names no parameter"),
    (train("--save-name", "multi", "--force", "--model", "text"), "is not an MXNet parameter file"),
    (train("--save-result", "/proc/mxml"), "/proc/mxml: cannot be made"),
    ((*RESUME, "--lr", "3"), "--lr 3: the run to resume has 0.001"),
    (("train", "--prefix", "hurt", "--resume"), r"hurt\.json: is not JSON .*epochs on disk: 2"),
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
    *told, last = err.splitlines()
    assert re.match("mxml: .*" + message, last), err
    if code == 2:
        assert told == []
        assert last.endswith("; see mxml train --help")
    else:
        # What a run says before it finds the fault: never more than where it is and what it read.
        assert all(
            re.match(r"(training|resuming) .* with mxml|40 images to train on|preprocessing: |starting from", line)
            for line in told
        ), err
    assert snapshot(wrong) == before


def test_every_fault_of_a_list_has_its_line(folder, mxml):
    (folder / "lists" / "train.lst").write_text("0\t1\t0\t0\ta.png\nrubbish\n2\t1\t0\t7\tb.png\n")
    code, _, err = mxml(*train())
    assert code == 1
    told, second, third = err.splitlines()
    assert told.startswith("training saved/other with mxml ")
    assert second.startswith("mxml: lists/train.lst:2: ") and third.startswith("lists/train.lst:3: ")


def test_a_message_about_another_command_shows_its_options():
    command = cli.group.get_command(click.Context(cli.group), "train")
    text = "a `lr` and `group_by` (mxml make-lst has `group_by`): mxml check a.lst `root` photos, `nonsense`"
    shown = "a --lr and --group-by (mxml make-lst has --group-by): mxml check a.lst --root photos, `nonsense`"
    assert with_options(text, command) == shown


def test_a_run_on_labelled_images_says_how_to_go_on_where_they_are_elsewhere(folder, mxml):
    shutil.move(folder / "images", folder.parent / "photos")
    (folder / "photos.csv").write_text("image,red,blue\n" + "".join(f"1-{i}.png,{i % 2},1\n" for i in range(40)))
    options = ["--model", "net", "--image-shape", "3,32,32", "--batch-size", "8", "--device", "cpu", "--num-epoch", "1"]
    source = ["--data", "photos.csv", "--data-root", folder.parent / "photos"]
    code, _, err = mxml("train", *options, *source, "--prefix", "saved/far")
    assert code == 0, err
    lists = "saved/far-lists/train.lst saved/far-lists/val.lst"
    assert f"\nall of it: mxml check {lists} --root {folder.parent / 'photos'}\n" in err
    go_on = resume_command("saved/far")
    assert go_on == "mxml train --prefix saved/far --resume"
    assert mxml(*shlex.split(go_on)[1:], "--num-epoch", "2")[0] == 0


def test_a_log_that_cannot_be_written_costs_no_run(folder, mxml):
    (folder / "saved" / "train.log").unlink()
    (folder / "saved" / "train.log").mkdir()
    sentence = "saved/train.log: cannot be written: Is a directory; its lines are added once that is possible"
    for command in ((*RESUME, "--num-epoch", "3"), train("--save-name", "multi", "--num-epoch", "1", "--force")):
        code, _, err = mxml(*command)
        assert code == 0 and err.splitlines().count(sentence) == 1, err


def test_what_a_run_says_to_type_next_can_be_typed(folder, mxml):
    """Also where the images are elsewhere: predict and a resume know them by their sums."""
    shutil.move(folder / "images", folder.parent / "elsewhere")
    options = tiny.arguments(
        folder, "far", image_train=folder.parent / "elsewhere", image_val=folder.parent / "elsewhere"
    )
    code, out, err = mxml("train", *options)
    assert code == 0, err
    (said,) = [line.removeprefix("next: mxml ") for line in out.splitlines() if line.startswith("next: ")]
    code, out, err = mxml(*shlex.split(said))
    assert (code, out.count("\n")) == (0, 12), err
    go_on = resume_command(str(folder / "far"))
    assert mxml(*shlex.split(go_on)[1:], "--num-epoch", "4")[0] == 0


def test_a_resume_with_nothing_left_to_train_says_so(folder, mxml):
    def told(*arguments):
        code, _, err = mxml("train", *arguments)
        assert code == 0, err
        return [line for line in err.splitlines() if line.startswith("nothing left to train")]

    assert told("--prefix", "saved/multi", "--resume") == [
        "nothing left to train: it has 2 epochs; raise --num-epoch, which is 2"
    ]
    assert told("--prefix", "saved/multi", "--resume", "--num-epoch", "3") == []
    settings = {"method": "features", "optimizer": "adamw", "lr": 0.001}
    assert told(*tiny.arguments(folder, "head", **settings)) == []
    assert told("--prefix", str(folder / "head"), "--resume") == [
        "nothing left to train: its head is fitted; fine-tune it with --method lp-ft"
    ]
    assert told("--prefix", str(folder / "head"), "--resume", "--method", "lp-ft", "--num-epoch", "1") == [
        "nothing left to train: it has 1 epoch; raise --num-epoch, which is 1"
    ]
