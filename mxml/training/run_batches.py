"""The batches that a run reads in every epoch: those of its training list, and of the parts of its validation list."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from mxml.data.batches import Batches
from mxml.data.image_sources import ChosenImages
from mxml.data.record_list import image_source
from mxml.images.transforms import Preprocess
from mxml.training.config import TrainConfig
from mxml.training.run_data import TrainData, augment_of, cache_bytes, mixing_of
from mxml.training.validation import Part, positions_of_parts
from mxml.training.workers import Workers


@contextlib.contextmanager
def open_batches(
    config: TrainConfig, data: TrainData, preprocess: Preprocess, workers: Workers
) -> Iterator[tuple[Batches, list[Part]]]:
    """Yield the batches to train on, and the parts of the validation list: of each this worker's rows."""
    common: dict[str, Any] = {
        "preprocess": preprocess,
        "batch_size": config.batch_size // workers.count,
        "part_index": workers.rank,
        "num_parts": workers.count,
        "threads": config.decode_threads,
        "seed": config.seed,
    }
    train_cache, val_cache = cache_bytes(config, data)
    with contextlib.ExitStack() as stack:
        train = stack.enter_context(
            Batches(
                image_source(data.train),
                labels=data.train.labels,
                augment=augment_of(config),
                shuffle=True,
                mixing=mixing_of(config),
                split_batches=True,
                bad_images="skip",
                max_bad_share=config.max_bad_share,
                cache_bytes=train_cache,
                **common,
            )
        )
        parts = []
        # Method features has scored the vectors of these images, and reads none of them again.
        validates = config.method != "features"
        for positions in positions_of_parts(len(data.val), len(data.train), config) if validates else ():
            batches = Batches(
                ChosenImages(image_source(data.val), positions),
                labels=data.val.labels[positions],
                bad_images="report",
                cache_bytes=val_cache * len(positions) // len(data.val),
                **common,
            )
            parts.append(Part(positions, stack.enter_context(batches)))
        yield train, parts
