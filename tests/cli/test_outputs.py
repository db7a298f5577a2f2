"""What ``mxml predict`` writes and to where, whole commands; ``mxml sort``; the example with Dask."""

from __future__ import annotations

import csv
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from typing import Any

import pytest
import tiny
from commands import process
from refusals import check_refusal

RUN = ("--prefix", "saved/multi")
PREDICT = ("predict", *RUN)


def records(text):
    return [json.loads(line) for line in text.splitlines()]


def test_every_output_says_the_same(folder, mxml):
    (folder / "images" / "bad.png").write_text("hello")
    code, out, err = mxml(*PREDICT, "images", "--json", "--scores")
    lines = records(out)
    assert code == 1 and len(lines) == 53 and "error" in lines[-1]
    assert mxml(*PREDICT, "images", "--jsonl", "--scores")[1] == out
    for name in ("lines.jsonl", "array.json", "new/table.csv"):
        code, shown, told = mxml(*PREDICT, "images", "--scores", "--skip-bad", "--out", name)
        assert (code, shown, told) == (0, "", f"{''.join(err.splitlines(True)[:-1])}53 predictions in {name}\n")
    assert (folder / "lines.jsonl").read_text() == out
    assert json.loads((folder / "array.json").read_text()) == lines
    table = list(csv.DictReader((folder / "new" / "table.csv").read_text().splitlines()))
    assert [row["path"] for row in table] == [line["input_path"] for line in lines]
    assert [row["error"] for row in table] == [line.get("error", "") for line in lines]
    for row, line in zip(table[:-1], lines):
        assert row["labels"] == "|".join(line["label_names"])
        assert {name: float(row[name]) for name in tiny.LABELS} == line["all_scores"]
    assert mxml(*PREDICT, "images", "--csv")[1] == (folder / "new" / "table.csv").read_text()
    first = mxml(*PREDICT, "images/1-0.png", "--scores", "--threshold", "red=0,green=1,blue=1")[1]
    assert sorted(re.findall(r"\(?\w+(?= 0\.\d\d)", first.partition(": ")[2])) == ["(blue", "(green", "red"]


def test_a_terminal_shows_columns(folder):
    os.rename("images/2-1.png", "images/a longer name.png")
    own, other = pty.openpty()
    command = [sys.executable, "-m", "mxml", *PREDICT, "--threshold", "0", "images/2-0.png", "images/a longer name.png"]
    assert subprocess.run(command, stdout=other, stderr=subprocess.PIPE, timeout=60).stderr == b""
    lines = os.read(own, 1 << 16).decode().splitlines()
    os.close(own)
    os.close(other)
    shape = r"(images/.+?) +(red  |green|blue ) 0\.\d\d   (red  |green|blue ) 0\.\d\d   (red  |green|blue ) 0\.\d\d"
    found = [match[1] for match in (re.fullmatch(shape, line) for line in lines) if match]
    assert found == ["images/2-0.png", "images/a longer name.png"]
    assert len({len(line) for line in lines}) == 1


def test_a_killed_run_is_continued_to_the_same_file(folder, mxml):
    images = ["images"] * 40
    assert mxml(*PREDICT, *images, "--out", "whole.jsonl")[0] == 0
    run = process(folder, *PREDICT, *images, "--batch-size", "4", "--out", "cut.jsonl")
    while not os.path.exists("cut.jsonl") or not os.path.getsize("cut.jsonl"):
        assert run.poll() is None, run.communicate()
        time.sleep(0.01)
    run.send_signal(signal.SIGKILL)
    run.communicate(timeout=60)
    held = (folder / "cut.jsonl").read_text().count("\n")
    assert run.returncode == -signal.SIGKILL and 0 < held < 40 * 52
    resume = (*PREDICT, *images, "--out", "cut.jsonl", "--resume")
    code, out, err = mxml(*resume)
    assert (code, out) == (0, "")
    assert err.startswith(f"cut.jsonl: holds {held:,} image")
    assert (folder / "cut.jsonl").read_bytes() == (folder / "whole.jsonl").read_bytes()
    # Whole, torn, and of another checkpoint.
    assert mxml(*resume)[0] == 0
    best = json.loads((folder / "saved" / "multi.json").read_text())["best_epoch"]
    code, _, err = mxml(*resume, "--epoch", 3 - best)
    assert code == 1
    differences = f"epoch ({best}, now {3 - best}), params_sha256, described_sha256"
    assert err.startswith(f"mxml: cut.jsonl: was made with other settings: {differences}; write")
    code, _, err = mxml(*resume[:-1])
    assert (code, err) == (1, "mxml: cut.jsonl: already exists; --resume continues it, --force replaces it\n")
    assert (folder / "cut.jsonl").read_bytes() == (folder / "whole.jsonl").read_bytes()


