"""``mxml predict``: whole commands, what they print, and what wrong input gets."""

from __future__ import annotations

import fcntl
import itertools
import json
import os
import select
import shutil
import signal

import pytest
import tiny
from commands import process
from refusals import check_refusal
from videos import make_video

from mxml import Classifier
from mxml.cli.interrupts import until_interrupted
from mxml.cli.standard_input import content_waits

RUN = ("--prefix", "saved/multi")
PREDICT = ("predict", *RUN)
F_SETPIPE_SZ = 1031  # fcntl has it from Python 3.10 on


def records(out):
    return [json.loads(line) for line in out.splitlines()]


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
    assert labels("--threshold", middle, "--top-k", "2")["label_names"] == first["label_names"][:1]
    assert labels("--threshold", "0", "--top-k", "2")["label_names"] == first["label_names"][:2]
    by_name = ("--threshold", "red=0,blue=1", "--threshold", "green=1")
    assert labels(*by_name)["label_names"] == ["red"]
    assert labels("--threshold", "1,0,1")["label_names"] == ["green"]


def test_predict_prints_one_line_an_image_whatever_its_name(folder, mxml):
    (folder / "odd").mkdir()
    for name in ("new\nline.png", "日本 é.png", "\udcff.png"):
        shutil.copy("images/2-0.png", f"odd/{name}")
    code, out, err = mxml("predict", "--prefix", "saved/multi", "--top-k", "1", "odd")
    assert (code, err) == (0, "")
    names = [line.rpartition(": ")[0] for line in out.splitlines()]
    assert names == [r"odd/new\nline.png", "odd/日本 é.png", r"odd/\udcff.png"]
    (folder / "odd" / "a\nb.png").write_bytes(b"")
    code, out, err = mxml("predict", "--prefix", "saved/multi", "odd/a\nb.png")
    assert (code, out) == (1, "")
    assert err.splitlines() == [
        r"left out, cannot be read: odd/a\nb.png: the file is empty",
        "mxml: no image could be read; the lines above say why",
    ]


def test_one_empty_folder_does_not_keep_the_rest_from_being_tagged(folder, mxml):
    (folder / "empty").mkdir()
    code, out, err = mxml(*PREDICT, "--top-k", "1", "empty", "images/2-0.png", "none/*.gif", "images/2-1.png")
    assert code == 1
    assert [line.partition(": ")[0] for line in out.splitlines()] == ["images/2-0.png", "images/2-1.png"]
    first, second, last = err.splitlines()
    assert first.startswith("left out, cannot be read: empty: holds no image, should hold files that end in ")
    assert second.startswith("left out, cannot be read: none/*.gif: no file matches")
    assert last == "mxml: 2 images of 4 cannot be read; give --skip-bad for exit code 0 all the same"
    assert mxml(*PREDICT, "--skip-bad", "--save-img", "drawn", "empty", "images/2-0.png")[0] == 0
    assert os.listdir("drawn") == ["2-0_res.jpg"]


