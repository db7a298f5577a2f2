"""``mxml convert``: from one format of labels to another."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from mxml.cli.source_options import FORMAT_NAMES, read_options, source_options, warn
from mxml.cli.wording import with_options
from mxml.progress import ConsoleProgress
from mxml.text import counted, printable


@click.command("convert")
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--to", required=True, type=click.Choice(FORMAT_NAMES), help="The format to write.")
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), metavar="PATH", help="File, or new folder, to write."
)
@source_options
@click.option("--force", is_flag=True, help="Replace existing files that have other content.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def convert(sources: tuple[Path, ...], to: str, out: Path, force: bool, as_json: bool, **source: Any) -> None:
    """Write labels in another format, and refuse what it cannot hold.

    SOURCE is a table or file of labels, or a folder; docs/formats.md shows every format. Several are read as one set.
    Index numbers of a list are kept in lst, single-lst and rec; with the other formats a note says that they are not.
    The formats rec and folders hold the images themselves, the others name them under the image folder.
    """
    from mxml.prepare.convert import convert

    labels = read_options(sources, **source)
    with ConsoleProgress(wording=with_options) as progress:
        converted = convert(labels, to, out, force=force, progress=progress)
    labelled = converted.labelled
    warn(converted.notes)
    if as_json:
        result = {**converted.to_dict(), "notes": list(map(with_options, converted.notes))}
        click.echo(json.dumps(result, ensure_ascii=False))
        return
    count = f"{counted(len(labelled.images), 'image')}, {counted(len(labelled.label_names), 'label')}"
    click.echo(printable(f"{labels}: {', '.join(converted.formats)}; {count}"))
    for path, state in converted.files:
        click.echo(printable(f"{path}: {state}"))


command = convert
