"""A setting, written once: a dataclass field with its help, its bounds, and what a resumed run may do with it.

The command line makes an option of it, the configuration checks it, the sidecar stores it, and resuming follows it.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, Literal, Union, get_args, get_origin

from mxml.errors import SettingError

OnResume = Literal["same", "larger", "free"]

Check = Callable[[Any], str]
"""Takes a value and returns what it should be, or an empty text if it is valid."""

_KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}


@dataclass(frozen=True)
class Setting:
    """What is known about one setting.

    ``kind`` is the type of a single value and ``count`` how many there are: 1 for a plain value, None for any number.
    ``words`` may stand in the place of numbers, until a run finds out which they are.
    ``default`` is ``dataclasses.MISSING`` where a value has to be given. ``default_help`` says in words what an
    optional setting is where it was not given. ``on_resume`` says whether a resumed run must have the ``same`` value,
    may have a ``larger`` one, or is ``free``. A ``path`` is stored relative to the run's folder, and is free as well.
    """

    name: str
    kind: type
    count: int | None
    several: bool
    optional: bool
    words: tuple[str, ...]
    default: Any
    help: str
    choices: tuple[str, ...]
    check: Check | None
    metavar: str | None
    default_help: str
    on_resume: OnResume
    path: bool

    @property
    def required(self) -> bool:
        """Say whether a value is required."""
        return self.default is dataclasses.MISSING

    def checked(self, value: Any) -> Any:
        """Return the value as its kind has it: lists become tuples, paths text. Raises SettingError for a wrong one."""
        if value is None and self.optional:
            return None
        if isinstance(value, str) and value in self.words:
            return value
        value = self._tuple(value) if self.several else self._single(value)
        wanted = self.check(value) if self.check else ""
        if wanted:
            raise SettingError(self.name, value, wanted)
        return value

    def _tuple(self, value: Any) -> tuple[Any, ...]:
        if self.count is None and isinstance(value, Real):
            value = (value,)
        if isinstance(value, (str, bytes)) or not isinstance(value, (Sequence, set, frozenset)):
            raise SettingError(self.name, value, self._wanted("a tuple"))
        if self.count is not None and len(value) != self.count:
            raise SettingError(self.name, tuple(value), self._wanted(f"{self.count} numbers"))
        return tuple(self._single(part) for part in value)

    def _single(self, value: Any) -> Any:
        if self.kind is str and isinstance(value, (str, os.PathLike)):
            value = os.fspath(value)
        elif self.kind is int and isinstance(value, Integral) and not isinstance(value, bool):
            value = int(value)
        elif self.kind is float and isinstance(value, Real) and not isinstance(value, bool):
            value = float(value)
        if type(value) is not self.kind:
            raise SettingError(self.name, value, _KINDS[self.kind])
        if isinstance(value, float) and not math.isfinite(value):
            raise SettingError(self.name, value, self._wanted("a number"))
        if self.choices and value not in self.choices:
            raise SettingError(self.name, value, "one of " + ", ".join(self.choices))
        return value

    def _wanted(self, otherwise: str) -> str:
        # Every check is written so that it refuses nan, or an empty tuple, and then says what it wants.
        return (self.check(() if self.several else math.nan) if self.check else "") or otherwise


def setting(
    default: Any = dataclasses.MISSING,
    *,
    help: str,
    choices: tuple[str, ...] = (),
    check: Check | None = None,
    metavar: str | None = None,
    default_help: str = "",
    on_resume: OnResume = "same",
    path: bool = False,
) -> Any:
    """Return a dataclass field that is a setting; ``settings_of`` reads it, with its name and type."""
    known = {
        "help": help,
        "choices": choices,
        "check": check,
        "metavar": metavar,
        "default_help": default_help,
        "on_resume": "free" if path else on_resume,
        "path": path,
    }
    return dataclasses.field(default=default, metadata=known)


def settings_of(config: type) -> dict[str, Setting]:
    """Return the settings of a dataclass by name, in its order.

    Its annotations have to be types, not text: a module that uses this cannot postpone them.
    """
    return {field.name: _setting_of(field) for field in dataclasses.fields(config)}


def _setting_of(field: Any) -> Setting:
    kind, optional = field.type, False
    words: tuple[str, ...] = ()
    if get_origin(kind) is Union:
        parts = get_args(kind)
        optional = type(None) in parts
        words = tuple(word for part in parts if get_origin(part) is Literal for word in get_args(part))
        (kind,) = (part for part in parts if part is not type(None) and get_origin(part) is not Literal)
    # A type that is not optional, with None as its default: the configuration fills it in.
    optional = optional or field.default is None
    several = get_origin(kind) is tuple
    count: int | None = 1
    if several:
        parts = get_args(kind)
        kind, count = parts[0], None if parts[-1] is Ellipsis else len(parts)
    return Setting(
        name=field.name,
        kind=kind,
        count=count,
        several=several,
        optional=optional,
        words=words,
        default=field.default,
        **field.metadata,
    )


def at_least(low: float) -> Check:
    """Return a check for values of ``low`` or more."""
    return lambda value: "" if value >= low else f"{low} or more"


def between(low: float, high: float) -> Check:
    """Return a check for values from ``low`` to ``high``."""
    return lambda value: "" if low <= value <= high else f"{low} to {high}"


def above_zero(high: float) -> Check:
    """Return a check for values above 0, up to ``high``."""
    return lambda value: "" if 0 < value <= high else f"above 0, at most {high:g}"


def positive(value: float) -> str:
    """Check that a value is above 0."""
    return "" if value > 0 else "a positive number"


def below_one(value: float) -> str:
    """Check that a value is at least 0 and below 1."""
    return "" if 0 <= value < 1 else "at least 0 and below 1"


def share(value: float) -> str:
    """Check that a value is above 0 and at most 1."""
    return "" if 0 < value <= 1 else "above 0, at most 1"
