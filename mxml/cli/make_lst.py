"""``mxml make-lst``: from labelled images to train.lst, val.lst and labels.txt."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mxml.cli.source_options import read_options, source_options, warn
from mxml.cli.tables import table
from mxml.cli.types import Numbers
from mxml.cli.wording import with_options
from mxml.errors import as_text
from mxml.prepare.subsets import Split
from mxml.progress import ConsoleProgress
from mxml.text import counted, printable

if TYPE_CHECKING:
    from mxml.prepare.make_lists import MadeLists

_SHOWN_LABELS = 100
_DEFAULTS = Split()


@click.command("make-lst")
@click.argument("sources", metavar="[SOURCE]...", nargs=-1, type=click.Path(path_type=Path))
@click.option("--out", default="lists", show_default=True, type=click.Path(path_type=Path), help="Folder to write to.")
@source_options
@click.option(
    "--split",
    "shares",
    type=Numbers(float),
    help="Shares of train.lst, val.lst and optionally test.lst, such as 0.8,0.1,0.1.  "
    f"[default: {as_text(_DEFAULTS.shares)}]",
)
@click.option("--val-share", type=float, help="Share of val.lst; the same as --split with two shares.")
@click.option(
    "--new-split",
    "new",
    is_flag=True,
    help="Split all images again, also those in existing lists; add --force to replace these lists.",
)
@click.option(
    "--group-by", metavar="REGEX", help="Keep images together if this expression finds the same text in their names."
)
@click.option(
    "--ignore-duplicates",
    is_flag=True,
    help="Do not look for near-duplicates, which otherwise stay in one list. To find them every image is opened: a "
    "million small photographs take about 5 minutes on two processors.",
)
@click.option("--seed", default=_DEFAULTS.seed, show_default=True, type=int, help="Seed of the random split.")
@click.option("--force", is_flag=True, help="Replace existing lists that have other content.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def make_lst(
    sources: tuple[Path, ...],
    out: Path,
    shares: tuple[float, ...] | None,
    val_share: float | None,
    new: bool,
    group_by: str | None,
    ignore_duplicates: bool,
    seed: int,
    force: bool,
    as_json: bool,
    **source: Any,
) -> None:
    """Write train.lst, val.lst and labels.txt from labelled images.

    SOURCE is a table or file of labels, or a folder; docs/formats.md shows every format. Several are read as one set.
    Default: labels.csv in the image folder, or else its subfolders, named by their labels (red_dress/1.jpg).

    Images that are already in lists keep their list and their line when others are added. To keep a split that came
    with the labels, run mxml convert --to lst for each part. lists.json beside the lists records the image folder.
    """
    from mxml.prepare.make_lists import make_lists

    split = Split(_shares(shares, val_share) or _DEFAULTS.shares, new, group_by, ignore_duplicates, seed)
    labels = read_options(sources, **source)
    with ConsoleProgress(wording=with_options) as progress:
        made = make_lists(labels, out, split, force=force, progress=progress)
    warn([*made.notes, *_unlisted(made)])
    if as_json:
        result = {**made.to_dict(), "notes": list(map(with_options, made.notes))}
        click.echo(json.dumps(result, ensure_ascii=False))
    else:
        click.echo(_as_text(made, out))


def _shares(shares: tuple[float, ...] | None, val_share: float | None) -> tuple[float, ...] | None:
    if val_share is None:
        return shares
    if shares is not None:
        raise click.UsageError("--split and --val-share mean the same; give only one of them")
    if not 0 < val_share < 1:
        raise click.UsageError(f"--val-share {val_share:g} should be between 0 and 1")
    return (1 - val_share, val_share)


def _unlisted(made: MadeLists) -> list[str]:
    if not made.unlisted:
        return []
    count = len(made.unlisted)
    examples = ", ".join(made.unlisted[:3]) + (", ..." if count > 3 else "")
    verb = "is" if count == 1 else "are"
    return [f"{counted(count, 'image')} under {made.root} {verb} not in {_origin(made)}: {examples}"]


def _origin(made: MadeLists) -> str:
    return ", ".join(map(str, made.sources))


def _as_text(made: MadeLists, out: Path) -> str:
    total = sum(map(len, made.subsets.values()))
    formats = ", ".join(dict.fromkeys(made.formats))
    counts = list(zip(made.label_names, made.label_counts))
    *rows, all_images = table(
        [
            ["label", *(f"{subset:>9}" for subset in made.subsets)],
            *([name, *(f"{count:,}" for count in row)] for name, row in counts[:_SHOWN_LABELS]),
            ["(all)", *(f"{len(images):,}" for images in made.subsets.values())],
        ]
    )
    hidden = len(counts) - _SHOWN_LABELS
    lines = [
        f"{printable(_origin(made))}: {formats}; {counted(total, 'image')}, {counted(len(counts), 'label')}",
        "",
        *rows,
        *([f"... and {counted(hidden, 'more label')}"] if hidden > 0 else []),
        all_images,
        "",
        *(f"{printable(str(path))}: {state}" for path, state in made.files),
    ]
    if made.unchanged:
        lines.append("The lists are unchanged.")
    elif made.kept:
        lines.append(f"{counted(made.kept, 'image')} stayed in their list; --new-split splits all of them again.")
    return "\n".join([*lines, "", *_next_commands(made, out)])


def _next_commands(made: MadeLists, out: Path) -> list[str]:
    """Return what to type next, with the lists' image folder wherever a command would not find it by itself."""
    from mxml.data.list_root import may_be_followed

    lists = [shlex.quote(str(out / f"{subset}.lst")) for subset in made.subsets]
    root = "" if may_be_followed(out, made.root) else shlex.quote(made.root)
    roots = [root and f" --{option} {root}" for option in ("root", "image-train", "image-val")]
    return [
        f"next: mxml check {' '.join(lists)}{roots[0]}",
        f"then: mxml train --model MODEL --prefix PREFIX --data-train {lists[0]}{roots[1]}"
        f" --data-val {lists[1]}{roots[2]}",
    ]


command = make_lst
