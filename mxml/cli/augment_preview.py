"""``mxml augment-preview``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from mxml.cli.setting_options import setting_option
from mxml.training.config import train_settings
from mxml.training.settings.images import AUGMENT_SETTINGS

Command = TypeVar("Command", bound=Callable[..., Any])


def _with_settings(command: Command) -> Command:
    """Add the options of ``mxml train`` on which the picture depends, with its defaults."""
    for name in reversed(("labels", *AUGMENT_SETTINGS, "allow_absolute")):
        command = setting_option(train_settings()[name])(command)
    return command


@click.command(name="augment-preview")
@click.option("--data", required=True, metavar="LST", help="List of images.")
@click.option(
    "--root",
    metavar="DIR",
    help="Image folder of the list.  [default: as lists.json beside the list says, else images]",
)
@click.option("--out", required=True, metavar="FILE.png", help="The picture to write.")
@click.option("--images", type=click.IntRange(1, 64), default=8, show_default=True, help="Images, one in each row.")
@click.option("--copies", type=click.IntRange(1, 64), default=6, show_default=True, help="How often each is varied.")
@_with_settings
def command(data: str, root: str | None, out: str, images: int, copies: int, **settings: Any) -> None:
    """Draw the first images of a list as training varies them, with their labels.

    The first column of the picture shows each image as validation sees it, the others as training sees it in epochs 1,
    2, ... with the same options. Mixed images have soft labels, shown with their values; their partners are in the
    picture, while training takes them from the whole batch.
    """
    from mxml import atomic
    from mxml.images.grid import to_png
    from mxml.training.augment_preview import augment_preview

    given = {name: value for name, value in settings.items() if value is not None}
    atomic.write_bytes(out, to_png(augment_preview(data, root, given, images=images, copies=copies)))
    click.echo(out)
