"""A command line of ``mxml train`` as a person typed it behind ``mxml launch``."""

from __future__ import annotations

import os
from collections.abc import Sequence


def options_of_train(command: Sequence[str]) -> Sequence[str] | None:
    """Return the options of ``mxml train``, or ``python -m mxml train``; None for another command."""
    program, *rest = command
    name = os.path.basename(program)
    if name.startswith("python") and "-m" in rest:
        name, *rest = rest[rest.index("-m") + 1 :] or [""]
    return rest[1:] if name == "mxml" and rest[:1] == ["train"] else None


def resuming(command: Sequence[str]) -> list[str]:
    """Return the command that goes on. Nothing is lost where there is no run yet: one begins."""
    again = [word for word in command if word != "--force"]
    return again if "--resume" in again else [*again, "--resume"]
