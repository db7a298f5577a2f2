"""From labelled images to the files that training reads: train.lst, val.lst, perhaps test.lst, and labels.txt."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mxml import atomic
from mxml.data.formats import default_source
from mxml.data.formats.sources import LabelSources
from mxml.data.image_list import ImageList
from mxml.data.label_names import LABEL_NAMES_FILE, format_label_names
from mxml.data.labelled_images import LabelledImages
from mxml.data.list_root import DEFAULT_ROOT, RECORD, format_record
from mxml.errors import ListError
from mxml.prepare.existing_lists import ContinuedList, ExistingLists, read_existing, refuse_left_over
from mxml.prepare.grouping import Groups, ScannedImages, find_groups
from mxml.prepare.image_folder import compare_with_folder
from mxml.prepare.label_spelling import look_alikes
from mxml.prepare.splits import stratified_split
from mxml.prepare.subsets import SUBSETS, Split
from mxml.progress import SILENT, Progress
from mxml.staging import finish_move, staged
from mxml.text import counted, quoted

_NOTABLE_SHARE = 0.01
_SHOWN_PAIRS = 5


@dataclass(frozen=True, eq=False)
class MadeLists:
    """The lists that were made in ``folder``: one per subset, the label names, and what happened to each file.

    ``sources`` are the files and folders that were read, ``formats`` what format each has. ``kept`` counts the images
    that stayed in the subset that earlier lists have them in. ``files`` holds pairs of a path and ``unchanged``,
    ``written`` or ``replaced``; ``unlisted`` names the images under the root that the sources do not mention; each of
    ``notes`` is one line for the user. ``scanned`` is what was found where every image was opened, to find
    near-duplicates.
    """

    folder: Path
    sources: tuple[Path, ...]
    formats: tuple[str, ...]
    label_names: tuple[str, ...]
    subsets: dict[str, ImageList]
    kept: int
    files: tuple[tuple[Path, str], ...]
    unlisted: tuple[str, ...]
    notes: tuple[str, ...]
    scanned: ScannedImages | None = None

    @property
    def paths(self) -> dict[str, Path]:
        """Return the file of each subset's list."""
        return {subset: self.folder / f"{subset}.lst" for subset in self.subsets}

    @property
    def root(self) -> str:
        """Return the image folder."""
        return next(iter(self.subsets.values())).root

    @property
    def unchanged(self) -> bool:
        """Say whether all files existed already, with this content."""
        return all(state == "unchanged" for _, state in self.files)

    @property
    def label_counts(self) -> list[tuple[int, ...]]:
        """Return for each label how many images of each subset have it."""
        return list(zip(*((images.labels == 1).sum(axis=0).tolist() for images in self.subsets.values())))

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain Python values that JSON can hold; of the subsets their sizes."""
        return {
            "sources": list(map(str, self.sources)),
            "formats": list(self.formats),
            **{subset: len(images) for subset, images in self.subsets.items()},
            "labels": [
                {"name": name, **dict(zip(self.subsets, counts))}
                for name, counts in zip(self.label_names, self.label_counts)
            ],
            "kept": self.kept,
            "files": {str(path): state for path, state in self.files},
            "unchanged": self.unchanged,
            "unlisted": list(self.unlisted),
            "notes": list(self.notes),
        }


_NO_SOURCES = LabelSources(())
_DEFAULT_SPLIT = Split()


def make_lists(
    sources: LabelSources = _NO_SOURCES,
    out: Path = Path("lists"),
    split: Split = _DEFAULT_SPLIT,
    *,
    force: bool = False,
    into: Path | None = None,
    refuse: Callable[[MadeLists], None] = lambda made: None,
    progress: Progress = SILENT,
) -> MadeLists:
    """Read labelled images, split them by their labels, and write train.lst, val.lst and labels.txt into ``out``.

    Sources without paths are ``labels.csv`` under their root, or else its folders; the root is ``images`` unless given.
    The labels keep the source's order; in a list that is made for the first time the images do too, numbered from 0.
    ``lists.json`` beside the lists remembers the root. The same images, lists and settings give the same bytes
    everywhere.

    Images that are already in a list in ``out`` stay in that subset, unless ``split.new``, and keep their line and
    index number there; new images are added at the end. Only a list that keeps every line as it was is replaced without
    ``force``. Images without a list are split by iterative stratification. ``refuse`` is called before anything is
    written, with the lists as they would be, and may raise. With ``into`` the files are written there, for the caller
    to move into ``out``, and no list is written to ``out``.

    The files appear together or not at all; what a killed process had begun to replace in ``out`` is finished first,
    also with ``into``, as the lists there are read. Raises ListError for faults in a source, for images that are
    missing under the root, for lists in ``out`` whose split cannot be kept, and for a subset that would be empty;
    StorageError for existing files with other content, unless ``force``, and for files that cannot be written;
    SettingError and MxmlError for a ``group_by`` that is not a regular expression or finds nothing.
    """
    sources = _with_default_paths(sources)
    outputs = _refuse_to_write_over_sources(sources, out)
    if finish_move(out):
        progress.note(f"{out}: finished replacing the files there, which a killed process had begun")
    refuse_left_over(out, len(split.shares))
    existing = ExistingLists(out, {}, None) if split.new else read_existing(out)

    labelled, formats = sources.read(outputs, progress)
    unlisted = compare_with_folder(labelled.images, sources.paths)
    groups = find_groups(labelled.images, split, progress)

    kept, gone = _kept_subsets(existing, labelled.images, sources, force)
    positions = stratified_split(labelled.images.labels, split.shares, split.seed, groups.numbers, kept)
    lists = {subset: existing.continued(subset, labelled.images, chosen) for subset, chosen in zip(SUBSETS, positions)}
    kept_count = int((kept >= 0).sum())
    _refuse_empty(lists, split, kept_count, groups)

    notes = [*labelled.notes, *_misspelt(labelled), *groups.notes]
    if kept_count:
        notes += _notes_on_kept(gone, len(labelled.images), sources, positions, split, kept_count)
        notes += _parted_groups(groups, positions)
    made = MadeLists(
        out,
        sources.paths,
        tuple(format.NAME for format in formats),
        labelled.label_names,
        {subset: made.images for subset, made in lists.items()},
        kept_count,
        (),
        unlisted,
        tuple(notes),
        groups.scanned,
    )
    refuse(made)
    return replace(made, files=_write(lists, labelled, existing, into or out, force))


def _with_default_paths(sources: LabelSources) -> LabelSources:
    if sources.paths:
        return sources.located()
    root = sources.root or Path(DEFAULT_ROOT)
    return replace(sources, paths=(default_source(root),), root=root)


def _refuse_to_write_over_sources(sources: LabelSources, out: Path) -> set[str]:
    """Return the real paths of the files that are written; raise ListError where one of them is a source."""
    names = (*(f"{subset}.lst" for subset in SUBSETS), LABEL_NAMES_FILE, RECORD)
    outputs = {os.path.realpath(out / name) for name in names}
    for path in sources.paths:
        if os.path.realpath(path) in outputs:
            raise ListError(f"{path}: is a source and would be overwritten; `out` should name another folder")
    return outputs


def _kept_subsets(
    existing: ExistingLists, images: ImageList, sources: LabelSources, force: bool
) -> tuple[np.ndarray, int]:
    """Return (N,) int64, the number of the subset that each image stays in or -1, and how many listed images are gone.

    Raises ListError where no image stays, and for images that are gone unless ``force``.
    """
    names = images.names()
    kept = existing.subset_numbers(names)
    if existing.lists and not (kept >= 0).any():
        raise ListError(
            f"{existing.folder}: has lists that contain none of these images, so no subset can be kept; give the "
            "sources of those images as well to add to them, or the `root` that they were made with; `new` replaces "
            "them"
        )
    gone = existing.missing_from(names)
    if gone and not force:
        raise ListError(
            f"{sources}: lacks {gone:,} of the images that the lists in {existing.folder} have; give their sources as "
            "well to add to them, or `force` leaves them out"
        )
    return kept, gone


def _refuse_empty(lists: dict[str, ContinuedList], split: Split, kept_count: int, groups: Groups) -> None:
    count = sum(len(made.images) for made in lists.values())
    for (subset, made), share in zip(lists.items(), split.shares):
        if len(made.images):
            continue
        if kept_count:
            raise ListError(
                f"{subset}.lst would be empty, as {kept_count:,} of {counted(count, 'image')} stay in their subset in "
                "the existing lists; `new` splits all of them again"
            )
        apart = count if groups.numbers is None else len(np.unique(groups.numbers))
        what, remedy = counted(count, "image"), ""
        if apart < count:
            what += f", in {counted(apart, 'group')} that {'stay' if apart > 1 else 'stays'} together,"
            remedy += "; another `group_by` finds smaller groups" * (split.group_by is not None)
            remedy += "; with `ignore_duplicates` similar images may be separated" * (not split.ignore_duplicates)
        verb = "is" if count == 1 else "are"
        raise ListError(f"{what} {verb} too few for a share of {share:g} in {subset}.lst{remedy}")


def _write(
    lists: dict[str, ContinuedList], labelled: LabelledImages, existing: ExistingLists, into: Path, force: bool
) -> tuple[tuple[Path, str], ...]:
    """Write all files or none; return what happened to each."""
    nothing_lost = (
        bool(existing.lists)
        and existing.label_names == labelled.label_names
        and all(made.keeps_lines for made in lists.values())
    )
    with staged(into, force or nothing_lost) as staging:
        for subset, made in lists.items():
            atomic.write_bytes(staging.path / f"{subset}.lst", made.content)
        atomic.write_bytes(staging.path / LABEL_NAMES_FILE, format_label_names(labelled.label_names))
        record = format_record(Path(labelled.images.root), existing.folder)
        atomic.write_bytes(staging.path / RECORD, record)
    return staging.files


# ---- notes


def _misspelt(labelled: LabelledImages) -> list[str]:
    counts = (labelled.images.labels == 1).sum(axis=0).tolist()
    pairs = look_alikes(labelled.label_names, counts)
    if not pairs:
        return []
    shown_pairs = ", ".join(f"{quoted(rarer)} and {quoted(commoner)}" for rarer, commoner in pairs[:_SHOWN_PAIRS])
    more = f" and {len(pairs) - _SHOWN_PAIRS:,} more" if len(pairs) > _SHOWN_PAIRS else ""
    return [f"labels that look alike and may be the same: {shown_pairs}{more}"]


def _notes_on_kept(
    gone: int, count: int, sources: LabelSources, positions: Sequence[np.ndarray], split: Split, kept_count: int
) -> list[str]:
    """Return notes on where the lists that were there make the new ones different from what the user might expect."""
    notes = []
    if gone:
        verb = "is" if gone == 1 else "are"
        notes.append(f"{counted(gone, 'image')} of the existing lists {verb} not in {sources}, and left out")
    for subset, chosen, asked in zip(SUBSETS, positions, split.shares):
        share = len(chosen) / count
        if abs(share - asked) > max(_NOTABLE_SHARE, 2 / count):
            notes.append(
                f"{subset}.lst has {share:.1%} of the images, and {asked:.1%} were asked for: "
                f"{counted(kept_count, 'image')} stayed in their subset; `new` splits all of them again"
            )
            break
    if split.seed != _DEFAULT_SPLIT.seed:
        notes.append("`seed` applies only to images that are not in these lists yet; with `new` it applies to all")
    return notes


def _parted_groups(groups: Groups, positions: Sequence[np.ndarray]) -> list[str]:
    """Return a note where lists that were there hold images of one group in several subsets."""
    if groups.numbers is None:
        return []
    per_subset = [np.unique(groups.numbers[chosen]) for chosen in positions]
    parted = int((np.unique(np.concatenate(per_subset), return_counts=True)[1] > 1).sum())
    if not parted:
        return []
    what = f"{counted(parted, 'group')} of images {'is' if parted == 1 else 'are'}"
    return [f"{what} in several subsets, as in the existing lists; `new` puts each into one subset"]
