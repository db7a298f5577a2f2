"""The setting ``kv_store``: what adds up gradients follows from where the process runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from mxml.errors import SettingError
from mxml.training.config import TrainConfig
from mxml.training.launching import environment

SEVERAL = "dist_sync"
"""The setting of a run with several workers."""


def with_kv_store(config: TrainConfig, given: Mapping[str, Any]) -> TrainConfig:
    """Return the settings with the ``kv_store`` that this process needs, now and not when the run began.

    ``given`` holds what a person has set. Raises SettingError where that does not fit, and for a batch that the workers
    cannot share.
    """
    asked, several = given.get("kv_store"), environment.is_worker()
    if asked is not None and (asked == SEVERAL) != several:
        where = "in a process of `mxml launch`" if several else "on one machine; `mxml launch` starts several"
        raise SettingError("kv_store", asked, f"{SEVERAL if several else 'device or local'} {where}")
    if several:
        count = environment.place().count
        if config.batch_size % count:
            raise SettingError(
                "batch_size", config.batch_size, f"a multiple of {count}, the number of workers, which share each batch"
            )
        return dataclasses.replace(config, kv_store=SEVERAL)
    return dataclasses.replace(config, kv_store="device" if config.kv_store in (None, SEVERAL) else config.kv_store)
