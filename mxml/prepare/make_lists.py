"""From labelled images to the files that training reads: train.lst, val.lst, perhaps test.lst, and labels.txt."""

from __future__ import annotations

import os
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

import numpy as np

from mxml import atomic
from mxml.data.formats import check_num_classes, default_source, read_labels
from mxml.data.formats.options import DEFAULTS, SourceOptions
from mxml.data.image_list import ImageList, format_label_names
from mxml.data.labelled_images import LabelledImages
from mxml.data.lst_file import write_lst
from mxml.errors import ListError
from mxml.prepare.existing_lists import PARTS, ExistingLists, read_existing, refuse_left_over
from mxml.prepare.grouping import group_by_pattern, join_groups
from mxml.prepare.image_folder import compare_with_folder
from mxml.prepare.label_spelling import look_alikes
from mxml.prepare.splits import stratified_split
from mxml.staging import staged
from mxml.text import quoted

_NOTABLE_SHARE = 0.01
_SHOWN_PAIRS = 5


@dataclass(frozen=True)
class MadeLists:
    """What was made: a list for each part, the label names, and what became of each file.

    ``kept`` counts the images that stayed on the side of lists that were there. ``files`` holds pairs of a path and
    ``unchanged``, ``written`` or ``replaced``; ``unlisted`` names the images under the root that the sources do not
    mention; ``notes`` are lines for a person.
    """

    sources: tuple[Path, ...]
    formats: tuple[str, ...]
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
    format: str | None = None,
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

    Without ``sources`` it is ``labels.csv`` under ``root``, or else its folders. ``format`` to ``options`` are those of
    ``mxml.data.formats.read_labels``. ``split`` gives the shares of train.lst, val.lst and, with three, test.lst. The
    labels keep the source's order, the images too within each list, where they are numbered from 0.

    An image in a list that is in ``out`` already stays in that part, so that adding images moves none, unless
    ``new_split``; lists that only gain images are replaced without ``force``. The others are dealt out by ``seed`` with
    iterative stratification. Images that ``group_by``, a regular expression, finds the same text in stay together, and
    near-duplicate images do unless ``near_duplicates`` is false; to find them every image is opened, and ``progress``
    is called with how many more are done, and of how many. The same images, lists and settings give the same bytes
    everywhere.

    The files appear together or not at all. Raises ListError for faults in a source, a number of labels other than
    ``num_classes``, images that are missing under ``root``, lists in ``out`` whose split cannot be kept, a part that
    would be empty, and files with other content already there, unless ``force`` lets them be replaced; MxmlError for a
    ``group_by`` that is no regular expression or finds nothing.
    """
    if not sources:
        root = root or Path("images")
        sources = (default_source(root),)
    check_shares(split)
    outputs = {os.path.realpath(out / name) for name in (*(f"{part}.lst" for part in PARTS), "labels.txt")}
    _refuse_sources_as_outputs(sources, outputs)
    refuse_left_over(out, len(split))
    existing = ExistingLists({}, None) if new_split else read_existing(out)
    labelled, formats = read_labels(sources, root, format, classes_file, ignore_unknown, options, outputs)
    check_num_classes(labelled, num_classes, sources)
    images = labelled.images
    names = images.names()
    origin = ", ".join(map(str, sources))
    unlisted = compare_with_folder(images, origin)
    notes = [*labelled.notes, *_misspelt(labelled)]
    groups = None if group_by is None else group_by_pattern(names, group_by)
    if near_duplicates:
        groups = _joined_with_duplicates(images, groups, notes, progress)
    kept = existing.sides(names)
    if existing.lists and not (kept >= 0).any():
        raise ListError(
            f"{out}: has lists that name none of these images, so that no side can be kept; give the sources of those "
            "images as well to add to them, or the --root that they were made with; --new-split replaces them"
        )
    gone = existing.missing_from(names)
    if gone and not force:
        raise ListError(
            f"{origin}: lacks {gone:,} of the images that the lists in {out} have; give their sources as well to add "
            "to them, or --force leaves them out"
        )
    positions = stratified_split(images.labels, split, seed, groups, kept)
    parts = dict(zip(PARTS, (_numbered(images, names, part) for part in positions)))
    kept_count = int((kept >= 0).sum())
    _refuse_empty(parts, split, kept_count, groups, group_by is not None, near_duplicates)
    if kept_count:
        notes += _notes_on_kept(gone, len(names), origin, parts, split, kept_count)
        notes += _parted_groups(groups, positions)
    with staged(out, force or existing.all_in(parts, labelled.label_names)) as staging:
        for part, chosen in parts.items():
            write_lst(staging.path / f"{part}.lst", chosen)
        atomic.write_bytes(staging.path / "labels.txt", format_label_names(labelled.label_names))
    return MadeLists(
        tuple(sources),
        tuple(source.NAME for source in formats),
        labelled.label_names,
        parts,
        kept_count,
        staging.files,
        unlisted,
        tuple(notes),
    )


def check_shares(split: Sequence[float]) -> None:
    """Raise ListError for shares that no train, validation and test lists can have."""
    if not 2 <= len(split) <= len(PARTS) or not all(0 < share < 1 for share in split) or abs(sum(split) - 1) > 1e-6:
        raise ListError(
            f"the split {','.join(f'{share:g}' for share in split)} should be two or three shares that add up to 1, "
            "such as 0.8,0.2 or 0.8,0.1,0.1"
        )


def _refuse_sources_as_outputs(sources: Sequence[Path], outputs: Container[str]) -> None:
    for path in sources:
        if os.path.realpath(path) in outputs:
            raise ListError(f"{path}: is to be read, and would be written over; --out names another folder")


def _misspelt(labelled: LabelledImages) -> list[str]:
    counts = (labelled.images.labels == 1).sum(axis=0).tolist()
    pairs = look_alikes(labelled.label_names, counts)
    if not pairs:
        return []
    shown_pairs = ", ".join(f"{quoted(rarer)} and {quoted(commoner)}" for rarer, commoner in pairs[:_SHOWN_PAIRS])
    more = f" and {len(pairs) - _SHOWN_PAIRS:,} more" if len(pairs) > _SHOWN_PAIRS else ""
    return [f"labels that look alike, perhaps one label each: {shown_pairs}{more}"]


def _refuse_empty(
    parts: Mapping[str, ImageList],
    split: Sequence[float],
    kept_count: int,
    groups: np.ndarray | None,
    grouped_by_name: bool,
    near_duplicates: bool,
) -> None:
    count = sum(map(len, parts.values()))
    for part, share in zip(parts, split):
        if len(parts[part]):
            continue
        if kept_count:
            raise ListError(
                f"{part}.lst would be empty, as {kept_count:,} of {count:,} images keep their side in the lists that "
                "are there; --new-split deals all of them out anew"
            )
        apart = count if groups is None else len(np.unique(groups))
        what, remedy = f"{count:,} images", ""
        if apart < count:
            what += f", in {apart:,} groups that stay together," if apart > 1 else ", in 1 group that stays together,"
            remedy += "; another --group-by finds smaller groups" * grouped_by_name
            remedy += "; --ignore-duplicates takes images that look alike for different ones" * near_duplicates
        raise ListError(f"{what} are too few for a share of {share:g} in {part}.lst{remedy}")


def _joined_with_duplicates(
    images: ImageList, groups: np.ndarray | None, notes: list[str], progress: Callable[[int, int], None] | None
) -> np.ndarray:
    """Return the groups with near-duplicate images in one; note what was found."""
    from mxml.prepare.duplicates import find_duplicates
    from mxml.prepare.image_scan import CalledProgress, scan_images
    from mxml.progress import SILENT

    scan = scan_images(images, progress=CalledProgress(progress) if progress else SILENT)
    if scan.faults:
        first = scan.faults[0]
        notes.append(
            f"{len(scan.faults):,} of {len(images):,} images cannot be used, such as "
            f"{quoted(images.name(first.position))} ({first.reason}); mxml check lists them all"
        )
    duplicates = find_duplicates(scan)
    together = duplicates.groups()
    if together:
        count, largest = sum(map(len, together)), max(map(len, together))
        notes.append(
            f"{count:,} images are duplicates or near-duplicates of others, such as "
            f"{' and '.join(quoted(images.name(position)) for position in together[0][:2])}; each such group, "
            f"the largest of {largest:,} images, stays on one side, and mxml check shows them"
        )
    numbers = duplicates.group_numbers(len(images))
    return numbers if groups is None else join_groups(groups, numbers)


def _notes_on_kept(
    gone: int,
    count: int,
    origin: str,
    parts: Mapping[str, ImageList],
    split: Sequence[float],
    kept_count: int,
) -> list[str]:
    """Return notes on where the lists that were there make the new ones other than a person might expect."""
    notes = []
    if gone:
        what = (
            "1 image of the lists that were there is"
            if gone == 1
            else f"{gone:,} images of the lists that were there are"
        )
        notes.append(f"{what} not in {origin}, and left out")
    for (part, chosen), asked in zip(parts.items(), split):
        share = len(chosen) / count
        if abs(share - asked) > max(_NOTABLE_SHARE, 2 / count):
            notes.append(
                f"{part}.lst has {share:.1%} of the images, and {asked:.1%} were asked for: {kept_count:,} images kept "
                "their side; --new-split deals all of them out anew"
            )
            break
    return notes


def _parted_groups(groups: np.ndarray | None, positions: Sequence[np.ndarray]) -> list[str]:
    """Return a note where lists that were there hold images of one group in several parts."""
    if groups is None:
        return []
    per_part = [np.unique(groups[part]) for part in positions]
    parted = int((np.unique(np.concatenate(per_part), return_counts=True)[1] > 1).sum())
    if not parted:
        return []
    what = "1 group of images is" if parted == 1 else f"{parted:,} groups of images are"
    return [f"{what} on several sides, as in the lists that were there; --new-split brings each to one side"]


def _numbered(images: ImageList, names: Sequence[str], positions: np.ndarray) -> ImageList:
    return ImageList.from_rows([names[position] for position in positions], images.labels[positions], images.root)
