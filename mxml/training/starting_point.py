"""Where a run begins or continues: a network with its parameters, and how far its training has come."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from mxml.model import checkpoint, params_file, symbols
from mxml.model.layers import Network
from mxml.model.losses import BINARY_CROSS_ENTROPY
from mxml.model.run_files import RunFiles
from mxml.model.sidecar import Epoch, Pause, Sidecar
from mxml.progress import Progress
from mxml.runtime.types import NDArray, Symbol
from mxml.training import averaging
from mxml.training.config import TrainConfig

# What a run minimises, whether it begins or goes on: the symbol that it saves ends in the sigmoid, and names no loss.
_LOSS = BINARY_CROSS_ENTROPY


@dataclass(frozen=True, eq=False)
class StartingPoint:
    """A multi-label network to train, ``epoch`` epochs and ``batch`` batches into its run.

    ``message`` says in a line where it comes from. ``head_names`` are its head's parameters; ``num_update`` counts the
    optimizer's steps, whose ``states`` came from ``states_path``; where they are None the optimizer is a fresh one.
    ``average`` are the averaged weights, None to begin with these. ``totals`` sums the batches of the unfinished epoch.
    ``is_pretrained`` says that this is the run's beginning.
    """

    message: str
    symbol: Symbol
    arg_params: Mapping[str, NDArray]
    aux_params: Mapping[str, NDArray]
    head_names: tuple[str, ...]
    epoch: int
    batch: int = 0
    num_update: int = 0
    totals: Mapping[str, float] | None = None
    states: Mapping[str, NDArray] | None = None
    states_path: str = ""
    average: Mapping[str, NDArray] | None = None
    is_pretrained: bool = False


def of_pretrained(config: TrainConfig, num_classes: int) -> StartingPoint:
    """Return the pretrained network of ``config`` under a new head."""
    model = symbols.fine_tune_model(
        config.model, config.epoch, num_classes, config.image_shape, layer=config.layer, loss=_LOSS
    )
    message = f"starting from {config.model}, epoch {config.epoch}; features: {model.layer.name}"
    return StartingPoint(
        message,
        model.symbol,
        model.arg_params,
        model.aux_params,
        model.head_names,
        config.epoch,
        is_pretrained=True,
    )


def of_run(config: TrainConfig, sidecar: Sidecar, progress: Progress) -> StartingPoint | None:
    """Return where the run at the prefix stopped: its pause, else its newest whole epoch; None if it has neither.

    Files that are damaged are named in notes and passed over. Raises CheckpointError for a replaced symbol.
    """
    prefix, pause = config.prefix, sidecar.pause
    faults: list[str] = []
    if pause is not None:
        fault = checkpoint.pause_fault(prefix, pause)
        if not fault:
            paused = RunFiles(prefix).paused(pause.slot)
            return _read(config, sidecar, (paused["params"], paused["states"]), pause)
        faults.append(fault)
    record, more = checkpoint.newest_whole_epoch(prefix, sidecar)
    for fault in faults + more:
        progress.note(f"{fault}; going back to the newest whole checkpoint")
    if record is None:
        return None
    paths = RunFiles(prefix).params(record.epoch), RunFiles(prefix).states(record.epoch)
    return _read(config, sidecar, paths, record)


def _read(config: TrainConfig, sidecar: Sidecar, paths: tuple[str, str], stop: Pause | Epoch) -> StartingPoint:
    symbol = symbols.training_symbol(checkpoint.load_symbol(config.prefix, sidecar), _LOSS)
    states = params_file.read_params(paths[1]) if "states" in stop.files else None
    current, average, states = averaging.parted(params_file.read_params(paths[0]), states)
    arg_params, aux_params = params_file.split_params(current, paths[0])
    network = Network(symbol, config.image_shape)
    for weights in (current, {**current, **(average or {})}):
        symbols.check_params(network, *params_file.split_params(weights, paths[0]))
    point = StartingPoint(
        f"resuming after epoch {stop.epoch}",
        symbol,
        arg_params,
        aux_params,
        symbols.head_parameters(symbol),
        stop.epoch,
        num_update=stop.num_update,
        states=states,
        states_path=paths[1],
        average=average,
    )
    if isinstance(stop, Epoch):
        return point
    message = f"resuming in epoch {stop.epoch} after batch {stop.batch}"
    return dataclasses.replace(point, message=message, epoch=stop.epoch - 1, batch=stop.batch, totals=stop.totals)
