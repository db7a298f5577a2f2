"""Where a run begins or continues: a network with its parameters, and how far its training has come."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from mxml.model import checkpoint, params_file, symbols
from mxml.model.layers import Network
from mxml.model.networks.from_scratch import scratch_model
from mxml.model.run_files import RunFiles
from mxml.model.sidecar import Epoch, Pause, Sidecar
from mxml.model.symbols import FineTuneModel
from mxml.progress import Progress
from mxml.runtime.types import NDArray, Symbol
from mxml.training import averaging
from mxml.training.chosen_loss import loss_of
from mxml.training.config import TrainConfig


@dataclass(frozen=True, eq=False)
class StartingPoint:
    """A multi-label network to train, ``epoch`` epochs and ``batch`` batches into its run.

    ``message`` says in a line where it comes from. ``head_names`` are its head's parameters, ``statistics`` those by
    which the head scales its features, and which training leaves alone; ``num_update`` counts the
    optimizer's steps, whose ``states`` came from ``states_path``; where they are None the optimizer is a fresh one.
    ``average`` are the averaged weights, None to begin with these. ``totals`` sums the batches of the unfinished epoch.
    ``is_beginning`` says that the run has taken no step yet.
    """

    message: str
    symbol: Symbol
    arg_params: Mapping[str, NDArray]
    aux_params: Mapping[str, NDArray]
    head_names: tuple[str, ...]
    statistics: tuple[str, ...]
    epoch: int
    batch: int = 0
    num_update: int = 0
    totals: Mapping[str, float] | None = None
    states: Mapping[str, NDArray] | None = None
    states_path: str = ""
    average: Mapping[str, NDArray] | None = None
    is_beginning: bool = False


def of_new_run(config: TrainConfig, num_classes: int) -> StartingPoint:
    """Return where a new run of ``config`` begins: at its pretrained network, or at one with random parameters."""
    return of_network(config, num_classes) if config.model is None else of_pretrained(config, num_classes)


def of_network(config: TrainConfig, num_classes: int) -> StartingPoint:
    """Return the named network of ``config`` with random parameters, all of which will be trained."""
    assert config.network is not None
    loss, settings = loss_of(config)
    model = scratch_model(config.network, num_classes, config.image_shape, config.seed, loss, settings)
    count = sum(value.size for value in model.arg_params.values())
    message = f"starting from scratch: {config.network}, {count:,} random parameters; features: {model.layers}"
    return _beginning(model, message, config)


def of_pretrained(config: TrainConfig, num_classes: int) -> StartingPoint:
    """Return the pretrained network of ``config`` under a new head."""
    assert config.model is not None
    loss, settings = loss_of(config)
    model = symbols.fine_tune_model(
        config.model,
        config.epoch,
        num_classes,
        config.image_shape,
        layer=config.layer,
        loss=loss,
        settings=settings,
        num_layers=config.feature_layers if config.fits_head else 1,
        poolings=config.feature_poolings if config.fits_head else ("avg",),
        standardise=config.fits_head,
    )
    return _beginning(model, f"starting from {config.model}, epoch {config.epoch}; features: {model.layers}", config)


def _beginning(model: FineTuneModel, message: str, config: TrainConfig) -> StartingPoint:
    return StartingPoint(
        message,
        model.symbol,
        model.arg_params,
        model.aux_params,
        model.head_names,
        symbols.head_statistics(model.symbol),
        config.epoch,
        is_beginning=True,
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
    # The saved symbol ends in the sigmoid, and names no loss.
    symbol = symbols.training_symbol(checkpoint.load_symbol(config.prefix, sidecar), *loss_of(config))
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
        symbols.head_statistics(symbol),
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
