"""``mxml train`` as one worker of a run, with something that happens at a chosen step; a test links it as ``mxml``.

The variable WORKER_EVENT is ``RANK STEP ACTION``: at the end of the worker's STEP-th step, counted from 1, it does

- ``kill``: kill itself
- ``interrupt``: send SIGINT to ``mxml launch``, which started its node
- ``look``: write the addresses that the run's processes listen on to the file ``listening``

A resumed run does nothing of this.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import sys
from pathlib import Path

from killer import Events

from mxml.cli import main
from mxml.runtime.imports import load_mxnet

LISTENING = "0A"


def parent(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def sockets(pid):
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        target = os.readlink(entry)
        if target.startswith("socket:["):
            yield target[8:-1]


def listening(port):
    """Return the addresses that all processes of the run with this scheduler's port listen on, by role."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    lines += [line.split() for line in Path("/proc/net/tcp6").read_text().splitlines()[1:]]
    addresses = {line[9]: line[1].partition(":")[0] for line in lines if line[3] == LISTENING}
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            variables = dict(
                entry.partition("=")[::2] for entry in (folder / "environ").read_text(errors="replace").split("\0")
            )
            if variables.get("DMLC_PS_ROOT_PORT") == port:
                for inode in sockets(folder.name):
                    if inode in addresses:
                        found.append([variables["DMLC_ROLE"], addresses[inode]])
        except OSError:
            continue
    return [[role, socket.inet_ntoa(struct.pack("=I", int(address, 16)))] for role, address in found]


class Actions(Events):
    def __init__(self, step, action):
        super().__init__([["step", step, 0]])
        self.action = action

    def happen(self, event):
        if event != "step" or not self.left:
            return
        self.left[0][1] -= 1
        if self.left[0][1]:
            return
        self.left.clear()
        if self.action == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif self.action == "interrupt":
            os.kill(parent(os.getppid()), signal.SIGINT)
        else:
            Path("listening").write_text(json.dumps(listening(os.environ["DMLC_PS_ROOT_PORT"])))


if __name__ == "__main__":
    rank, step, action = os.environ.get("WORKER_EVENT", "none 0 none").split()
    if os.environ["DMLC_WORKER_ID"] == rank and "--resume" not in sys.argv:
        Actions(int(step), action).watch(load_mxnet())
    main()
