"""What to type when a job of ``mxml train`` has failed: the command that resumes its run, or the same one again."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from mxml.model.run_files import RunFiles

# A command that was wrong would be wrong again.
_WRONG_USAGE = 2


def options_of_train(command: Sequence[str]) -> Sequence[str] | None:
    """Return the options of ``mxml train``, or ``python -m mxml train``; None for another command."""
    program, *rest = command
    name = os.path.basename(program)
    if name.startswith("python") and "-m" in rest:
        name, *rest = rest[rest.index("-m") + 1 :] or [""]
    return rest[1:] if name == "mxml" and rest[:1] == ["train"] else None


class Restart:
    """How to go on with a job, seen from before it starts.

    ``launch`` are the words that start the workers' ``command``, an ``mxml train``. ``replaced`` is the prefix of the
    run that it may replace, None where it replaces none. ``elsewhere`` says that workers are on other machines, whose
    files this one may not see. ``resuming`` is the command that goes on; where there is no run yet, one begins.
    """

    def __init__(self, launch: Sequence[str], command: Sequence[str], replaced: str | None, *, elsewhere: bool):
        self._again = shlex.join([*launch, *command])
        unforced = [word for word in command if word != "--force"]
        resumed = unforced if "--resume" in unforced else [*unforced, "--resume"]
        self.resuming = shlex.join([*launch, *resumed])
        self._sidecar = None if replaced is None else RunFiles(replaced).sidecar
        self._before = _content(self._sidecar)
        self._elsewhere = elsewhere

    def after(self, status: int) -> str | None:
        """Return what to say once the job has ended with an exit status; None where nothing is to be done again."""
        if status in (0, _WRONG_USAGE):
            return None
        now = _content(self._sidecar)
        if self._before is not None and now == self._before:
            return f"the run that it was to replace is as it was; to start again: {self._again}"
        if self._sidecar is not None and self._before is now is None and self._elsewhere:
            # A resume would go on with the run before, where that is still there.
            return (
                f"{self._sidecar} cannot be read on this machine; if the new run has begun, it can be resumed: "
                f"{self.resuming}; if the run that it was to replace is as it was, start again: {self._again}"
            )
        return f"the run can be resumed: {self.resuming}"


def _content(path: str | None) -> bytes | None:
    try:
        return None if path is None else Path(path).read_bytes()
    except OSError:
        return None
