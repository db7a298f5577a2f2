"""What every command does with wrong input."""

from __future__ import annotations

import re

from commands import snapshot


def check_refusal(mxml, folder, code, arguments, message):
    """Run a command in ``folder`` and check its exit code, the one line of its error, and that it wrote nothing."""
    before = snapshot(folder)
    found, out, err = mxml(*arguments)
    assert found == code, err
    assert out == ""
    *notes, line = err.splitlines()
    assert all(note.startswith(("note: ", "left out, cannot be read: ")) for note in notes), err
    assert re.match("mxml: .*" + message, line), err
    if code == 2:
        assert re.search(r"; see mxml[a-z -]* --help$", line)
    assert snapshot(folder) == before
