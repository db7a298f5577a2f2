"""What ``mxml launch`` understands of the command that its workers run."""

from __future__ import annotations

import pytest

from mxml.cli.typed_train import options_of_train, resuming


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("mxml train --prefix a", ["--prefix", "a"]),
        ("/opt/bin/mxml train", []),
        ("python3.11 -W ignore -m mxml train --force", ["--force"]),
        ("mxml predict --prefix train", None),
        ("python -m", None),
        ("python train.py mxml train", None),
        ("mxml", None),
    ],
)
def test_only_a_command_that_trains_has_options_of_training(command, options):
    assert options_of_train(command.split()) == options


def test_a_command_goes_on_without_replacing_and_says_resume_once():
    assert resuming(["mxml", "train", "--force", "--prefix", "a"]) == ["mxml", "train", "--prefix", "a", "--resume"]
    assert resuming(["mxml", "train", "--resume", "--prefix", "a"]) == ["mxml", "train", "--resume", "--prefix", "a"]
