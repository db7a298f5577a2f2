"""The options of make-lst and convert that say where labels come from, and how to read them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from mxml.cli.image_bar import image_bar
from mxml.text import printable

Command = TypeVar("Command", bound=Callable[..., Any])

# Named here so that help needs none of their modules; a test holds them against mxml.data.formats.FORMATS.
FORM_NAMES = (
    "voc",
    "paddlex",
    "coco",
    "mmpretrain",
    "jsonl",
    "rec",
    "single-lst",
    "lst",
    "tags",
    "csv",
    "text-files",
    "folders",
)


def source_options(command: Command) -> Command:
    """Add what says how to read labels."""
    path = click.Path(path_type=Path)
    options = (
        click.option(
            "--from", "format", type=click.Choice(FORM_NAMES), help="The form of the labels.  [default: recognised]"
        ),
        click.option(
            "--root",
            "roots",
            type=path,
            multiple=True,
            metavar="DIR",
            help="Image folder.  [default: where the form keeps its images, else images]",
        ),
        click.option("--num-classes", type=click.IntRange(1), help="How many labels there should be; checked."),
        click.option(
            "--classes", "classes_file", type=path, metavar="FILE", help="The labels to use, one a line, in order."
        ),
        click.option("--ignore-unknown", is_flag=True, help="Leave labels out that --classes does not list."),
        click.option("--separator", metavar="CHAR", help="What stands between tags.  [default: found, one of | ; ,]"),
        click.option(
            "--split-char",
            default="_",
            show_default=True,
            metavar="TEXT",
            help="What stands between the labels in a folder's name; '' for one label a folder.",
        ),
        click.option(
            "--nested", is_flag=True, help="Every folder on the way to an image names labels, not only its own."
        ),
        click.option(
            "--difficult",
            type=click.Choice(["unknown", "present", "absent"]),
            default="unknown",
            show_default=True,
            help="What objects that VOC calls difficult make of their label.",
        ),
        click.option("--unpack", is_flag=True, help="First write the images of a .rec under the image folder."),
        click.option(
            "--allow-absolute", is_flag=True, help="Let images be named by absolute paths or outside the root."
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def read_options(
    sources: Sequence[Path],
    *,
    roots: Sequence[Path],
    format: str | None,
    classes_file: Path | None,
    ignore_unknown: bool,
    unpack: bool,
    num_classes: int | None,
    **read: Any,
) -> dict[str, Any]:
    """Return the arguments that make_lists and convert share, from what ``source_options`` took; unpack on request."""
    from mxml.data.formats.options import SourceOptions

    if read["separator"] == "":
        raise click.UsageError("--separator '' separates nothing; should be the text between two tags")
    if ignore_unknown and classes_file is None:
        raise click.UsageError("--ignore-unknown leaves out what --classes does not list; give --classes FILE")
    if len(roots) > 1:
        raise click.UsageError("--root is given twice; all images are named under one folder")
    root = roots[0] if roots else None
    arguments: dict[str, Any] = {
        "root": root,
        "format": format,
        "num_classes": num_classes,
        "classes_file": classes_file,
        "ignore_unknown": ignore_unknown,
        "options": SourceOptions(**read),
    }
    if unpack:
        _unpack(sources, **arguments)
    return arguments


def _unpack(sources: Sequence[Path], root: Path | None, num_classes: int | None, **read: Any) -> None:
    from mxml.data.formats import check_num_classes, read_labels
    from mxml.prepare.unpack import unpack_images

    records = [path for path in sources if path.suffix.lower() == ".rec"]
    if not records:
        raise click.UsageError("--unpack takes images out of a .rec; give one as SOURCE")
    # Read once before, so that no image is written where the labels have a fault.
    check_num_classes(read_labels(sources, root, **read)[0], num_classes, sources)
    for path in records:
        folder = root or Path("images")
        with image_bar(f"unpacking {path.name}") as progress:
            unpacked = unpack_images(path, folder, progress=progress)
        there = f", {unpacked.unchanged:,} were there" if unpacked.unchanged else ""
        warn([f"{path}: {unpacked.written:,} images written under {folder}{there}"])


def warn(notes: Sequence[str]) -> None:
    """Print notes on stderr."""
    for note in notes:
        click.echo(printable(f"note: {note}"), err=True)
