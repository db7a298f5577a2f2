"""One process of a run on its machine: what stands between ``mxml launch`` and the command that it starts.

It reads from stdin: first one line of JSON, what to start, then ``signal NUMBER`` lines, which it passes on. At the end
of stdin it kills what it has started, with all that that has started. So nothing outlives ``mxml launch``, however
that, or the connection to this machine, ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from dataclasses import asdict, dataclass
from typing import BinaryIO

from mxml.errors import SetupError
from mxml.training.launching.addresses import address_towards, require_private

# What a run needs to know, so that every machine computes alike; the rest of a machine's environment is its own.
PASSED_ON = ("MXNET_", "PS_", "OMP_", "GOMP_")
# What a shell answers for a command that it cannot find.
_NOT_FOUND = 127


@dataclass(frozen=True)
class Start:
    """What to start: a command, in which folder, with which variables, and ``beside`` how many workers here."""

    command: tuple[str, ...]
    folder: str
    environment: dict[str, str]
    beside: int = 1

    def to_line(self) -> bytes:
        """Return it as the first line that a node reads."""
        return json.dumps(asdict(self)).encode() + b"\n"


def run(commands: BinaryIO) -> int:
    """Start what the first line says, follow the others, and return the exit status, 128 + N for signal N."""
    start = json.loads(commands.readline() or b"null")
    if start is None:
        return 1
    process = _start(Start(**start))
    if isinstance(process, str):
        sys.stderr.write(f"mxml: {process}\n")
        sys.stderr.flush()
        return _NOT_FOUND
    threading.Thread(target=_follow, args=(commands, process), daemon=True).start()
    status = process.wait()
    # What it has started itself ends with it.
    _kill(process, signal.SIGKILL)
    return status if status >= 0 else 128 - status


def _start(start: Start) -> subprocess.Popen[bytes] | str:
    own = {name: value for name, value in os.environ.items() if not name.startswith("DMLC_")}
    environment = {**own, **start.environment}
    # The same Python environment as the launching process, whose path is the same here.
    environment["PATH"] = os.pathsep.join([os.path.dirname(sys.executable), environment.get("PATH", os.defpath)])
    environment.setdefault("OMP_NUM_THREADS", str(_threads(start.beside)))
    # ps-lite would listen on it, and every process on the same.
    environment.pop("PORT", None)
    try:
        if "DMLC_PS_ROOT_URI" in environment and "DMLC_NODE_HOST" not in environment:
            here = address_towards(environment["DMLC_PS_ROOT_URI"])
            environment["DMLC_NODE_HOST"] = require_private(here, "this machine")
        path = shutil.which(start.command[0], path=environment["PATH"])
        if path is None:
            return f"{start.command[0]}: there is no such command here"
        return subprocess.Popen(
            [path, *start.command[1:]],
            cwd=start.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
    except SetupError as error:
        return str(error)
    except OSError as error:
        return f"{error.filename or start.command[0]}: {error.strerror}"


def _threads(beside: int) -> int:
    from mxml.runtime.threads import physical_cores

    return max(1, physical_cores() // max(1, beside))


def _follow(commands: BinaryIO, process: subprocess.Popen[bytes]) -> None:
    for line in commands:
        name, _, number = line.decode().partition(" ")
        if name == "signal":
            # To the command alone: what it has started is its own business.
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, int(number))
    _kill(process, signal.SIGKILL)


def _kill(process: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


if __name__ == "__main__":
    status = run(sys.stdin.buffer)
    # At once: a thread still reads from stdin.
    os._exit(status)
