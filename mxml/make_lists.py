"""From labelled images to the files that training reads: train.lst, val.lst, perhaps test.lst, and labels.txt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

import numpy as np

from mxml import atomic
from mxml.errors import ListError
from mxml.grouping import group_by_pattern, join_groups
from mxml.image_list import ImageList, format_label_names, quoted
from mxml.lst_file import read_lst, write_lst
from mxml.sources import check_num_classes, default_source, read_sources
from mxml.sources.file_tree import find_images
from mxml.sources.options import DEFAULTS, SourceOptions
from mxml.splits import stratified_split
from mxml.staging import staged

PARTS = ("train", "val", "test")
"""What the parts of a split are called, in the order of their shares."""


@dataclass(frozen=True)
class MadeLists:
    """What was made: a list for each part, the label names, and what became of each file.

    ``kept`` counts the images that stayed on the side of lists that were there. ``files`` holds pairs of a path and
    ``unchanged``, ``written`` or ``replaced``; ``unlisted`` names the images under the root that the sources do not
    mention; ``notes`` are lines for a person.
    """

    sources: tuple[Path, ...]
    forms: tuple[str, ...]
    label_names: tuple[str, ...]
    parts: dict[str, ImageList]
    kept: int
    files: tuple[tuple[Path, str], ...]
    unlisted: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def unchanged(self) -> bool:
        """Say whether all files were there already, with this content."""
        return all(state == "unchanged" for _, state in self.files)


def make_lists(
    sources: Sequence[Path] = (),
    root: Path | None = None,
    out: Path = Path("lists"),
    num_classes: int | None = None,
    *,
    form: str | None = None,
    classes_file: Path | None = None,
    ignore_unknown: bool = False,
    options: SourceOptions = DEFAULTS,
    split: Sequence[float] = (0.8, 0.2),
    new_split: bool = False,
    group_by: str | None = None,
    near_duplicates: bool = True,
    seed: int = 42,
    force: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> MadeLists:
    """Read labelled images, split them by their labels, and write train.lst, val.lst and labels.txt into ``out``.

    Without ``sources`` it is ``labels.csv`` under ``root``, or else its folders. ``form`` to ``options`` are those of
    ``mxml.sources.read_sources``. ``split`` gives the shares of train.lst, val.lst and, with three, test.lst. The
    labels keep the source's order, the images too within each list, where they are numbered from 0.

    An image in a list that is in ``out`` already stays in that part, so that adding images moves none, unless
    ``new_split``; the others are dealt out by ``seed`` with iterative stratification. Images that ``group_by``, a
    regular expression, finds the same text in stay together, and near-duplicate images do unless ``near_duplicates``
    is false; to find them every image is opened, and ``progress`` is called with how many more are done, and of how
    many. The same images, lists and settings give the same bytes everywhere.

    The files appear together or not at all. Raises ListError for faults in a source, a number of labels other than
    ``num_classes``, images that are missing under ``root``, and files with other content already there, unless
    ``force`` lets them be replaced.
    """
    if not sources:
        root = root or Path("images")
        sources = (default_source(root),)
    _check_shares(split)
    labelled, forms = read_sources(sources, root, form, classes_file, ignore_unknown, options)
    check_num_classes(labelled, num_classes, sources)
    images = labelled.images
    unlisted = _compare_with_folder(images, sources)
    notes = list(labelled.notes)
    names = images.names()
    groups = None if group_by is None else group_by_pattern(names, group_by)
    if near_duplicates:
        groups = _joined_with_duplicates(images, groups, notes, progress)
    kept = np.full(len(images), -1, np.int64) if new_split else _kept_parts(names, out, len(split))
    positions = stratified_split(images.labels, split, seed, groups, kept)
    parts = dict(zip(PARTS, (_numbered(images, names, part) for part in positions)))
    for part, share in zip(parts, split):
        if not len(parts[part]):
            raise ListError(f"{len(images)} images are too few for a share of {share:g} in {part}.lst")
    kept_count = int((kept >= 0).sum())
    if kept_count and groups is not None:
        notes += _parted_groups(groups, positions)
    with staged(out, force) as staging:
        for part, chosen in parts.items():
            write_lst(staging.path / f"{part}.lst", chosen)
        atomic.write_bytes(staging.path / "labels.txt", format_label_names(labelled.label_names))
    return MadeLists(
        tuple(sources),
        tuple(source.NAME for source in forms),
        labelled.label_names,
        parts,
        kept_count,
        staging.files,
        unlisted,
        tuple(notes),
    )


def _check_shares(split: Sequence[float]) -> None:
    if not 2 <= len(split) <= len(PARTS) or not all(0 < share < 1 for share in split) or abs(sum(split) - 1) > 1e-6:
        raise ListError(
            f"the split {','.join(f'{share:g}' for share in split)} should be two or three shares that add up to 1, "
            "such as 0.8,0.2 or 0.8,0.1,0.1"
        )


def _compare_with_folder(images: ImageList, sources: Sequence[Path]) -> tuple[str, ...]:
    """Refuse images that are not under the root; return those under it that are not listed."""
    root = Path(images.root)
    if not root.is_dir():
        raise ListError(f"{root}: is no folder, should be the folder with the images; --root names another")
    found = set(find_images(root))
    names = images.names()
    missing = [name for name in names if name not in found and not (root / name).is_file()]
    if missing:
        origin = ", ".join(map(str, sources))
        raise ListError([f"{origin}: names {name!r}, but {root / name} is not there" for name in missing])
    return tuple(sorted(found.difference(names)))


def _joined_with_duplicates(
    images: ImageList, groups: np.ndarray | None, notes: list[str], progress: Callable[[int, int], None] | None
) -> np.ndarray:
    """Return the groups with near-duplicate images in one; note what was found."""
    from mxml.duplicates import find_duplicates
    from mxml.image_scan import scan_images

    scan = scan_images(images, progress=progress and (lambda done: progress(done, len(images))))
    if scan.faults:
        first = scan.faults[0]
        notes.append(
            f"{len(scan.faults):,} of {len(images):,} images cannot be used, such as "
            f"{quoted(images.name(first.position))}, which {first.reason}; mxml check lists them all"
        )
    duplicates = find_duplicates(scan)
    together = duplicates.groups()
    if together:
        count = sum(map(len, together))
        notes.append(
            f"{count:,} images are duplicates or near-duplicates of others, such as "
            f"{' and '.join(quoted(images.name(position)) for position in together[0][:2])}; "
            "each such group stays on one side, and mxml check shows them"
        )
    numbers = duplicates.group_numbers(len(images))
    return numbers if groups is None else join_groups(groups, numbers)


def _kept_parts(names: Sequence[str], out: Path, count: int) -> np.ndarray:
    """Return (N,) int64: the part that the lists in ``out`` have an image in, -1 for none."""
    side: dict[str, int] = {}
    for part, name in enumerate(PARTS):
        file = out / f"{name}.lst"
        if not file.is_file():
            continue
        if part >= count:
            raise ListError(
                f"{file}: is there from a split into {len(PARTS)}, and would be left over from this one into {count}; "
                "remove it, or give as many shares"
            )
        for listed in read_lst(file, allow_absolute=True, any_values=True).names():
            if side.setdefault(listed, part) != part:
                raise ListError(
                    f"{file}: has {quoted(listed)}, which {PARTS[side[listed]]}.lst beside it has too; "
                    "--new-split splits anew"
                )
    return np.array([side.get(name, -1) for name in names], np.int64)


def _parted_groups(groups: np.ndarray, positions: Sequence[np.ndarray]) -> list[str]:
    """Return a note where lists that were there hold images of one group in several parts."""
    per_part = [np.unique(groups[part]) for part in positions]
    parted = int((np.unique(np.concatenate(per_part), return_counts=True)[1] > 1).sum())
    if not parted:
        return []
    what = "1 group of images is" if parted == 1 else f"{parted:,} groups of images are"
    return [f"{what} on several sides, as in the lists that were there; --new-split brings each to one side"]


def _numbered(images: ImageList, names: Sequence[str], positions: np.ndarray) -> ImageList:
    return ImageList.from_rows([names[position] for position in positions], images.labels[positions], images.root)
