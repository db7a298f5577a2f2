"""What to type when a job that trains has failed: the command that resumes its run, or the same one again."""

from __future__ import annotations

from pathlib import Path

from mxml.model.run_files import RunFiles

# A command that was wrong would be wrong again.
_WRONG_USAGE = 2


class Restart:
    """How to go on with a job, seen from before it starts.

    ``again`` is the command that starts the job, ``resuming`` the one that resumes its run. ``replaced`` is the prefix
    of the run that the job may replace, None where it replaces none. ``elsewhere`` says that workers are on other
    machines, whose files this one may not see.
    """

    def __init__(self, again: str, resuming: str, replaced: str | None, *, elsewhere: bool):
        self._again = again
        self._resuming = resuming
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
                f"{self._resuming}; if the run that it was to replace is as it was, start again: {self._again}"
            )
        return f"the run can be resumed: {self._resuming}"


def _content(path: str | None) -> bytes | None:
    try:
        return None if path is None else Path(path).read_bytes()
    except OSError:
        return None
