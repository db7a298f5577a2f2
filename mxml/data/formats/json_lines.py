"""Labels in JSON Lines, one object per image: ``{"image": "photos/1.jpg", "labels": ["red", "dress"]}``."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from mxml.data.formats.json_stream import kind_of
from mxml.data.formats.options import FormatOptions
from mxml.data.formats.rows import rows_of_names
from mxml.data.label_names import format_label_names, label_names_file
from mxml.data.labelled_images import LabelledImages
from mxml.errors import ListError
from mxml.text import quoted, shown
from mxml.text_lines import MAX_LINE_BYTES, read_lines

NAME = "jsonl"
TITLE = "JSON Lines"
SUFFIXES: tuple[str, ...] = (".jsonl", ".ndjson")

_EXAMPLE = '{"image": "a.jpg", "labels": ["red", "dress"]}'


def recognises(path: Path) -> bool:
    """Say whether ``path`` is a file with the suffix of JSON Lines."""
    return path.suffix.lower() in (".jsonl", ".ndjson") and not path.is_dir()


def read(path: Path, root: Path, options: FormatOptions) -> LabelledImages:
    """Read one object per line: ``image``, its ``labels``, and ``unknown``, the labels that are unknown, if any.

    Other keys are skipped. The images keep the file's order. Raises one ListError with every fault.
    """
    rows = rows_of_names(path, options)
    for number, line in enumerate(read_lines(path), 1):
        if not line.strip():
            continue
        try:
            rows.add(number, *_parse(line))
        except ValueError as error:
            rows.fault(number, str(error))
    return rows.finish(root)


def write(labelled: LabelledImages, target: Path, options: FormatOptions) -> None:
    """Write the lines, and labels.txt beside them."""
    images = labelled.images
    label_names_file(target).write_bytes(format_label_names(labelled.label_names))
    with open(target, "wb") as file:
        for name, row in zip(images.names(), images.labels.tolist()):
            labels, unknown = (
                [label for label, value in zip(labelled.label_names, row) if value == mark] for mark in (1, -1)
            )
            entry = {"image": name, "labels": labels, **({"unknown": unknown} if unknown else {})}
            line = json.dumps(entry, ensure_ascii=False).encode()
            if len(line) > MAX_LINE_BYTES:
                raise ListError(f"{target.name}: the line of {quoted(name)} would be longer than a line may be")
            file.write(line + b"\n")


def _parse(line: str) -> tuple[str, list[str], list[str]]:
    """Return the image of a line, its labels and the unknown ones; raise ValueError, saying what is wrong."""
    try:
        entry = json.loads(line, object_pairs_hook=_without_repeats, parse_int=_number)
    except RecursionError:
        raise ValueError(f"is nested too deeply, should be like {_EXAMPLE}") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"is not JSON ({error.msg} in column {error.colno}), should be like {_EXAMPLE}") from None
    if not isinstance(entry, dict):
        raise ValueError(f"is {kind_of(entry)}, should be an object like {_EXAMPLE}")
    name = entry.get("image")
    if not isinstance(name, str):
        what = kind_of(name) if "image" in entry else f"missing{_keys(entry)}"
        raise ValueError(f'"image" is {what}, should be a path in quotes')
    if "labels" not in entry:
        raise ValueError(
            f'"labels" is missing{_keys(entry)}, should be a list of names, [] for none; a line is like {_EXAMPLE}'
        )
    return name, _names(entry, "labels"), _names(entry, "unknown")


def _keys(entry: dict[str, Any]) -> str:
    return f" (the line has {shown(list(entry), 6)})" if entry else ""


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entry = dict(pairs)
    if len(entry) < len(pairs):
        repeated = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"has {quoted(repeated)} twice in an object, should have it once")
    return entry


def _number(text: str) -> int | float:
    # Python refuses to make an int of thousands of digits, which a key that is skipped may hold.
    return int(text) if len(text) < 20 else float(text)


def _names(entry: dict[str, Any], key: str) -> list[str]:
    names = entry.get(key, [])
    if not isinstance(names, list):
        raise ValueError(f'"{key}" is {kind_of(names)}, should be a list of names such as ["red", "dress"]')
    for name in names:
        if not isinstance(name, str):
            hint = (
                ", in quotes; if that numbers a class, put the class's name" if isinstance(name, (int, float)) else ""
            )
            raise ValueError(f'"{key}" holds {kind_of(name)}, should hold names{hint}')
    return names
