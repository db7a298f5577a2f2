"""Lets ``import mxnet`` work after ``import mxml``, which itself imports nothing.

MXNet 1.9.1 asks NumPy for a name that is gone, and reads its environment once. A program that imports mxnet by itself
gets what ``imports.load_mxnet`` sets, if it imported mxml before.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any


class _BeforeMxnet:
    """Prepares the process when mxnet is imported; other finders then find it."""

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> Any:
        if name == "mxnet":
            from mxml.runtime.imports import prepare_for_mxnet

            sys.meta_path.remove(self)
            prepare_for_mxnet()
        return None


def prepare_when_mxnet_is_imported() -> None:
    """Put the hook in place, once."""
    if "mxnet" not in sys.modules and not any(isinstance(finder, _BeforeMxnet) for finder in sys.meta_path):
        sys.meta_path.insert(0, _BeforeMxnet())
