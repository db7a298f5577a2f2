"""Which images a PASCAL VOC tree's sets hold, and what the files CLASS_SET.txt beside them say of each label."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from mxml.data.label_names import label_name_faults
from mxml.errors import Faults, ListError
from mxml.text import quoted
from mxml.text_lines import read_lines

SETS = Path("ImageSets", "Main")
"""The folder with the sets, in a tree."""

ANNOTATIONS = "Annotations"
"""The folder with an annotation for each image, in a tree."""

TRAINVAL = "trainval"
"""The set that a tree is read by if it has it, and is written with."""

_CLASS_LINES_SEEN = 100


def is_in_sets(path: Path) -> bool:
    """Say whether ``path`` is in a folder of sets."""
    return path.absolute().parts[-3:-1] == SETS.parts


def tree_of(path: Path) -> Path:
    """Return the tree that ``path`` is, or that the set ``path`` is in."""
    if path.is_dir():
        return path
    return path.parents[2] if len(path.parents) > 2 else path.absolute().parents[2]


def sets_to_read(path: Path) -> tuple[Path, list[Path], list[str]]:
    """Return the tree, the files of the sets to read, and a note on which they are."""
    if not path.is_dir() and not is_in_sets(path):
        raise ListError(f"{path}: should be a VOC tree, or a file in its {SETS}")
    tree = tree_of(path)
    if not path.is_dir():
        if _is_class_file(path, {file.stem for file in path.parent.glob("*.txt")}):
            raise ListError(f"{path}: is what one label has in a set, should be the set, such as {TRAINVAL}.txt")
        return tree, [path], []
    folder = tree / SETS
    files = sorted(file for file in folder.glob("*.txt") if file.is_file())
    stems = {file.stem for file in files}
    sets = [file for file in files if not _is_class_file(file, stems)]
    if not sets:
        raise ListError(f"{folder}: holds no set of images, should hold {TRAINVAL}.txt, or train.txt or similar")
    chosen = [file for file in sets if file.stem == TRAINVAL] or sets
    others = [file.name for file in sets if file not in chosen]
    note = f"{path}: read {', '.join(file.name for file in chosen)}"
    return tree, chosen, [f"{note}, not {', '.join(others)}" if others else note]


def _is_class_file(file: Path, sets: Container[str]) -> bool:
    """Say whether a file is called CLASS_SET.txt after one of the sets, and holds a 1, 0 or -1 for images."""
    if not _labels_in_name(file, sets):
        return False
    lines = [line for line in islice(read_lines(file), _CLASS_LINES_SEEN) if line.strip()]
    return not lines or any(map(_class_line, lines))


def _labels_in_name(file: Path, sets: Container[str]) -> list[str]:
    """Return each CLASS for which a file is called CLASS_SET.txt after one of the sets."""
    stem = file.stem
    return [stem[:i].strip() for i, sign in enumerate(stem) if sign == "_" and stem[i + 1 :] in sets]


def _class_line(text: str) -> tuple[str, str] | None:
    """Return the id, which may hold blanks, and the 1, 0 or -1 of a line; None for any other line."""
    fields = text.strip().rsplit(None, 1)
    return (fields[0], fields[1]) if len(fields) == 2 and fields[1] in ("1", "0", "-1") else None


@dataclass(frozen=True)
class ClassFiles:
    """What the files CLASS_SET.txt say: the labels, and 1, 0 or -1 of images, label by label."""

    labels: dict[str, dict[str, str]]
    folder: Path

    def shown(self, image_id: str) -> dict[str, bool]:
        """Return the labels of an image, and of each whether it is difficult; raise ListError where one is left open.

        That is where the file of a label does not name the image.
        """
        codes = {label: images.get(image_id) for label, images in self.labels.items()}
        absent = [label for label, code in codes.items() if code is None]
        if absent:
            raise ListError(
                f"{self.folder}: the file of the label {quoted(absent[0])} does not name {quoted(image_id)}"
            )
        return {label: code == "0" for label, code in codes.items() if code != "-1"}


def read_class_files(sets: Sequence[Path]) -> ClassFiles:
    """Read the files CLASS_SET.txt of all sets; raise ListError with every fault, and where there is none."""
    folder = sets[0].parent
    stems = {file.stem for file in sets}
    labels: dict[str, dict[str, str]] = {}
    faults = Faults()
    for file in sorted(folder.glob("*.txt")):
        if not _is_class_file(file, stems):
            continue
        for label in _labels_in_name(file, stems):
            codes = labels.setdefault(label, {})
            for line, text in enumerate(read_lines(file), 1):
                fields = _class_line(text)
                if fields:
                    image_id, code = fields
                    if codes.setdefault(image_id, code) != code:
                        faults.add(f"{file}:{line}: {quoted(image_id)} is {code}, was {codes[image_id]}")
                elif text.strip():
                    faults.add(f"{file}:{line}: is {quoted(text)}, should be an image's id and 1, -1 or 0")
    if not labels:
        raise ListError(
            f"{folder.parents[1]}: has no {ANNOTATIONS}, and no files such as {SETS / 'cat'}_{sets[0].name}"
        )
    for _, fault in label_name_faults(list(labels)):
        faults.add(f"{folder}: {fault}")
    faults.raise_any()
    return ClassFiles(labels, folder)
