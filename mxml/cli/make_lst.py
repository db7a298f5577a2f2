"""``mxml make-lst``: from labelled images to train.lst, val.lst and labels.txt."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mxml.errors import printable

if TYPE_CHECKING:
    from mxml.make_lists import MadeLists


@click.command("make-lst")
@click.argument("source", required=False, type=click.Path(path_type=Path))
@click.option("--root", default="images", show_default=True, type=click.Path(path_type=Path), help="Image folder.")
@click.option("--out", default="lists", show_default=True, type=click.Path(path_type=Path), help="Folder to write to.")
@click.option("--num-classes", type=click.IntRange(1), help="How many labels there should be; checked.")
@click.option(
    "--val-share",
    default=0.2,
    show_default=True,
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Share of the images to validate on.",
)
@click.option("--seed", default=42, show_default=True, type=int, help="Decides which images go where.")
@click.option("--force", is_flag=True, help="Replace lists that are there with other content.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def make_lst(
    source: Path | None,
    root: Path,
    out: Path,
    num_classes: int | None,
    val_share: float,
    seed: int,
    force: bool,
    as_json: bool,
) -> None:
    """Write train.lst, val.lst and labels.txt from labelled images.

    SOURCE is a CSV table with one column a label (image,red,dress), or a folder of folders named by their labels
    (red_dress/1.jpg). Without it: labels.csv in the image folder, or else the image folder.
    """
    from mxml.make_lists import make_lists

    made = make_lists(source, root, out, num_classes, val_share, seed, force)
    if made.unlisted:
        count = len(made.unlisted)
        images = "1 image" if count == 1 else f"{count:,} images"
        examples = ", ".join(made.unlisted[:3]) + (", ..." if count > 3 else "")
        verb = "is" if count == 1 else "are"
        click.echo(printable(f"warning: {images} under {root} {verb} not in {made.source}: {examples}"), err=True)
    click.echo(json.dumps(_as_dict(made), ensure_ascii=False) if as_json else _as_text(made))


def _as_dict(made: MadeLists) -> dict[str, object]:
    return {
        "source": str(made.source),
        "form": made.form,
        "train": len(made.train),
        "val": len(made.val),
        "labels": [{"name": name, "train": train, "val": val} for name, train, val in _counts(made)],
        "files": {str(path): state for path, state in made.files},
        "unchanged": made.unchanged,
        "unlisted": list(made.unlisted),
    }


def _as_text(made: MadeLists) -> str:
    counts = [(printable(name), train, val) for name, train, val in _counts(made)]
    width = max(5, *(len(name) for name, _, _ in counts))
    lines = [
        f"{made.source}: {made.form}; {len(made.train) + len(made.val):,} images, {len(made.label_names)} labels",
        "",
        f"{'label':{width}}  {'train':>9}  {'val':>9}",
        *(f"{name:{width}}  {train:>9,}  {val:>9,}" for name, train, val in counts),
        f"{'images':{width}}  {len(made.train):>9,}  {len(made.val):>9,}",
        "",
        *(f"{path}: {state}" for path, state in made.files),
    ]
    if made.unchanged:
        lines.append("The lists are unchanged.")
    return "\n".join(lines)


def _counts(made: MadeLists) -> list[tuple[str, int, int]]:
    train, val = ((images.labels == 1).sum(axis=0).tolist() for images in (made.train, made.val))
    return list(zip(made.label_names, train, val))


command = make_lst
