"""From labelled images to the three files that training reads: train.lst, val.lst and labels.txt."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

from mxml import atomic
from mxml.errors import ListError
from mxml.image_list import ImageList, format_label_names, shown
from mxml.lst_file import format_lst
from mxml.sources import default_source, recognise
from mxml.sources.folder_names import find_images
from mxml.splits import stratified_split


@dataclass(frozen=True)
class MadeLists:
    """What was made: the two lists, the label names, and what became of each file.

    ``files`` holds pairs of a path and ``unchanged``, ``written`` or ``replaced``; ``unlisted`` names the images under
    the root that the source does not mention.
    """

    source: Path
    form: str
    label_names: tuple[str, ...]
    train: ImageList
    val: ImageList
    files: tuple[tuple[Path, str], ...]
    unlisted: tuple[str, ...]

    @property
    def unchanged(self) -> bool:
        """Say whether all files were there already, with this content."""
        return all(state == "unchanged" for _, state in self.files)


def make_lists(
    source: str | os.PathLike[str] | None = None,
    root: str | os.PathLike[str] = "images",
    out: str | os.PathLike[str] = "lists",
    num_classes: int | None = None,
    val_share: float = 0.2,
    seed: int = 42,
    force: bool = False,
) -> MadeLists:
    """Read labelled images, split them by their labels, and write train.lst, val.lst and labels.txt into ``out``.

    ``source`` is what mxml.sources knows, ``labels.csv`` under ``root`` or else ``root``'s folders unless given. The
    labels keep the source's order, the images too within each list, where they are numbered from 0. The same images,
    ``val_share`` and ``seed`` give the same bytes everywhere.

    The files appear together or not at all. Raises ListError for faults in the source, a number of labels other than
    ``num_classes``, images that are missing under ``root``, and files with other content already there, unless
    ``force`` lets them be replaced.
    """
    root, out = Path(root), Path(out)
    if not root.is_dir():
        raise ListError(f"{root}: is no folder, should be the folder with the images")
    if not 0 < val_share < 1:
        raise ListError(f"the validation share is {val_share:g}, should lie between 0 and 1")
    origin = default_source(root) if source is None else Path(source)
    form = recognise(origin)
    labelled = form.read(origin, root)
    images, label_names = labelled.images, labelled.label_names
    if num_classes is not None and num_classes != len(label_names):
        counted = "1 label" if len(label_names) == 1 else f"{len(label_names)} labels"
        raise ListError(f"{origin}: has {counted}, should be {num_classes}: {shown(label_names)}")
    unlisted = _compare_with_folder(images, root, origin)
    train, val = _split(images, val_share, seed)
    contents = {
        out / "train.lst": format_lst(train),
        out / "val.lst": format_lst(val),
        out / "labels.txt": format_label_names(label_names),
    }
    files = _write(contents, force)
    return MadeLists(origin, form.NAME, label_names, train, val, files, unlisted)


def _compare_with_folder(images: ImageList, root: Path, origin: Path) -> tuple[str, ...]:
    """Refuse images that are not under ``root``; return those under it that are not listed."""
    found = set(find_images(root))
    names = images.names()
    missing = [name for name in names if name not in found and not (root / name).is_file()]
    if missing:
        raise ListError([f"{origin}: names {name!r}, but {root / name} is not there" for name in missing])
    return tuple(sorted(found.difference(names)))


def _split(images: ImageList, val_share: float, seed: int) -> tuple[ImageList, ImageList]:
    parts = stratified_split(images.labels, (1 - val_share, val_share), seed)
    if not all(len(part) for part in parts):
        raise ListError(f"{len(images)} images are too few for a validation share of {val_share:g}")
    names = images.names()
    train, val = (
        ImageList.from_rows([names[position] for position in part], images.labels[part], images.root) for part in parts
    )
    return train, val


def _write(contents: dict[Path, bytes], force: bool) -> tuple[tuple[Path, str], ...]:
    try:
        states = {path: _state(path, content) for path, content in contents.items()}
        others = [str(path) for path, state in states.items() if state == "replaced"]
        if others and not force:
            raise ListError(
                f"{', '.join(others)}: already there with other content; nothing was written; --force replaces them"
            )
        with contextlib.ExitStack() as together:
            for path, content in contents.items():
                if states[path] != "unchanged":
                    path.parent.mkdir(parents=True, exist_ok=True)
                    Path(together.enter_context(atomic.replacing(path))).write_bytes(content)
    except OSError as error:
        raise ListError(f"{error.filename}: cannot be written: {error.strerror}") from error
    return tuple(states.items())


def _state(path: Path, content: bytes) -> str:
    try:
        return "unchanged" if path.read_bytes() == content else "replaced"
    except FileNotFoundError:
        return "written"
