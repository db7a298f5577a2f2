"""What to type when a job that trains has failed: the command that resumes its run, or the same one again."""

from __future__ import annotations

import os
from pathlib import Path

from mxml.model.run_files import RunFiles

# A command that was wrong would be wrong again.
_WRONG_USAGE = 2


class Restart:
    """How to go on with a job, seen from before it starts.

    ``again`` is the command that starts the job, ``resuming`` the one that resumes its run; they are the same where the
    job is a resume. ``prefix`` is where the run goes, None where that is not known; ``replaces`` says that the job may
    replace a run there. ``elsewhere`` says that workers are on other machines, whose files this one may not see.
    """

    def __init__(self, again: str, resuming: str, prefix: str | None, *, replaces: bool, elsewhere: bool):
        self._again = again
        self._resuming = resuming
        self._sidecar = None if prefix is None else RunFiles(prefix).sidecar
        self._before = _version(self._sidecar)
        self._replaces = replaces
        self._elsewhere = elsewhere

    def after(self, status: int) -> str | None:
        """Return what to say once the job has ended with an exit status; None where nothing is to be done again."""
        if status in (0, _WRONG_USAGE):
            return None
        now = _version(self._sidecar)
        if now is None:
            return self._without_a_run()
        if now != self._before or self._again == self._resuming:
            return f"the run can be resumed: {self._resuming}"
        if self._replaces:
            return f"the run that it was to replace is as it was; to start again: {self._again}"
        # It is another run's, and the job has said so.
        return None

    def _without_a_run(self) -> str:
        if self._sidecar is None or not self._elsewhere:
            return f"no run has begun; to start again: {self._again}"
        begun = f"{self._sidecar} cannot be read on this machine; if the new run has begun, it can be resumed: "
        # A resume would go on with the run before, where that is still there.
        untouched = "if the run that it was to replace is as it was" if self._replaces else "if not"
        return f"{begun}{self._resuming}; {untouched}, start again: {self._again}"


def _version(path: str | None) -> tuple[bytes, int] | None:
    """Return a file's content and when it was written: a run that begins writes what one that ended early has."""
    try:
        return None if path is None else (Path(path).read_bytes(), os.stat(path).st_mtime_ns)
    except OSError:
        return None
