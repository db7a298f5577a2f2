"""What may wait on standard input of a command that does not read it."""

from __future__ import annotations

import array
import fcntl
import os
import stat
import termios


def content_waits(handle: int = 0) -> bool:
    """Say whether a file with content, or bytes in a pipe, are on standard input; nothing is read or waited for."""
    try:
        mode = os.fstat(handle)
        if stat.S_ISREG(mode.st_mode):
            return mode.st_size > 0
        if not stat.S_ISFIFO(mode.st_mode):
            return False
        waiting = array.array("i", [0])
        fcntl.ioctl(handle, termios.FIONREAD, waiting)
        return waiting[0] > 0
    except OSError:
        return False
