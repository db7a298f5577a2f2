"""PaddleX's command lines with only the program's name changed, and what the drawings' options write."""

from __future__ import annotations

import json
import os

import cv2
import pytest
from commands import process

NAME = "multi_label_image_classification"
IMAGE = "images/2-0.png"


@pytest.fixture
def configured(folder, mxml):
    """The folder with a configuration file of its run in it."""
    assert mxml("--get_pipeline_config", NAME)[0] == 0
    path = folder / f"{NAME}.yaml"
    path.write_text(path.read_text().replace("model: model", "model: saved/multi\n  threshold: 0"))
    return folder


def test_paddlex_command_lines_run(configured, mxml):
    plain = mxml("predict", "--prefix", "saved/multi", "--threshold", "0", IMAGE)
    for line in (
        ("--pipeline", NAME, "--input", IMAGE, "--device", "cpu"),
        ("--input", IMAGE, f"--pipeline=./{NAME}.yaml"),
        ("predict", "--pipeline", NAME, IMAGE),
    ):
        assert mxml(*line) == plain
    assert mxml("--pipeline", "saved/multi", "--threshold", "0", "--input", IMAGE) == plain


def test_options_win_over_the_configuration(configured, mxml):
    def labels(*options):
        code, out, err = mxml("--pipeline", NAME, "--json", *options, "--input", IMAGE)
        assert code == 0, err
        return json.loads(out)["label_names"]

    assert len(labels()) == 3 and not labels("--threshold", "1")
    path = configured / f"{NAME}.yaml"
    path.write_text(path.read_text().replace("threshold: 0", "threshold: {red: 1, green: 0, blue: 1}"))
    assert labels() == ["green"]
    assert mxml("--pipeline", NAME, "--prefix", "gone", "--input", IMAGE)[0] == 1
    path.write_text(path.read_text() + "  device: gpu:99\n")
    assert mxml("--pipeline", NAME, "--input", IMAGE)[0] == 1
    assert labels("--gpus", "") == labels("--device", "cpu") == ["green"]
    assert mxml("--pipeline", NAME, "--gpus", "", "--device", "cpu", "--input", IMAGE)[0] == 2


def test_a_configuration_is_written_where_it_is_asked_for_and_never_over_another(folder, mxml):
    assert mxml("--get_pipeline_config", NAME, "--save_path", "./my_path") == (0, f"wrote my_path/{NAME}.yaml\n", "")
    assert mxml("get-pipeline-config", "--save-path", "my_path") == (
        1, "", f"mxml: my_path/{NAME}.yaml: exists; --force replaces it\n"
    )  # fmt: skip
    assert mxml("get-pipeline-config", "--save-path", "my_path", "--force")[0] == 0
    code, _, err = mxml(f"--get_pipeline_config={NAME}x")
    assert code == 2 and f"'{NAME}x' is not one of '{NAME}'" in err


def test_what_is_wrong_is_one_line_in_a_process_of_its_own(folder):
    for line, code, wanted in (
        (("--pipeline", NAME, "--input", IMAGE), 1, f"mxml: {NAME}: there is no {NAME}.yaml in this folder"),
        (("--pipeline", "saved/multi", "--input", IMAGE, "--device", "npu:0"), 1, "mxml: device 'npu:0'"),
        (("--device", "cpu"), 2, "mxml: No such option"),
    ):
        run = process(folder, *line)
        out, err = run.communicate(timeout=60)
        assert (run.returncode, out, err.count("\n")) == (code, "", 1)
        assert err.startswith(wanted)


def test_a_contact_sheet_and_a_video_have_every_image(folder, mxml):
    drawn = ("--contact-sheet", "out/sheet.jpg", "--save-video", "out/all.mp4")
    assert mxml("predict", "--prefix", "saved/multi", "images", *drawn)[0] == 0
    assert sorted(os.listdir("out")) == ["all.mp4", "sheet.jpg", "sheet_2.jpg"]
    video = cv2.VideoCapture("out/all.mp4")
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == 52
    code, out, err = mxml("predict", "--prefix", "saved/multi", "--contact-sheet", "x.gif", IMAGE)
    assert (code, out) == (2, "")
    assert err.startswith("mxml: --contact-sheet x.gif: should be a file that ends in .jpg, .jpeg, .png; see mxml pre")
