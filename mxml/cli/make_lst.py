"""``mxml make-lst``: from labelled images to train.lst, val.lst and labels.txt."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from mxml.cli.image_bar import image_bar
from mxml.cli.options import Numbers
from mxml.cli.source_options import read_options, source_options, warn
from mxml.errors import ListError
from mxml.text import printable

if TYPE_CHECKING:
    from mxml.prepare.make_lists import MadeLists

_SHOWN_LABELS = 100


@click.command("make-lst")
@click.argument("sources", metavar="[SOURCE]...", nargs=-1, type=click.Path(path_type=Path))
@click.option("--out", default="lists", show_default=True, type=click.Path(path_type=Path), help="Folder to write to.")
@source_options
@click.option(
    "--split",
    type=Numbers(float),
    help="Shares of train.lst, val.lst and perhaps test.lst, such as 0.8,0.1,0.1.  [default: 0.8,0.2]",
)
@click.option("--val-share", type=float, help="The same as --split with one minus this share, and this share.")
@click.option(
    "--new-split",
    is_flag=True,
    help="Deal out all images anew, also those in lists that are there (--force replaces these).",
)
@click.option("--group-by", metavar="REGEX", help="Keep images together in whose names this finds the same text.")
@click.option("--ignore-duplicates", is_flag=True, help="Don't open the images to keep near-duplicates together.")
@click.option("--seed", default=42, show_default=True, type=int, help="Decides which images go where.")
@click.option("--force", is_flag=True, help="Replace lists that are there with other content.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def make_lst(
    sources: tuple[Path, ...],
    out: Path,
    split: tuple[float, ...] | None,
    val_share: float | None,
    new_split: bool,
    group_by: str | None,
    ignore_duplicates: bool,
    seed: int,
    force: bool,
    as_json: bool,
    **source: Any,
) -> None:
    """Write train.lst, val.lst and labels.txt from labelled images.

    SOURCE is a table or file of labels, or a folder; docs/formats.md shows every form. Several are read as one set.
    Without it: labels.csv in the image folder, or else the folders in it, named by their labels (red_dress/1.jpg).

    Images in lists that are there already stay on their side when others are added. To keep a split that was given with
    the labels, mxml convert each part --to lst.
    """
    from mxml.prepare.make_lists import check_shares, make_lists

    if split is not None and val_share is not None:
        raise click.UsageError("--split and --val-share say the same; give one of them")
    if val_share is not None:
        if not 0 < val_share < 1:
            raise click.UsageError(f"--val-share {val_share:g} should lie between 0 and 1")
        split = (1 - val_share, val_share)
    split = split or (0.8, 0.2)
    try:
        check_shares(split)
    except ListError as error:
        raise click.UsageError(str(error)) from error
    labels = read_options(sources, **source)
    with image_bar("looking for duplicates") as progress:
        made = make_lists(
            labels.paths,
            labels.root,
            out,
            labels.num_classes,
            format=labels.format,
            classes_file=labels.classes_file,
            ignore_unknown=labels.ignore_unknown,
            options=labels.options,
            split=split,
            new_split=new_split,
            group_by=group_by,
            near_duplicates=not ignore_duplicates,
            seed=seed,
            force=force,
            progress=progress,
        )
    notes = [*made.notes, *_unlisted(made)]
    if made.kept and click.get_current_context().get_parameter_source("seed") == ParameterSource.COMMANDLINE:
        notes.append("--seed deals out only images that are in none of these lists yet; --new-split deals out all")
    warn(notes)
    click.echo(json.dumps(_as_dict(made), ensure_ascii=False) if as_json else _as_text(made))


def _unlisted(made: MadeLists) -> list[str]:
    if not made.unlisted:
        return []
    count = len(made.unlisted)
    images = _counted(count, "image")
    examples = ", ".join(made.unlisted[:3]) + (", ..." if count > 3 else "")
    root = next(iter(made.parts.values())).root
    return [f"{images} under {root} {'is' if count == 1 else 'are'} not in {_origin(made)}: {examples}"]


def _origin(made: MadeLists) -> str:
    return ", ".join(map(str, made.sources))


def _as_dict(made: MadeLists) -> dict[str, object]:
    return {
        "sources": [str(path) for path in made.sources],
        "formats": list(made.formats),
        **{part: len(images) for part, images in made.parts.items()},
        "labels": [
            {"name": name, **dict(zip(made.parts, counts))} for name, counts in zip(made.label_names, _counts(made))
        ],
        "kept": made.kept,
        "files": {str(path): state for path, state in made.files},
        "unchanged": made.unchanged,
        "unlisted": list(made.unlisted),
        "notes": list(made.notes),
    }


def _as_text(made: MadeLists) -> str:
    labels = list(zip(map(printable, made.label_names), _counts(made)))
    width = max(6, *(len(name) for name, _ in labels[:_SHOWN_LABELS]))

    def row(name: str, cells: list[str]) -> str:
        return f"{name:{width}}" + "".join(f"  {cell:>9}" for cell in cells)

    total = sum(map(len, made.parts.values()))
    formats = ", ".join(dict.fromkeys(made.formats))
    lines = [
        f"{printable(_origin(made))}: {formats}; {_counted(total, 'image')}, {_counted(len(labels), 'label')}",
        "",
        row("label", list(made.parts)),
        *(row(name, [f"{count:,}" for count in counts]) for name, counts in labels[:_SHOWN_LABELS]),
    ]
    if len(labels) > _SHOWN_LABELS:
        lines.append(f"... and {len(labels) - _SHOWN_LABELS:,} more labels")
    lines += [
        row("(all)", [f"{len(images):,}" for images in made.parts.values()]),
        "",
        *(f"{printable(str(path))}: {state}" for path, state in made.files),
    ]
    if made.unchanged:
        lines.append("The lists are unchanged.")
    elif made.kept:
        lines.append(f"{_counted(made.kept, 'image')} kept their side; --new-split deals all of them out anew.")
    return "\n".join(lines)


def _counted(count: int, what: str) -> str:
    return f"1 {what}" if count == 1 else f"{count:,} {what}s"


def _counts(made: MadeLists) -> list[list[int]]:
    """Return for each label how many images of each part have it."""
    per_part = [(images.labels == 1).sum(axis=0).tolist() for images in made.parts.values()]
    return [list(counts) for counts in zip(*per_part)]


command = make_lst
