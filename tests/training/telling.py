"""Trains as one worker with the settings in a file of JSON, and writes what it was told to ``told-RANK``."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from told import Told

from mxml.training import fit as train
from mxml.training.config import TrainConfig

if __name__ == "__main__":
    told = Told()
    train.fit(TrainConfig(**json.loads(Path(sys.argv[1]).read_text())), told)
    Path(f"told-{os.environ['DMLC_WORKER_ID']}").write_text(json.dumps([told.notes, told.parts]))
