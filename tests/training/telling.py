"""Trains as one worker with the settings in a file of JSON, and writes what it was told to ``told-RANK``.

With the path of a FIFO, the first worker stops as it is about to put ``train.lst`` into place, until the second one
waits at a barrier or has read its lists.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from unittest import mock

from told import Told

from mxml.training import fit as train
from mxml.training.config import TrainConfig
from mxml.training.workers import Workers

met: list[str] = []


def meet_once(fifo, mode):
    """Wait until the other worker has opened the FIFO too; only the first call does."""
    if not met:
        met.append(fifo)
        with open(fifo, mode):
            pass


class Reader(Told):
    def note(self, text):
        super().note(text)
        if "images to train on" in text:
            meet_once(fifo, "w")


def meeting_barrier(self):
    meet_once(fifo, "w")
    barrier(self)


def hold_move(event, arguments):
    if event == "os.rename" and os.path.basename(os.fspath(arguments[1])) == "train.lst":
        meet_once(fifo, "r")


if __name__ == "__main__":
    told, barrier, fifo = Told(), Workers.barrier, None
    if len(sys.argv) > 2:
        fifo = sys.argv[2]
        if os.environ["DMLC_WORKER_ID"] == "0":
            sys.addaudithook(hold_move)
        else:
            told = Reader()
            mock.patch.object(Workers, "barrier", meeting_barrier).start()
    train.fit(TrainConfig(**json.loads(Path(sys.argv[1]).read_text())), told)
    Path(f"told-{os.environ['DMLC_WORKER_ID']}").write_text(json.dumps([told.notes, told.parts]))
