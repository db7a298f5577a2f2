"""Types of options that several commands have."""

from __future__ import annotations

import re
from typing import Any

import click


class Numbers(click.ParamType):
    """Numbers separated by commas, as a tuple; ``count`` fixes how many. One of ``words`` may stand in their place."""

    def __init__(self, kind: type[int] | type[float], count: int | None = None, words: tuple[str, ...] = ()):
        self.kind = kind
        self.count = count
        self.words = words
        numbers = ",".join(["INT" if kind is int else "FLOAT"] * (count or 1)) + ("" if count else ",...")
        self.name = "|".join([*words, numbers])

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[Any, ...] | str:
        """Parse ``1,2,3``."""
        if isinstance(value, tuple) or value in self.words:
            return value
        try:
            numbers = tuple(self.kind(part) for part in str(value).split(","))
        except ValueError:
            whole = "whole " if self.kind is int else ""
            instead = "".join(f"{word}, or " for word in self.words)
            self.fail(f"{value!r} is not {instead}{whole}numbers separated by commas", param, ctx)
        if self.count is not None and len(numbers) != self.count:
            self.fail(f"{value!r} has {len(numbers)} numbers, should have {self.count}", param, ctx)
        return numbers


class Text(click.types.StringParamType):
    """Any text, called ``name`` in the help."""

    def __init__(self, name: str):
        self.name = name


class Thresholds(click.ParamType):
    """A number, one number per label separated by commas, or numbers by label name: ``black=0.1,red=0.3``."""

    name = "FLOAT[,FLOAT...] | NAME=FLOAT[,...]"
    # A name may hold commas and equals signs itself; the number ends the pair.
    _PAIR = re.compile(r"(.+?)=([^=,]*)(?:,|$)")

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return a float, a tuple of floats or a dict of floats by name; the library checks their range."""
        text = str(value)
        if "=" not in text:
            numbers = tuple(self._number(part, param, ctx) for part in text.split(","))
            return numbers[0] if len(numbers) == 1 else numbers
        pairs, end = {}, 0
        while end < len(text):
            match = self._PAIR.match(text, end)
            if match is None:
                self.fail(f"{text!r} should be numbers, or NAME=NUMBER separated by commas", param, ctx)
            pairs[match[1].strip()] = self._number(match[2], param, ctx)
            end = match.end()
        return pairs

    def _number(self, text: str, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            return float(text)
        except ValueError:
            self.fail(f"{text!r} is not a number from 0 to 1", param, ctx)
