"""Where labels come from and how they are read: one or several files or folders, read as one set."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, replace
from pathlib import Path

from mxml.data.formats import BESIDE_IMAGES, Format, by_name, default_root, recognise, require_there, source_in
from mxml.data.formats.options import DEFAULTS, FormatOptions
from mxml.data.label_names import read_label_names
from mxml.data.labelled_images import LabelledImages, merge, select_labels
from mxml.data.list_root import around, found_root, recorded_root, richest_root
from mxml.errors import ListError, SettingError
from mxml.progress import SILENT, Progress, note_reading
from mxml.text import counted, shown_labels


@dataclass(frozen=True)
class LabelSources:
    """The sources of a set, and how the user wants them to be read.

    ``root`` is the image folder; where it is None, what the formats say, and for tables and other single files what
    ``found_root`` finds. ``folder`` is the one that holds the table, where that was named in place of it: the images
    are there, or in ``images`` there. ``format`` is the NAME of all sources' format, recognised where it is None.
    ``classes_file`` lists the wanted labels, one per line, in order; ``ignore_unknown`` leaves out labels that it does
    not list. ``num_classes`` is how many labels there should be. Raises SettingError for ``ignore_unknown`` without
    ``classes_file``.
    """

    paths: tuple[Path, ...]
    root: Path | None = None
    format: str | None = None
    classes_file: Path | None = None
    ignore_unknown: bool = False
    num_classes: int | None = None
    options: FormatOptions = DEFAULTS
    folder: Path | None = None

    def __post_init__(self) -> None:
        if self.ignore_unknown and self.classes_file is None:
            raise SettingError("classes_file", None, "a file, as `ignore_unknown` leaves out what it does not list")

    def __str__(self) -> str:
        return ", ".join(map(str, self.paths))

    def located(self) -> LabelSources:
        """Return the sources with ``labels.csv`` in place of a folder that holds it, as ``folder``.

        Raises ListError where no root is given, and there are other folders besides.
        """
        if self.format is not None:
            return self
        tables = tuple(map(source_in, self.paths))
        if self.root is not None or tables == self.paths:
            return replace(self, paths=tables)
        return replace(self, paths=tables, folder=_only({path for path in self.paths if path.is_dir()}))

    def read(
        self, outputs: Container[str] = (), progress: Progress = SILENT
    ) -> tuple[LabelledImages, tuple[Format, ...]]:
        """Read all sources as one set; return it, and the format of each source.

        ``outputs`` are the real paths of files that are written from the set, as ``recognise`` takes them. Raises
        ListError for faults in a source, for an image that two of them label differently, for labels that are not in
        ``classes_file`` unless ``ignore_unknown``, and for another number of labels than ``num_classes``.
        """
        for path in self.paths:
            require_there(path)
        formats = tuple(by_name(self.format) if self.format else recognise(path, outputs) for path in self.paths)
        root = self._root(formats)
        options = self.options
        if self.classes_file is not None:
            options = replace(options, classes=tuple(read_label_names(self.classes_file)))
        for path in self.paths:
            note_reading(progress, path)
        parts = [(str(path), format.read(path, root, options)) for format, path in zip(formats, self.paths)]
        labelled = merge(parts)
        if self.root is None and all(map(_images_may_be_beside, formats, self.paths)):
            labelled = _with_found_root(labelled, self.paths, self.folder)
        if options.classes is not None:
            labelled = select_labels(labelled, options.classes, self.ignore_unknown, str(self.classes_file))
        names = labelled.label_names
        if self.num_classes is not None and self.num_classes != len(names):
            raise ListError(
                f"{self}: has {counted(len(names), 'label')}, should be {self.num_classes}: {shown_labels(names)}"
            )
        return labelled, formats

    def _root(self, formats: tuple[Format, ...]) -> Path:
        known = self.root or self.folder
        if known is not None:
            return known
        return _only({_own_root(format, path) for format, path in zip(formats, self.paths)})


def _only(roots: set[Path]) -> Path:
    if len(roots) > 1:
        raise ListError(f"the images are under {' and '.join(sorted(map(str, roots)))}; `root` says where all are")
    return roots.pop()


def _images_may_be_beside(format: Format, path: Path) -> bool:
    return format in BESIDE_IMAGES and _recorded(path) is None


def _with_found_root(labelled: LabelledImages, paths: tuple[Path, ...], folder: Path | None) -> LabelledImages:
    names = labelled.images.names()
    if folder is None:
        root, note = found_root(names, paths)
    else:
        root, note = richest_root(names, around(str(folder)), ", ".join(map(str, paths)))
    notes = labelled.notes if note is None else (*labelled.notes, note)
    return replace(labelled, images=replace(labelled.images, root=root), notes=notes)


def _own_root(format: Format, path: Path) -> Path:
    """Return the image folder that was recorded with a list, else what its format says."""
    recorded = _recorded(path)
    return default_root(format, path) if recorded is None else Path(recorded)


def _recorded(path: Path) -> str | None:
    return recorded_root(path) if path.suffix.lower() == ".lst" else None
