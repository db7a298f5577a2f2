"""A worker of a run whose first worker gets a signal in a part of its task; a program that ``mxml launch`` starts."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

from mxml.errors import Interrupted
from mxml.training.config import TrainConfig
from mxml.training.fit import fit

settings, part = sys.argv[1:]
rank = os.environ["DMLC_WORKER_ID"]


class Signalling:
    def start(self, total, what, done=0):
        with open(f"parts-{rank}", "a") as file:
            print(what, file=file)
        if rank == "0" and what.startswith(part):
            os.kill(os.getpid(), signal.SIGTERM)

    def advance(self, count=1, detail=""):
        pass

    def note(self, text):
        pass


given = json.loads(Path(settings).read_text())
given = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
try:
    fit(TrainConfig.of(given), Signalling())
except Interrupted as error:
    Path(f"stopped-{rank}").write_text(str(error))
