"""What happens as mxnet is imported: ``import mxnet`` works after ``import mxml``, which itself imports nothing.

MXNet 1.9.1 asks NumPy for a name that is gone, and reads its environment once. A program that imports mxnet by itself
gets what ``imports.load_mxnet`` sets, if it imported mxml before.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator, Sequence
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


class _NotFound:
    """Lets one thread find no package of some names; those that are imported already stay so."""

    def __init__(self, names: tuple[str, ...]):
        self._names = names
        self._thread = threading.get_ident()

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> Any:
        if name in self._names and threading.get_ident() == self._thread:
            raise ModuleNotFoundError(f"{name} is left out here", name=name)
        return None


@contextlib.contextmanager
def not_found(*names: str) -> Iterator[None]:
    """Have this thread's imports do without some packages, which the importing module must be able to.

    MXNet imports scikit-learn and SciPy for classes that nobody uses any more, which takes half of its own time.
    """
    finder = _NotFound(names)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
