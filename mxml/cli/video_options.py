"""The options that say which frames of videos and cameras are tagged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])


def video_options(command: Command) -> Command:
    """Add --camera, --every and --frames."""
    options = (
        click.option(
            "--camera", type=click.IntRange(min=0), help="Tag what the camera of this number sees, until Ctrl-C."
        ),
        click.option(
            "--every",
            type=click.IntRange(min=1),
            help="Of a video or camera take every so many frames.  "
            "[default: one per second of a video, all of a camera]",
        ),
        click.option(
            "--frames", type=click.IntRange(min=1), help="Of each video or camera take at most so many frames."
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command