def test_a_resumed_run_ends_as_one_that_was_not_cut(folder, mxml):
    (folder / "bad.jpg").write_text("hello")
    command = (*PREDICT, "bad.jpg", "images/2-0.png", "--out", "out.csv", "--resume")
    assert mxml(*command)[0] == 1
    code, _, err = mxml(*command)
    assert code == 1
    assert err.endswith("mxml: 1 image of 2 cannot be read; give --skip-bad for exit code 0 all the same\n")
    assert mxml(*command, "--skip-bad")[0] == 0


def test_the_parts_are_all_images_once(folder, mxml):
    whole = mxml(*PREDICT, "images", "none.jpg", "--json", "--skip-bad")[1].splitlines()
    parts = [mxml(*PREDICT, "images", "none.jpg", "--json", "--skip-bad", "--part", f"{n}/3") for n in (1, 2, 3)]
    lines = [out.splitlines() for _, out, _ in parts]
    assert sorted(line for part in lines for line in part) == sorted(whole)
    assert all(part == [line for line in whole if line in part] and len(part) > 5 for part in lines)
    assert [mxml(*PREDICT, "images/2-0.png", "--part", f"{n}/2")[0] for n in (1, 2)] == [0, 0]
    made = [(*PREDICT, "images", "--out", "part.jsonl", "--resume", "--part", f"{n}/3") for n in (1, 2)]
    assert mxml(*made[0])[0] == 0
    assert "other settings: part (1/3, now 2/3);" in mxml(*made[1])[2]


def test_another_program_sends_paths_and_reads_answers(folder, mxml):
    expected = records(mxml(*PREDICT, "images", "--json", "--top-k", "2")[1])
    run = process(folder, *PREDICT, "--stream", "--top-k", "2", "--batch-size", "8", stdin=subprocess.PIPE)

    def ask(path):
        run.stdin.write(f"{path}\n")
        run.stdin.flush()
        return json.loads(run.stdout.readline())

    assert [ask(record["input_path"]) for record in expected[:3]] == expected[:3]
    empty: dict[str, Any] = {"page_index": None, "class_ids": [], "scores": [], "label_names": []}
    assert ask("images") == {"input_path": "images", **empty, "error": "is a folder, not an image"}
    assert ask("images/*.png") == {"input_path": "images/*.png", **empty, "error": "no such file"}
    assert ask("") == {"input_path": "", **empty, "error": "no such file"}
    # Many at once are computed together, and answered in their order; the last line needs no end.
    rest = "\r\n".join(record["input_path"] for record in expected)
    out, err = run.communicate(rest, timeout=60)
    assert (run.returncode, err) == (0, "")
    assert [{**one, "scores": None} for one in records(out)] == [{**one, "scores": None} for one in expected]
    for found, wanted in zip(records(out), expected):
        assert found["scores"] == pytest.approx(wanted["scores"], abs=2e-5)


def test_a_program_that_leaves_ends_the_stream_quietly(folder):
    run = process(folder, *PREDICT, "--stream", stdin=subprocess.PIPE)
    run.stdout.close()
    run.stdin.write("images/2-0.png\n")
    run.stdin.close()
    assert (run.wait(timeout=60), run.stderr.read()) == (128 + signal.SIGPIPE, "")
    run.stderr.close()


def test_the_options_of_jetson_inference_and_paddlex_mean_the_same(folder, mxml):
    expected = mxml(*PREDICT, "--top-k", "2", "--json", "images/2-0.png", "images/2-1.png")
    jetson = ("--model=saved/multi", "--topK=2", "--json", "images/2-[01].png", "drawn/tagging_%i.jpg")
    assert mxml("predict", *jetson) == (*expected[:2], "2 drawings in drawn/tagging_%i.jpg\n")
    assert sorted(os.listdir("drawn")) == ["tagging_0.jpg", "tagging_1.jpg"]
    paddle = ("--model", "saved/multi", "--input", "images/2-[01].png", "--topk", "2", "--save_path", "out", "--json")
    assert mxml("predict", *paddle, "--device", "cpu") == (*expected[:2], "2 drawings in out\n")
    assert sorted(os.listdir("out")) == ["2-0_res.jpg", "2-0_res.json", "2-1_res.jpg", "2-1_res.json"]
    assert json.loads((folder / "out" / "2-1_res.json").read_text()) == records(expected[1])[1]


