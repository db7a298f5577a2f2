"""The images that a person names on the command line: files, folders and patterns."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable

from mxml.errors import MxmlError

EXTENSIONS = (".jpg", ".jpeg", ".jpe", ".png", ".webp", ".bmp", ".dib", ".tif", ".tiff")


def expand_inputs(inputs: Iterable[str]) -> list[str]:
    """Return image paths in the order named; a folder gives the images below it, a pattern what it matches, sorted.

    A file is taken as it is, whatever its name. Raises MxmlError for an input that gives no image.
    """
    paths: list[str] = []
    for entry in inputs:
        if os.path.isdir(entry):
            found = _below(entry)
            problem = f"holds no image; names should end in {', '.join(EXTENSIONS)}"
        elif os.path.exists(entry):
            found, problem = [entry], ""
        else:
            found = sorted(path for path in glob.glob(entry, recursive=True) if os.path.isfile(path))
            problem = "no file matches" if glob.has_magic(entry) else "is not there"
        if not found:
            raise MxmlError(f"{entry}: {problem}")
        paths.extend(found)
    return paths


def _below(folder: str) -> list[str]:
    return sorted(
        os.path.join(parent, name)
        for parent, _, names in os.walk(folder)
        for name in names
        if name.lower().endswith(EXTENSIONS)
    )
