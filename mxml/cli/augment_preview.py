"""``mxml augment-preview``."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar

import click

from mxml.cli.setting_options import setting_option
from mxml.cli.wording import with_options
from mxml.progress import ConsoleProgress
from mxml.training.config import train_settings
from mxml.training.settings.images import AUGMENT_SETTINGS

Command = TypeVar("Command", bound=Callable[..., Any])

_OUT = "augment-preview.png"
# What the help of mxml train says of these is about options that this command has not.
_OWN_HELP: dict[str, dict[str, Any]] = {
    "labels": {"help": "Label names, one per line.", "default_help": "labels.txt beside the list"},
    "image_shape": {"default_help": "3,224,224"},
    "preset": {"default_help": "original"},
}


def _with_settings(command: Command) -> Command:
    """Add the options of ``mxml train`` on which the picture depends, with its defaults."""
    for name in reversed(("labels", *AUGMENT_SETTINGS, "allow_absolute")):
        known = dataclasses.replace(train_settings()[name], **_OWN_HELP.get(name, {}))
        command = setting_option(known)(command)
    return command


@click.command(name="augment-preview")
@click.option("--data", required=True, metavar="LST", help="List of images, or .rec file of them.")
@click.option(
    "--root",
    metavar="DIR",
    help="Image folder of the list.  [default: as lists.json beside the list says, else images or the list's folder]",
)
@click.option("--out", default=_OUT, show_default=True, metavar="FILE.png", help="The picture to write, or to replace.")
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
    from mxml.errors import SettingError
    from mxml.images.grid import to_png
    from mxml.training.augment_preview import augment_preview

    if not out.lower().endswith(".png"):
        raise SettingError("out", out, "a file that ends in .png")
    given = {name: value for name, value in settings.items() if value is not None}
    with ConsoleProgress(wording=with_options) as progress:
        picture = augment_preview(data, root, given, images=images, copies=copies, progress=progress)
    atomic.write_bytes(out, to_png(picture))
    click.echo(out)