REFUSED = [
    (2, ("--json", "--csv"), "--json and --csv: give only one of them"),
    (2, ("--out", "a.txt"), r"--out a\.txt: should be a file that ends in \.json, \.jsonl, \.csv;"),
    (2, ("--out", "a.json", "--csv"), r"--out a\.json is JSON, as its ending says"),
    (2, ("--resume",), "--resume is about the file of --out, which is missing"),
    (2, ("--out", "a.csv", "--resume", "--force"), "give only one of them"),
    (2, ("--part", "4/3"), "--part 4/3: should be K/N, part K of N, such as 3/16"),
    (2, ("--stream", "images"), "--stream reads paths from stdin"),
    (2, ("--stream", "--root", "images"), "--stream reads paths from stdin"),
    (2, ("--save-video", "a.mp4", "b.mp4", "c.avi"), r"shows one video, not b\.mp4 and c\.avi"),
    (2, ("--part", "1/3", "images", "%i.jpg"), r"%i\.jpg: is numbered from 0 by each process"),
    (1, ("--out", "text.jpg/a.csv"), r"text\.jpg: cannot be made"),
]


@pytest.mark.parametrize(("code", "arguments", "message"), REFUSED)
def test_wrong_input_gets_one_line_and_nothing_written(wrong, monkeypatch, mxml, code, arguments, message):
    monkeypatch.chdir(wrong)
    check_refusal(mxml, wrong, code, (*PREDICT, *arguments), message)


def test_wrong_inputs_neither_begin_a_file_nor_replace_one(folder, mxml):
    (folder / "old.json").write_text("[]")
    for wrong in (("none*.jpg",), ("images", "--tta", "x"), ("images", "--threshold", "2")):
        assert mxml(*PREDICT, *wrong, "--out", "new.json")[0] in (1, 2)
        assert mxml(*PREDICT, *wrong, "--out", "old.json", "--force")[0] in (1, 2)
    assert (folder / "old.json").read_text() == "[]" and not list(folder.glob("new*"))


def test_sort_brings_images_into_folders_and_back(folder, mxml):
    (folder / "some").mkdir()
    for number in range(4):
        os.rename(f"images/1-{number}.png", f"some/{number}.png")
    (folder / "some" / "bad.png").write_text("hello")
    labels = {
        record["input_path"]: None if "error" in record else record["label_names"]
        for record in records(mxml(*PREDICT, "some", "--json", "--top-k", "2")[1])
    }
    sort = ("sort", *RUN, "some", "--to", "sorted", "--top-k", "2")
    code, plan, _ = mxml(*sort, "--dry-run")
    assert code == 1 and not os.path.exists("sorted")
    code, out, err = mxml(*sort, "--json", "--skip-bad")
    first, last = err.splitlines()
    assert code == 0 and first.startswith("left where it is: some/bad.png: ")
    counts = Counter(name for names in labels.values() for name in names or ())
    assert last == "4 images sorted into sorted: " + ", ".join(f"{n} in {name}" for name, n in counts.most_common())
    done = {record["input_path"]: record.get("to") for record in records(out)}
    for path, names in labels.items():
        assert done[path] == (None if names is None else [f"{name}/{os.path.basename(path)}" for name in names])
    assert plan.splitlines() == [
        f"{path} -> {', '.join(f'sorted/{target}' for target in targets)}" for path, targets in done.items() if targets
    ]
    assert mxml("sort", *RUN, "sorted", "--to", "sorted") == (
        0, "", "8 images in sorted already, and not sorted again; --to names another folder\n"
    )  # fmt: skip
    assert mxml("sort", "--undo", "sorted")[:2] == (0, "8 files taken back, 0 left\n")
    assert mxml(*sort, "--move", "--skip-bad")[0] == 0
    assert os.listdir("some") == ["bad.png"]
    assert mxml("sort", "--undo", "sorted")[:2] == (0, "4 files taken back, 0 left\n")
    assert len(os.listdir("some")) == 5
    code, _, err = mxml("sort", "--undo", "sorted")
    assert code == 1 and "has sorted nothing into sorted" in err


def test_the_example_with_dask_writes_what_one_process_writes(folder, mxml, checkout):
    pytest.importorskip("distributed")
    (folder / "images" / "bad.png").write_text("hello")
    assert mxml(*PREDICT, "images", "--skip-bad", "--out", "one.jsonl")[0] == 0
    script = [sys.executable, str(checkout / "examples" / "predict_with_dask.py"), *RUN]
    run = subprocess.run(
        [*script, "--workers", "2", "--parts", "3", "--out", "all.jsonl", "images"],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONPATH": str(checkout)},
    )
    assert run.returncode == 0, run.stderr
    assert (folder / "all.jsonl").read_bytes() == (folder / "one.jsonl").read_bytes()
    assert len(os.listdir("all.jsonl.parts")) == 6 and "3 of 3 parts, " in run.stdout
