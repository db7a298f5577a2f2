"""The library's messages as the command line prints them: settings become options."""

from __future__ import annotations

import re

import click


def with_options(text: str, command: click.Command | None = None) -> str:
    """Return text with each `setting` in backquotes replaced by the option of that name, such as ``--lr``.

    ``command`` is the one that runs, unless another is given. A name that is not an option of it stays unchanged.
    """
    if command is None:
        context = click.get_current_context(silent=True)
        command = context.command if context else None
    options = {param.name: max(param.opts, key=len) for param in command.params} if command else {}
    return re.sub(r"`([a-z_]+)`", lambda match: options.get(match.group(1), match.group(0)), text)
