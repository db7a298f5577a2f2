"""The library's messages as the command line prints them: settings become options."""

from __future__ import annotations

import re

import click


def with_options(text: str, command: click.Command | None = None) -> str:
    """Return text with each `setting` in backquotes replaced by the option of that name, such as ``--lr``.

    ``command`` is the one that runs, unless another is given. What is not an option of it becomes one of a command
    that the text names, as in "mxml make-lst has `group_by`". Any other name stays unchanged.
    """
    if command is None:
        context = click.get_current_context(silent=True)
        command = context.command if context else None
    known: dict[str, str] = {}
    for named in (*map(_called, re.findall(r"\bmxml ([a-z-]+)", text)), command):
        known.update(_options(named))
    return re.sub(r"`([a-z_]+)`", lambda match: known.get(match[1], match[0]), text)


def _called(name: str) -> click.Command | None:
    from mxml.cli import COMMANDS, group

    return group.get_command(click.Context(group), name) if name in COMMANDS else None


def _options(command: click.Command | None) -> dict[str, str]:
    return {param.name: max(param.opts, key=len) for param in command.params if param.name} if command else {}