def test_drawings_of_images_with_one_name_stay_apart(folder, mxml):
    for name in ("one/x.png", "two/x.png", "two/x_2.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy("images/2-0.png", name)
    assert mxml("predict", "--prefix", "saved/multi", "one", "two", "--save-img", "drawn")[0] == 0
    assert len(os.listdir("drawn")) == 3
    assert "x_res.jpg" in os.listdir("drawn")


def test_one_bad_image_does_not_keep_the_rest_from_being_tagged(folder, mxml):
    (folder / "some").mkdir()
    for name in ("a.png", "c.png"):
        shutil.copy("images/2-0.png", f"some/{name}")
    (folder / "some" / "b.jpg").write_text("hello")
    code, out, err = mxml(*PREDICT, "--top-k", "1", "some")
    assert code == 1
    assert [line.partition(": ")[0] for line in out.splitlines()] == ["some/a.png", "some/c.png"]
    first, last = err.splitlines()
    assert first.startswith("left out, cannot be read: some/b.jpg: not an image in a known format")
    assert last == "mxml: 1 image of 3 cannot be read; give --skip-bad for exit code 0 all the same"
    code, out, err = mxml(*PREDICT, "--skip-bad", "--json", "some")
    assert code == 0
    assert [record["input_path"] for record in records(out)] == ["some/a.png", "some/b.jpg", "some/c.png"]
    assert "not an image" in records(out)[1]["error"]
    assert err.startswith("left out, cannot be read: some/b.jpg: ") and err.count("\n") == 1
    assert mxml(*PREDICT, "--skip-bad", "some/b.jpg")[0] == 1


def test_the_library_gives_what_the_command_prints(folder, mxml):
    (folder / "text.jpg").write_text("hello")
    options = ("--top-k", "2", "--threshold", "green=0.4,red=0.2", "--batch-size", "5", "--skip-bad")
    out = mxml(*PREDICT, *options, "--json", "images", "text.jpg", "images/2-1*.png")[1]
    predictions = Classifier.load("saved/multi").predict(
        ["images", "text.jpg", "images/2-1*.png"], top_k=2, threshold={"green": 0.4, "red": 0.2}, batch_size=5
    )
    assert records(out) == [prediction.to_dict() for prediction in predictions]
    assert len(records(out)) == 52 + 1 + 3
    text = mxml(*PREDICT)[1].splitlines()
    assert text == list(map(str, Classifier.load("saved/multi").predict()))


def test_a_file_of_the_run_stands_for_its_prefix(folder, mxml):
    def scores(*options):
        code, out, err = mxml("predict", *options, "--json", "--threshold", "0", "images/2-0.png")
        assert code == 0, err
        return records(out)[0]["scores"]

    first = scores(*RUN, "--epoch", "1")
    assert scores("--prefix", "saved/multi-0001.params") == first
    assert scores("--prefix", "saved/multi-0001.params", "--epoch", "1") == first
    assert scores("--prefix", "saved/multi-symbol.json", "--epoch", "1") == first
    assert scores("--prefix", "saved/multi.json") == scores(*RUN)
    code, _, err = mxml("predict", "--prefix", "saved/multi-0001.params", "--epoch", "2")
    assert code == 2
    assert err.startswith("mxml: --epoch 2: should be 1, as saved/multi-0001.params says, or left out")


def test_a_checkpoint_without_its_sidecar_says_what_is_assumed(folder, mxml):
    os.rename("saved/multi.json", "away.json")
    image = ("--image-shape", "3,32,32", "images/2-0.png")
    code, _, err = mxml(*PREDICT, *image)
    assert code == 0
    assert err == (
        "note: saved/multi.json: does not exist, so mxml assumes the label names class_0, class_1, class_2; "
        "copy that file beside the checkpoint, or set --labels\n"
    )
    code, _out, err = mxml(*PREDICT, "--labels", "lists/labels.txt", "images/2-0.png")
    assert "assumes images of 224 x 224 pixels, prepared as the original script does; " in err
    assert err.endswith("or set --preset, --image-shape\n")
    assert mxml(*PREDICT, "--labels", "lists/labels.txt", *image)[2] == ""


def test_names_that_replace_the_sidecars_are_said_in_one_note(folder, mxml):
    own = json.loads((folder / "saved" / "multi.json").read_text())["label_names"]
    (folder / "own.txt").write_text("\n".join(own))
    (folder / "other.txt").write_text("\n".join([own[0], "dog", own[2]]))
    assert mxml(*PREDICT, "--labels", "own.txt", "images/2-0.png")[2] == ""
    said = mxml(*PREDICT, "--labels", "other.txt", "images/2-0.png")[2]
    assert said == f"note: saved/multi.json: 1 of 3 label names are replaced: '{own[1]}' is now 'dog'\n"


# ---- what a stranger's sidecar may not do

SECRET = "root:x:0:0:secret line:/root:/bin/bash\n"


@pytest.fixture
def stranger(folder):
    """A checkpoint that somebody sent, and a file of the reader's own; return what changes the sent sidecar."""
    (folder / "sent").mkdir()
    for ending in ("-symbol.json", "-0002.params"):
        shutil.copy(f"saved/multi{ending}", f"sent/model{ending}")
    (folder / "private").mkdir()
    (folder / "private" / "passwd").write_text(SECRET)

    def change(list_path, root, **config):
        sidecar = json.loads((folder / "saved" / "multi.json").read_text())
        sidecar["best_epoch"] = 2
        sidecar["config"].update(config)
        sidecar["data"]["val"].update(path=list_path, root=root)
        (folder / "sent" / "model.json").write_text(json.dumps(sidecar))

    return change


@pytest.mark.parametrize("command", ["predict", "evaluate"])
@pytest.mark.parametrize("path", ["../private/passwd", "link.lst", "/dev/zero"])
def test_a_sidecar_that_names_another_file_shows_none_of_its_lines(folder, mxml, stranger, command, path):
    os.symlink(folder / "private" / "passwd", "sent/link.lst")
    stranger(path, "../images", allow_absolute=True)
    code, out, err = mxml(command, "--prefix", "sent/model")
    assert (code, out) == (1, "")
    assert "secret" not in err and "root:" not in err
    assert ("is not a regular file" if path == "/dev/zero" else "is not the file that the run read") in err
    assert err.count("\n") == 1


def test_a_sidecar_may_not_choose_images_outside_of_its_folder_for_a_list_inside(folder, mxml, stranger):
    shutil.copy("lists/val.lst", "sent/val.lst")
    stranger("val.lst", "../images")
    code, out, err = mxml("predict", "--prefix", "sent/model")
    assert (code, out) == (1, "")
    assert err.startswith(
        "mxml: images: the images of the run's validation list lie outside of the checkpoint's folder"
    )
    assert err.endswith("; name images, folders or patterns\n")
    assert mxml("evaluate", "--prefix", "sent/model")[0] == 1
    # Whoever names the folder has seen it.
    assert mxml("evaluate", "--prefix", "sent/model", "--root", "images")[0] == 0
    shutil.copytree("images", "sent/images")
    stranger("val.lst", "images")
    assert mxml("predict", "--prefix", "sent/model")[0] == 0
    os.rename("sent/images", "elsewhere")
    os.symlink(folder / "elsewhere", "sent/images")
    assert mxml("predict", "--prefix", "sent/model")[0] == 1


def test_a_sidecar_cannot_allow_absolute_paths(folder, mxml, stranger):
    line = (folder / "lists" / "val.lst").read_text().splitlines()[0]
    (folder / "sent" / "val.lst").write_text(line.rpartition("\t")[0] + f"\t{folder}/images/2-0.png\n")
    stranger("val.lst", ".", allow_absolute=True)
    code, out, err = mxml("predict", "--prefix", "sent/model")
    assert (code, out) == (1, "")
    assert "is absolute, should be relative to the image root" in err


def test_a_checkpoint_that_was_moved_without_its_list_asks_for_images(folder, mxml):
    shutil.copytree("saved", "moved/deep/saved")
    code, out, err = mxml("predict", "--prefix", "moved/deep/saved/multi")
    assert (code, out) == (1, "")
    assert err == (
        "mxml: moved/deep/lists/val.lst: the run's validation list does not exist; name images, folders or patterns\n"
    )
    assert mxml("predict", "--prefix", "moved/deep/saved/multi", "images/2-0.png")[0] == 0


# ---- what wrong input gets

USAGE = [
    (("predict", "--prefix", "old"), "inputs none: should be images, folders or patterns: this"),
    ((*PREDICT, "--threshold", "2"), "--threshold 2: should be a number from 0 to 1"),
    ((*PREDICT, "--threshold", "nan"), "--threshold nan: should be a number from 0 to 1"),
    ((*PREDICT, "--threshold", "0.5,x"), "'x' is not a number from 0 to 1"),
    (
        (*PREDICT, "--threshold", "0.5,0.5"),
        "--threshold 0.5,0.5: should be one number, or one for each",
    ),
    (
        (*PREDICT, "--threshold", "blu=0.5"),
        "--threshold blu: should be the name of a label, such as 'blue';",
    ),
    ((*PREDICT, "--threshold", "red=0.5,0.3"), "'red=0.5,0.3' should be numbers, or NAME=NUMBER"),
    ((*PREDICT, "--threshold", "red=0.5", "--threshold", "0.3"), "several times only as NAME=NUMBER"),
    ((*PREDICT, "--top-k", "-1"), "-1 is not in the range"),
]
FAULTS = [
    ((*PREDICT, "none.jpg"), "no image could be read; the lines above say why"),
    ((*PREDICT, "empty"), "empty: holds no image"),
    ((*PREDICT, "*.gif"), r"\*\.gif: no file matches"),
    ((*PREDICT, "images/2-0.png", "--save-img", "two.txt"), r"two\.txt: cannot be made \(File exists\)"),
]


@pytest.mark.parametrize(
    ("code", "arguments", "message"), [*((2, *case) for case in USAGE), *((1, *case) for case in FAULTS)]
)
def test_wrong_input_gets_one_line_and_nothing_written(wrong, monkeypatch, mxml, code, arguments, message):
    monkeypatch.chdir(wrong)
    check_refusal(mxml, wrong, code, arguments, message)


# ---- pipes and signals


def test_a_reader_that_leaves_ends_predict_quietly(trained):
    run = process(trained[0], "predict", *RUN)
    run.stdout.close()
    assert run.stderr.read() == ""
    assert run.wait(timeout=60) == 128 + signal.SIGPIPE
    run.stderr.close()


def test_ctrl_c_ends_predict_with_one_line(folder):
    # One result is longer than what the pipe holds, since JSON doubles quotation marks: as soon as some of it is there,
    # the process is inside the write of the rest, where the signal finds it. (One that came in the middle of a
    # destructor would be lost, as Python loses it.)
    deep = os.path.join(*['"' * 200] * 12)
    os.makedirs(deep)
    for number in range(3):
        os.link("images/2-0.png", f"{deep}/{number}.png")
    run = process(folder, "predict", *RUN, "--json", deep)
    fcntl.fcntl(run.stdout, F_SETPIPE_SZ, 4096)
    assert select.select([run.stdout], [], [], 60)[0]
    run.send_signal(signal.SIGINT)
    out, err = run.communicate(timeout=60)
    assert out.startswith('{"input_path": ') and out.count("\n") <= 1
    assert err == "mxml: interrupted\n"
    assert run.returncode == 128 + signal.SIGINT


# ---- what is read besides images, folders and patterns


def paths(out):
    return [record["input_path"] for record in records(out)]


def test_predict_takes_lists_text_files_videos_and_stdin(folder, mxml):
    (folder / "files.txt").write_text("images/2-1.png\nimages/2-0.png\n")
    make_video(folder / "clip.mp4")
    options = ("--unlike", "off", "--json", "--every", "20")
    code, out, err = mxml(*PREDICT, *options, "files.txt", "lists/val.lst", "clip.mp4")
    assert (code, err) == (0, "")
    assert paths(out)[:2] == ["images/2-1.png", "images/2-0.png"] and len(records(out)) == 16
    assert [(record["input_path"], record["frame"], record["seconds"]) for record in records(out)[14:]] == [
        ("clip.mp4", 0, 0.0),
        ("clip.mp4", 20, 2.0),
    ]
    code, out, err = mxml(*PREDICT, "--unlike", "off", "--frames", "3", "--save-img", "drawn", "clip.mp4")
    assert (code, err) == (0, "3 drawings in drawn\n")
    assert [line.partition(": ")[0] for line in out.splitlines()] == ["clip.mp4#0", "clip.mp4#10", "clip.mp4#20"]
    assert sorted(os.listdir("drawn")) == [f"clip_frame{number}_res.jpg" for number in (0, 10, 20)]
    (folder / "files.txt").write_text("2-1.png\n")
    assert paths(mxml(*PREDICT, "--json", "--root", "images", "files.txt")[1]) == ["images/2-1.png"]


def test_predict_reads_an_image_from_a_pipe(folder):
    with open(folder / "images" / "2-0.png", "rb") as image:
        run = process(folder, *PREDICT, "--json", "-", stdin=image)
        out, err = run.communicate(timeout=60)
    assert (run.returncode, err) == (0, "")
    (record,) = records(out)
    own = next(Classifier.load(str(folder / "saved" / "multi")).predict(str(folder / "images" / "2-0.png")))
    assert record == {**own.to_dict(), "input_path": "stdin"}


def test_predict_says_that_there_is_no_camera(folder, mxml):
    code, out, err = mxml(*PREDICT, "--camera", "93")
    assert (code, out) == (1, "")
    assert err.splitlines() == [
        "left out, cannot be read: camera 93: cannot be opened: there is none, another program uses it, or you may not "
        "read /dev/video93",
        "mxml: no image could be read; the lines above say why",
    ]


def test_ctrl_c_ends_what_has_no_other_end():
    def endless():
        for number in itertools.count():
            if number == 3:
                os.kill(os.getpid(), signal.SIGINT)
            yield number

    before = signal.getsignal(signal.SIGINT)
    assert list(until_interrupted(endless())) == [0, 1, 2, 3]
    assert signal.getsignal(signal.SIGINT) is before
    items = until_interrupted(endless())
    with pytest.raises(KeyboardInterrupt):
        for number in items:
            if number == 3:
                os.kill(os.getpid(), signal.SIGINT)
    items.close()
    assert signal.getsignal(signal.SIGINT) is before


def test_pictures_that_a_person_names_replace_nothing_unasked(folder, mxml):
    make_video(folder / "clip.avi", 3)
    os.mkdir("a")
    shutil.copy("images/2-0.png", "a/0.png")
    shutil.copy("images/2-1.png", "sheet.png")
    kept = {name: (folder / name).read_bytes() for name in ("clip.avi", "a/0.png", "sheet.png")}
    for wrong in (
        ("clip.avi", "--save-video", "clip.avi", "--force"),
        ("sheet.png", "--contact-sheet", "sheet.png", "--force"),
        ("a", "--contact-sheet", "a/sheet.png"),
        ("images/2-0.png", "--contact-sheet", "sheet.png"),
        ("images/2-0.png", "a/0.png", "a/%i.png", "--force"),
        ("images/2-0.png", "a/%i.png"),
    ):
        code, out, err = mxml(*PREDICT, *wrong)
        assert (code, out) == (1, "") and err.count("\n") == 1, err
        assert {name: (folder / name).read_bytes() for name in kept} == kept
    assert mxml(*PREDICT, "images/2-0.png", "--contact-sheet", "sheet.png", "--force")[0] == 0
    assert mxml(*PREDICT, "images/2-0.png", "a/%i.png", "--force")[0] == 0
    assert all((folder / name).read_bytes() != kept[name] for name in ("a/0.png", "sheet.png"))
    assert mxml(*PREDICT, "images/2-0.png", "--force")[0] == 2


def test_drawings_beside_photographs_leave_them_and_are_not_tagged(folder, mxml):
    before = {path.name: path.read_bytes() for path in (folder / "images").iterdir()}
    for _ in range(2):
        code, out, _ = mxml(*PREDICT, "images", "--save-img", "images", "--save-path", "images")
        assert code == 0 and out.count("\n") == len(before) == 52
    found = {path.name: path.read_bytes() for path in (folder / "images").iterdir()}
    assert len(found) == 3 * 52 and before.items() <= found.items()


def test_a_list_under_a_wrong_folder_is_told_in_few_lines(folder, mxml):
    (folder / "many.txt").write_text("".join(f"x{number}.png\n" for number in range(300)))
    code, out, err = mxml(*PREDICT, "many.txt", "--root", "lists")
    assert (code, out) == (1, "") and err.count("\n") == 22
    assert "left out, cannot be read: lists/x19.png: no such file" in err and "x20.png" not in err
    assert err.endswith(
        "mxml: none of the 300 images is there; --root says which folder the paths of a list are under\n"
    )
    assert "--root says" not in mxml(*PREDICT, "x1.png", "x2.png")[2]


def test_a_mistyped_name_gets_the_one_that_was_meant(folder, mxml):
    code, out, err = mxml(*PREDICT, "images/2-0.png", "imagse", "images/2-00.png")
    assert code == 1 and out.count("\n") == 1
    assert "imagse: no such file; a similar name there is images\n" in err
    assert "images/2-00.png: no such file; a similar name there is images/2-0.png\n" in err
    assert next(Classifier.load("saved/multi").predict("images/2-00.png")).error is not None


@pytest.mark.parametrize("kind", ["pipe", "file", "empty pipe", "closed", "devnull"])
def test_what_waits_on_standard_input_is_named_and_not_waited_for(folder, monkeypatch, kind):
    if kind in ("pipe", "empty pipe"):
        handle, other = os.pipe()
        if kind == "pipe":
            os.write(other, b"image")
    else:
        handle = os.open("images/2-0.png" if kind == "file" else os.devnull, os.O_RDONLY)
        if kind == "closed":
            os.close(handle)
    assert content_waits(handle) == (kind in ("pipe", "file"))


def test_an_image_that_is_piped_in_is_not_passed_over_silently(folder):
    with open("images/2-0.png", "rb") as image:
        run = process(folder, *PREDICT, stdin=image)
        out, err = run.communicate(timeout=60)
    assert out.count("\n") == 12 and err.startswith("standard input is not read without -: ")
