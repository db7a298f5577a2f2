"""``mxml similar``."""

from __future__ import annotations

import json
from typing import Any

import click

from mxml.cli.options import load_classifier, model_options
from mxml.cli.wording import with_options
from mxml.errors import MxmlError
from mxml.progress import ConsoleProgress
from mxml.text import counted

# An image whose labels are wrong is near to many others: it would fill the list.
_PER_IMAGE = 2


@click.command(name="similar")
@click.argument("inputs", nargs=-1, metavar="[IMAGE | FOLDER | PATTERN]...")
@model_options
@click.option(
    "--data",
    required=True,
    metavar="LST",
    help="The images to look for similar ones in: a list, a .rec or .txt file, or a folder; labels are not needed.",
)
@click.option(
    "--root",
    metavar="DIR",
    help="Image folder of the list.  [default: as lists.json beside the list says, else images or the list's folder]",
)
@click.option(
    "--allow-absolute",
    is_flag=True,
    help="Allow the list to name images by absolute paths or outside its image folder.",
)
@click.option(
    "--count",
    type=click.IntRange(1, 10_000),
    default=10,
    show_default=True,
    help="Images to find for each, or pairs to find.",
)
@click.option(
    "--pairs",
    is_flag=True,
    help="Find the most similar pairs within the list whose labels differ, at most two of an image: copies, and "
    "labels that are likely wrong.",
)
@click.option("--out", metavar="FILE.jpg", help="Also draw what was found, at most 50 rows, as JPEG or PNG.")
@click.option("--force", is_flag=True, help="Replace the file of --out.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line, one per image or pair.")
def command(
    inputs: tuple[str, ...],
    data: str,
    root: str | None,
    allow_absolute: bool,
    count: int,
    pairs: bool,
    out: str | None,
    force: bool,
    as_json: bool,
    batch_size: int,
    decode_threads: int | None,
    **model: Any,
) -> None:
    """Find the images of a list that are most similar to others, by the features of a checkpoint.

    A distance is 1 less the cosine of two images' features: 0 for copies, 1 for images that have nothing in common. The
    features of the list are kept in features.sqlite beside the checkpoint, so that the next search is fast.
    """
    from mxml.inference.named_output import require_output
    from mxml.inference.similar import SimilarIndex
    from mxml.inference.similar_sheet import MOST_ROWS, draw_pairs, draw_similar, require_picture_name, save_sheet

    if bool(inputs) == pairs:
        raise click.UsageError("give images to look for, or --pairs" + (", not both" if pairs else ""))
    if out is not None:
        require_picture_name(out)
        require_output(out, (*inputs, data), root, replace=force)
    elif force:
        raise click.UsageError("--force replaces the file of --out, which is missing")
    settings: dict[str, Any] = {"batch_size": batch_size, "threads": decode_threads}
    with ConsoleProgress(wording=with_options) as progress:
        classifier = load_classifier(progress, **model)
        index = SimilarIndex.read(classifier, data, root, allow_absolute=allow_absolute, progress=progress, **settings)
        if pairs:
            found_pairs = index.pairs(count, _PER_IMAGE, progress=progress)
            for pair in found_pairs:
                click.echo(json.dumps(pair.to_dict(), ensure_ascii=False) if as_json else str(pair))
            if not found_pairs:
                progress.note("no two images of the list have different labels")
            elif out is not None:
                save_sheet(out, draw_pairs(index, found_pairs))
                progress.note(f"{counted(min(len(found_pairs), MOST_ROWS), 'pair')} drawn in {out}")
            return
        found, read = [], 0
        for entry in index.similar(inputs, count, progress=progress, **settings):
            # Only what is drawn is needed again.
            found += [entry] if out is not None and entry.error is None else []
            read += entry.error is None
            with progress.bar_hidden():
                if as_json:
                    click.echo(json.dumps(entry.to_dict(), ensure_ascii=False))
                elif entry.error is None:
                    click.echo(str(entry))
            if entry.error is not None:
                progress.note(f"left out, cannot be read: {entry.path}: {entry.error.reason}")
        if found and out is not None:
            save_sheet(out, draw_similar(index, found))
            progress.note(f"{counted(min(len(found), MOST_ROWS), 'row')} of images drawn in {out}")
    if not read:
        raise MxmlError("no image could be read; the lines above say why")
