"""Options made of settings, so that names, types, choices, bounds and help are written once."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

import click

from mxml.cli.types import Numbers, Text
from mxml.training.setting import Setting

Command = TypeVar("Command", bound=Callable[..., Any])


def setting_option(known: Setting) -> Callable[[Command], Command]:
    """Return a decorator that adds the option of a setting; its default is only shown, and not given to the command."""
    option = option_name(known.name)
    text = re.sub(r"`(\w+)`", lambda match: option_name(match.group(1)), known.help + _shown_default(known))
    if known.kind is bool:
        declaration = f"{option}/--no-{option[2:]}" if known.default else option
        return click.option(declaration, known.name, default=None, is_flag=True, help=text)
    kind: Any = known.kind
    if known.several and kind is not str:
        kind = Numbers(kind, known.count, known.words)
    elif known.choices:
        kind = click.Choice(known.choices)
    elif kind is str:
        kind = Text(known.metavar or "TEXT")
    return click.option(
        option,
        known.name,
        default=None,
        type=kind,
        multiple=known.several and known.kind is str,
        # By itself click would show the words in capitals, which are not taken.
        metavar=kind.name if known.words else known.metavar if known.choices else None,
        help=text,
    )


def option_name(setting: str) -> str:
    """Return what a setting is called as an option."""
    return "--" + setting.replace("_", "-")


def _shown_default(known: Setting) -> str:
    value = known.default
    if known.default_help:
        return f"  [default: {known.default_help}]"
    if known.required or value in (None, ()) or value is False:
        return ""
    if value is True:
        return "  [default: yes]"
    if isinstance(value, tuple):
        return f"  [default: {','.join(map(str, value))}]"
    return f"  [default: {value:g}]" if isinstance(value, float) else f"  [default: {value}]"
