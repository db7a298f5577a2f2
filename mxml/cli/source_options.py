"""The options of make-lst and convert that say where labels come from, and how to read them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mxml.cli.wording import with_options
from mxml.progress import ConsoleProgress
from mxml.text import counted, printable

if TYPE_CHECKING:
    from mxml.data.formats.sources import LabelSources

Command = TypeVar("Command", bound=Callable[..., Any])

# Named here so that help needs none of their modules; a test holds them against mxml.data.formats.FORMATS.
FORMAT_NAMES = (
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
    """Add the options for reading labels."""
    path = click.Path(path_type=Path)
    options = (
        click.option(
            "--from",
            "format",
            type=click.Choice(FORMAT_NAMES),
            help="The format of the labels.  [default: recognised]",
        ),
        click.option(
            "--root",
            type=path,
            multiple=True,
            callback=_only_one,
            metavar="DIR",
            help="Image folder.  [default: where the format keeps its images, else images or the folder of the labels]",
        ),
        click.option(
            "--num-classes", type=click.IntRange(1), help="Expected number of labels; another number is an error."
        ),
        click.option(
            "--classes",
            "classes_file",
            type=path,
            metavar="FILE",
            help="File of the labels to use, one per line, in order.",
        ),
        click.option("--ignore-unknown", is_flag=True, help="Ignore labels that are not in --classes."),
        click.option(
            "--separator", metavar="CHAR", help="The character between tags.  [default: detected, one of | ; ,]"
        ),
        click.option(
            "--split-char",
            default="_",
            show_default=True,
            metavar="TEXT",
            help="The text between the labels in a folder's name; '' for one label per folder.",
        ),
        click.option(
            "--nested",
            is_flag=True,
            help="Take labels from every folder on the way to an image, not only the last one.",
        ),
        click.option(
            "--difficult",
            type=click.Choice(["unknown", "present", "absent"]),
            default="unknown",
            show_default=True,
            help="Value of a label whose objects in VOC are all marked difficult.",
        ),
        click.option("--unpack", is_flag=True, help="First write the images of a .rec into the image folder."),
        click.option(
            "--allow-absolute", is_flag=True, help="Allow absolute paths and images outside the image folder."
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def _only_one(context: click.Context, parameter: click.Parameter, roots: tuple[Path, ...]) -> Path | None:
    if len(roots) > 1:
        raise click.UsageError("--root is given twice; give one folder for all images")
    return roots[0] if roots else None


def read_options(
    paths: Sequence[Path],
    *,
    root: Path | None,
    format: str | None,
    classes_file: Path | None,
    ignore_unknown: bool,
    num_classes: int | None,
    unpack: bool,
    **options: Any,
) -> LabelSources:
    """Return the sources that ``source_options`` describe; unpack on request."""
    from mxml.data.formats.options import FormatOptions
    from mxml.data.formats.sources import LabelSources

    sources = LabelSources(
        tuple(paths), root, format, classes_file, ignore_unknown, num_classes, FormatOptions(**options)
    )
    if unpack:
        _unpack(sources)
    return sources


def _unpack(sources: LabelSources) -> None:
    from mxml.prepare.unpack import unpack_sources

    with ConsoleProgress(wording=with_options) as progress:
        unpacked = unpack_sources(sources, progress=progress)
    if not unpacked:
        raise click.UsageError("--unpack writes the images of a .rec; give one as SOURCE")
    for file in unpacked:
        there = f", {file.unchanged:,} already existed" if file.unchanged else ""
        warn([f"{file.path}: {counted(file.written, 'image')} written under {file.root}{there}"])


def warn(notes: Sequence[str]) -> None:
    """Print notes on stderr."""
    for note in notes:
        click.echo(printable(f"note: {with_options(note)}"), err=True)
