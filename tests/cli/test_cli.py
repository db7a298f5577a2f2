"""The command line as its users meet it: whole commands, what they print, and what wrong input gets."""

import io
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time

import pytest
import tiny

from mxml import cli
from mxml.cli.options import load_classifier
from mxml.cli.progress import ConsoleProgress

ORIGINAL = (
    "--model net --gpus '' --batch-size 16 --epoch 0 --image-shape 3,32,32 --data-train lists/train.lst "
    "--image-train images --data-val lists/val.lst --image-val images --num-classes 3 --lr 0.001 --num-epoch 2 "
    "--kv-store device --save-result saved --num-examples 40 --mom 0.9 --wd 0.0001 --save-name multi"
)


def process(folder, *arguments, **streams):
    return subprocess.Popen(
        [sys.executable, "-m", "mxml", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        # A shell's background jobs, and what they start, would ignore it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        **streams,
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder in which the original script's command line, as one types it, has trained; and what that printed."""
    folder = tmp_path_factory.mktemp("cli")
    tiny.make_data(folder)
    run = process(folder, "train", *shlex.split(ORIGINAL))
    out, err = run.communicate(timeout=120)
    assert run.returncode == 0, err
    return folder, out, err


@pytest.fixture
def folder(trained, tmp_path, monkeypatch):
    """A fresh copy of that folder, and the working directory."""
    shutil.copytree(trained[0], tmp_path / "d")
    monkeypatch.chdir(tmp_path / "d")
    return tmp_path / "d"


@pytest.fixture
def mxml(capfd, monkeypatch):
    """Return a function that runs a command in this process, and returns its exit code, stdout and stderr."""

    def run(*arguments):
        capfd.readouterr()
        monkeypatch.setattr(sys, "argv", ["mxml", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return end.value.code, *capfd.readouterr()

    return run


def records(out):
    return [json.loads(line) for line in out.splitlines()]


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


def test_predict_takes_the_validation_images_unless_told(folder, mxml):
    code, out, err = mxml("predict", "--prefix", "saved/multi")
    assert (code, err) == (0, "")
    listed = [line.split("\t")[-1] for line in (folder / "lists" / "val.lst").read_text().splitlines()]
    assert [line.partition(": ")[0] for line in out.splitlines()] == [f"images/{name}" for name in listed]


def test_predict_takes_files_folders_and_patterns(folder, mxml):
    (folder / "more").mkdir()
    shutil.copy("images/2-0.png", "more/copy.png")
    inputs = ("images/2-1.png", "more", "images/2-[01].png")
    code, out, _ = mxml("predict", "--prefix", "saved/multi", "--json", "--threshold", "0", *inputs)
    assert code == 0
    first, copy, zero, again = records(out)
    paths = [record["input_path"] for record in (first, copy, zero, again)]
    assert paths == ["images/2-1.png", "more/copy.png", "images/2-0.png", "images/2-1.png"]
    assert first["scores"] == again["scores"] != zero["scores"] == copy["scores"]
    assert sorted(zip(first["class_ids"], first["label_names"])) == list(enumerate(tiny.LABELS))
    assert first["scores"] == sorted(first["scores"], reverse=True)

    def labels(*options):
        return records(mxml("predict", "--prefix", "saved/multi", "--json", *options, "images/2-1.png")[1])[0]

    assert labels("--top-k", "2")["label_names"] == first["label_names"][:2]
    assert labels("--top-k", "99")["label_names"] == first["label_names"]
    assert labels("--threshold", "1")["label_names"] == []
    middle = (first["scores"][0] + first["scores"][1]) / 2
    assert labels("--threshold", middle)["label_names"] == first["label_names"][:1]


def test_predict_prints_one_line_an_image_whatever_its_name(folder, mxml):
    (folder / "odd").mkdir()
    for name in ("new\nline.png", "日本 é.png", "\udcff.png"):
        shutil.copy("images/2-0.png", f"odd/{name}")
    code, out, err = mxml("predict", "--prefix", "saved/multi", "--top-k", "1", "odd")
    assert (code, err) == (0, "")
    names = [line.rpartition(": ")[0] for line in out.splitlines()]
    assert names == [r"odd/new\nline.png", "odd/日本 é.png", r"odd/\udcff.png"]
    (folder / "odd" / "a\nb.png").write_bytes(b"")
    assert mxml("predict", "--prefix", "saved/multi", "odd/a\nb.png")[::2] == (
        1,
        "mxml: odd/a\\nb.png: the file is empty; --skip-bad goes on past such images\n",
    )


def test_drawings_of_images_with_one_name_stay_apart(folder, mxml):
    for name in ("one/x.png", "two/x.png", "two/x_2.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy("images/2-0.png", name)
    assert mxml("predict", "--prefix", "saved/multi", "one", "two", "--save-img", "drawn")[0] == 0
    assert len(os.listdir("drawn")) == 3
    assert "x_res.jpg" in os.listdir("drawn")


def test_unreadable_images_are_left_out_only_when_told(folder, mxml):
    (folder / "text.jpg").write_text("hello")
    predict = ("predict", "--prefix", "saved/multi", "--json")
    assert mxml(*predict, "text.jpg", "images/2-0.png")[:2] == (1, "")
    code, out, err = mxml(*predict, "--skip-bad", "text.jpg", "images/2-0.png")
    assert code == 0
    assert [record["input_path"] for record in records(out)] == ["text.jpg", "images/2-0.png"]
    assert "not an image" in records(out)[0]["error"]
    assert re.fullmatch(r"left out, cannot be read: text\.jpg: .*\n", err)
    assert mxml(*predict, "--skip-bad", "text.jpg")[0] == 1

    (folder / "images" / "2-3.png").write_bytes(b"")
    evaluate = ("evaluate", "--prefix", "saved/multi", "--json")
    assert mxml(*evaluate)[::2] == (1, "mxml: images/2-3.png: the file is empty; --skip-bad goes on past such images\n")
    judged = json.loads(mxml(*evaluate, "--skip-bad")[1])
    assert (judged["samples"], judged["bad"]) == (11, 1)


def test_evaluate_finds_the_figures_of_the_training(folder, mxml):
    sidecar = json.loads((folder / "saved" / "multi.json").read_text())
    for epoch in (1, 2):
        code, out, _ = mxml("evaluate", "--prefix", "saved/multi", "--epoch", epoch, "--json", "--batch-size", "5")
        assert code == 0
        judged, written = json.loads(out), sidecar["epochs"][epoch - 1]["metrics"]["val"]
        assert judged["epoch"] == epoch
        for name, value in written.items():
            if name != "per_class":
                assert judged[name] == pytest.approx(value, rel=1e-5), name
        assert [figures["name"] for figures in judged["per_class"]] == list(tiny.LABELS)
    best = json.loads(mxml("evaluate", "--prefix", "saved/multi", "--json")[1])
    assert best["epoch"] == sidecar["best_epoch"]
    text = mxml("evaluate", "--prefix", "saved/multi")[1]
    assert f"mAP                {best['mAP']:.4f}\n" in text
    assert re.search(r"^green +\d", text, re.M)


def test_the_old_checkpoint_evaluates_as_the_original_preprocesses(shared, mxml):
    data = shared / "data" / "miml-scene"
    prefix = shared / "models" / "legacy-multilabel"
    code, out, err = mxml(
        "evaluate", "--prefix", prefix, "--data", data / "val.lst", "--root", data / "images", "--json"
    )
    assert code == 0, err
    judged = json.loads(out)
    assert judged["samples"] == 200
    assert judged["element_accuracy"] == pytest.approx(0.8010, abs=0.002)
    assert judged["mAP"] == pytest.approx(0.701, abs=0.002)


def test_another_input_size_keeps_the_rest_of_the_preprocessing(folder):
    path = folder / "saved" / "multi.json"
    sidecar = json.loads(path.read_text())
    sidecar["preprocess"].update(short_side=40, channels="bgr", mean=[1, 2, 3])
    path.write_text(json.dumps(sidecar))
    options = dict.fromkeys(("epoch", "device", "gpus", "labels", "image_shape", "preset", "mean", "std", "channels"))

    def preprocess(**changes):
        return load_classifier(**{"prefix": "saved/multi", **options, **changes}).preprocess

    larger = preprocess(image_shape=(3, 64, 96))
    assert (larger.size, larger.short_side, larger.channels, larger.mean) == ((64, 96), 80, "bgr", (1, 2, 3))
    assert preprocess(std=(1.0, 1.0, 1.0)).std == (1, 1, 1)
    assert preprocess(preset="imagenet").channels == "rgb"
    assert preprocess(preset="imagenet").size == (32, 32)


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


def snapshot(folder):
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def wrong(trained, tmp_path_factory):
    """A folder with a trained run, models and lists that are each wrong in one way."""
    folder = tmp_path_factory.mktemp("wrong") / "d"
    shutil.copytree(trained[0], folder)
    symbol, params = (folder / name for name in ("net-symbol.json", "net-0000.params"))
    for name, content in (("text", b"hello\n" * 99), ("cut", params.read_bytes()[:-100])):
        shutil.copy(symbol, folder / f"{name}-symbol.json")
        (folder / f"{name}-0000.params").write_bytes(content)
    shutil.copy(params, folder / "garbage-0000.params")
    (folder / "garbage-symbol.json").write_text('{"nodes": 3')
    shutil.copy(symbol, folder / "folder-symbol.json")
    (folder / "folder-0000.params").mkdir()
    shutil.copy(symbol, folder / "alone-symbol.json")
    for name in ("-symbol.json", "-0002.params"):
        shutil.copy(folder / f"saved/multi{name}", folder / f"old{name}")
        shutil.copy(folder / f"saved/multi{name}", folder / f"hurt{name}")
    (folder / "hurt.json").write_text((folder / "saved" / "multi.json").read_text()[:300])
    lines = (folder / "lists" / "val.lst").read_text().splitlines()
    (folder / "lists" / "wide.lst").write_text("".join(line.replace("\t", "\t0\t", 1) + "\n" for line in lines))
    (folder / "two.txt").write_text("red\ngreen\n")
    (folder / "text.jpg").write_text("hello")
    (folder / "empty").mkdir()
    return folder


def train(*changes):
    """Give the original's command line with the options in ``changes`` in place of its own."""
    return ("train", *shlex.split(ORIGINAL), "--save-name", "other", *changes)


RUN = ("--prefix", "saved/multi")
RESUME = ("train", *RUN, "--resume")
EVALUATE, PREDICT = ("evaluate", *RUN), ("predict", *RUN)

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
    (("evaluate",), "Missing option '--prefix'"),
    (("evaluate", "--prefix", "old"), "names no validation list; give --data LST --root DIR"),
    ((*EVALUATE, "--data", "lists/val.lst"), "--data needs --root"),
    ((*EVALUATE, "--preset", "nonsense"), "'nonsense' is not known; choose from original"),
    (("predict", "--prefix", "old"), "names no validation list; name images, folders or patterns"),
    ((*PREDICT, "--threshold", "2"), "2.0 is not in the range"),
    ((*PREDICT, "--threshold", "nan"), "not a number from 0 to 1"),
    ((*PREDICT, "--top-k", "-1"), "-1 is not in the range"),
]
FAULTS = [
    (train("--model", "nonet"), r"nonet-symbol\.json: is not there; prefixes that are: .*net, old"),
    (train("--model", "nowhere/net"), r"nowhere/net-symbol\.json: is not there, nor is its folder"),
    (train("--model", "alone"), r"alone-0000\.params: is not there"),
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
    (("evaluate", "--prefix", "hurt"), r"hurt\.json: is not JSON .*move it away"),
    (("evaluate", "--prefix", "net"), r"net-symbol\.json: .* is no multi-label network; fine-tune it first"),
    (("evaluate", "--prefix", "multi"), r"multi-symbol\.json: is not there; prefixes that are: "),
    ((*EVALUATE, "--epoch", "9"), r"multi-0009\.params: is not there; epochs that are: 1, 2"),
    ((*EVALUATE, "--data", "lists/wide.lst", "--root", "images"), "every line has 4 labels, should be 3"),
    ((*EVALUATE, "--root", "lists"), r"lists/2-0\.png: no such file"),
    ((*EVALUATE, "--labels", "two.txt"), r"two\.txt: has 2 labels, should be 3"),
    ((*EVALUATE, "--image-shape", "3,1,1"), r"does not take images of shape \(3, 1, 1\)"),
    ((*PREDICT, "none.jpg"), r"none\.jpg: is not there"),
    ((*PREDICT, "empty"), "empty: holds no image"),
    ((*PREDICT, "*.gif"), r"\*\.gif: no file matches"),
    ((*PREDICT, "text.jpg"), r"text\.jpg: not an image in a known format"),
    ((*PREDICT, "images/2-0.png", "--save-img", "two.txt"), r"two\.txt: cannot be made \(File exists\)"),
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
    assert err.count("\n") == 1, err
    assert re.match("mxml: .*" + message, err), err
    if code == 2:
        assert re.search(r"; see mxml[a-z -]* --help$", err)
    assert snapshot(wrong) == before


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


# ---- pipes and signals


def test_a_reader_that_leaves_ends_predict_quietly(trained):
    run = process(trained[0], "predict", *RUN)
    run.stdout.close()
    assert run.stderr.read() == ""
    assert run.wait(timeout=60) == 128 + signal.SIGPIPE
    run.stderr.close()


def test_ctrl_c_ends_predict_with_one_line(folder):
    # More results than a pipe holds: soon after the first has come, the process waits for a reader, where the signal
    # finds it. (One that came in the middle of a destructor would be lost, as Python loses it.)
    os.mkdir("many")
    for number in range(1000):
        os.link("images/2-0.png", f"many/{number:0100}.png")
    run = process(folder, "predict", *RUN, "--json", "many")
    first = run.stdout.readline()
    time.sleep(1)
    run.send_signal(signal.SIGINT)
    _, err = run.communicate(timeout=60)
    assert "input_path" in json.loads(first)
    assert err == "mxml: interrupted\n"
    assert run.returncode == 128 + signal.SIGINT


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
