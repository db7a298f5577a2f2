"""The images that a person names on the command line: files, folders and patterns."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable
from pathlib import Path

from mxml.data.formats.file_tree import IMAGE_SUFFIXES, find_images
from mxml.errors import MxmlError


def expand_inputs(inputs: Iterable[str]) -> list[str]:
    """Return image paths in the order named; a folder gives the images below it, a pattern what it matches, sorted.

    A file is taken as it is, whatever its name; in folders, suffixes tell images, and hidden ones are passed over. A
    pattern's ``**`` stands for any folders. Raises MxmlError for an input that gives no image.
    """
    paths: list[str] = []
    for entry in inputs:
        if os.path.isdir(entry):
            found = [os.path.join(entry, name) for name in find_images(Path(entry))]
            problem = f"holds no image, should hold files that end in {', '.join(IMAGE_SUFFIXES)}"
        elif os.path.exists(entry):
            found, problem = [entry], ""
        elif glob.has_magic(entry):
            found = sorted(path for path in glob.glob(entry, recursive=True) if os.path.isfile(path))
            problem = "no file matches, should be an image, a folder or a pattern such as 'photos/*.jpg'"
        else:
            found, problem = [], "is not there, should be an image, a folder or a pattern such as 'photos/*.jpg'"
        if not found:
            raise MxmlError(f"{entry or repr(entry)}: {problem}")
        paths.extend(found)
    return paths
