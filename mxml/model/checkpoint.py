"""A run's files under its prefix: symbol, parameters, optimizer states and the sidecar that ties them together.

The sidecar ``PREFIX.json`` is written last and names each epoch's files with their sizes and SHA-256 sums, so it is the
commit point: what it does not name never happened, and what it names can be checked. ``docs/formats.md`` describes it.
"""

from __future__ import annotations

import contextlib
import difflib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mxml import atomic
from mxml.errors import CheckpointError, ModelError, SettingError, StorageError
from mxml.model import params_file, symbol_file
from mxml.model.graph import Graph
from mxml.model.run_files import RunFiles
from mxml.model.sidecar import MOST_BYTES, Epoch, Pause, Sidecar, Stamp, read_sidecar
from mxml.runtime.types import NDArray, Symbol
from mxml.text import shown

_SUGGESTED = 4
# Of a BatchNorm: data, gamma, beta, moving mean, moving variance.
_VARIANCE_INPUT = 4


@dataclass(frozen=True)
class Checkpoint:
    """A symbol with the parameters of one epoch; ``sidecar`` is None for one that another program wrote."""

    prefix: str
    epoch: int
    symbol: Symbol
    arg_params: Mapping[str, NDArray]
    aux_params: Mapping[str, NDArray]
    sidecar: Sidecar | None = None


def load(prefix: str, epoch: int | None = None) -> Checkpoint:
    """Load the symbol and the parameters of ``epoch``: by default the sidecar's best, else the newest on disk.

    ``prefix`` may also be one of the run's files, such as ``model-0018.params``, which then names the epoch. Raises
    CheckpointError when a file is missing or is not the one that the sidecar knows, offering the epochs that are whole;
    ModelError for parameters that no network gives a score with, such as NaN; SettingError where ``prefix`` and
    ``epoch`` name two epochs.
    """
    files, named_epoch = RunFiles.parse(prefix)
    if named_epoch is not None and epoch not in (None, named_epoch):
        raise SettingError("epoch", epoch, f"{named_epoch}, as {prefix} says, or left out")
    prefix, given, epoch = files.prefix, epoch, named_epoch if epoch is None else epoch
    sidecar = read_sidecar(prefix)
    if epoch is None and sidecar is not None:
        epoch = sidecar.best_epoch
    epoch = find_epoch(prefix, epoch, by_file=given is None)
    path = RunFiles(prefix).params(epoch)
    check_files(prefix, epoch, sidecar, ("params",))
    symbol = load_symbol(prefix, sidecar)
    params = params_file.read_params(path)
    arg_params, aux_params = params_file.split_params(params, path)
    params_file.check_finite(params, path)
    _check_variances(symbol, aux_params, path)
    return Checkpoint(prefix, epoch, symbol, arg_params, aux_params, sidecar)


def _check_variances(symbol: Symbol, aux_params: Mapping[str, NDArray], path: str) -> None:
    """Refuse a BatchNorm's moving variance below zero: its root is NaN, which a ReLU behind it turns into zero."""
    nodes = Graph.of(symbol).nodes
    names = [nodes[node.inputs[_VARIANCE_INPUT][0]].name for node in nodes if node.is_batch_norm]
    known = (name for name in names if name in aux_params)
    broken = [name for name in known if (aux_params[name].astype("float32").asnumpy() < 0).any()]
    if broken:
        raise ModelError(f"{path}: a variance below 0 in {shown(broken, 5)}; take an earlier epoch or another file")


def load_symbol(prefix: str, sidecar: Sidecar | None) -> Symbol:
    """Load ``PREFIX-symbol.json``. Raises CheckpointError where it is not the one that the sidecar knows."""
    fault = _fault(RunFiles(prefix).symbol, sidecar.symbol if sidecar else None)
    if fault:
        raise CheckpointError(f"{fault}; put the run's own symbol back, or move {RunFiles(prefix).sidecar} away")
    return symbol_file.load_symbol(RunFiles(prefix).symbol)


def find_epoch(prefix: str, epoch: int | None = None, *, by_file: bool = False) -> int:
    """Return ``epoch``, or the newest on disk, once its files are found there.

    ``by_file`` says that no setting named the epoch, so that a message should offer a file instead of one.
    Raises CheckpointError that names the missing file and what exists instead.
    """
    files = RunFiles(prefix)
    if not os.path.exists(files.symbol):
        raise CheckpointError(_no_such_checkpoint(prefix))
    on_disk = files.epochs_on_disk()
    if not on_disk:
        raise CheckpointError(
            f"{files.params(0)}: does not exist; no PREFIX-NNNN.params was found beside {files.symbol}"
        )
    if epoch is None:
        return on_disk[-1]
    if epoch not in on_disk:
        instead = files.params(on_disk[-1]) if by_file else f"`epoch` {on_disk[-1]}"
        raise CheckpointError(
            f"{files.params(epoch)}: does not exist; existing epochs: {_numbers(on_disk)}; give {instead}"
        )
    return epoch


def check_files(prefix: str, epoch: int, sidecar: Sidecar | None, suffixes: tuple[str, ...]) -> None:
    """Compare an epoch's files with their stamps; raises CheckpointError that offers the newest whole epoch.

    An epoch that the sidecar does not name is refused: it was never finished, or belongs to another run.
    """
    if sidecar is None:
        return
    record = next((record for record in sidecar.epochs if record.epoch == epoch), None)
    files = RunFiles(prefix)
    if record is None:
        fault = f"{files.params(epoch)}: does not belong to a finished epoch of the run in {files.sidecar}"
    elif not record.files:
        fault = f"{files.params(epoch)}: belongs to an epoch that the run in {files.sidecar} did not keep"
    else:
        fault = _first_fault(prefix, record, suffixes)
    if fault:
        kept = (other for other in sidecar.epochs if other.files)
        whole = [other.epoch for other in kept if not _first_fault(prefix, other, suffixes)]
        offer = "no checkpoint is whole"
        if whole:
            others = f"; also whole: {_numbers(whole[:-1])}" if len(whole) > 1 else ""
            offer = f"the newest whole checkpoint is of epoch {whole[-1]}{others}"
        raise CheckpointError(f"{fault}; {offer}")


def newest_whole_epoch(prefix: str, sidecar: Sidecar) -> tuple[Epoch | None, list[str]]:
    """Find the newest epoch whose parameters and states are as written, and say what is wrong with newer ones.

    Epochs that the run has not kept are skipped. An epoch without a step of the optimizer may have no states: training
    goes on from its parameters with a fresh one.
    """
    faults: list[str] = []
    for record in reversed(sidecar.epochs):
        if not record.files:
            continue
        stateless = record.num_update == 0 and "states" not in record.files
        fault = _first_fault(prefix, record, ("params",) if stateless else ("params", "states"))
        if not fault:
            return record, faults
        faults.append(fault)
    return None, faults


def pause_fault(prefix: str, pause: Pause) -> str:
    """Say what is wrong with the files of a pause; empty when they are whole."""
    return _first_of(RunFiles(prefix).paused(pause.slot), pause.files)


def _first_fault(prefix: str, record: Epoch, suffixes: tuple[str, ...]) -> str:
    paths = {"params": RunFiles(prefix).params(record.epoch), "states": RunFiles(prefix).states(record.epoch)}
    return _first_of({suffix: paths[suffix] for suffix in suffixes}, record.files)


def _first_of(paths: Mapping[str, str], stamps: Mapping[str, Stamp]) -> str:
    for suffix, path in paths.items():
        fault = (
            _fault(path, stamps[suffix]) if suffix in stamps else f"{path}: is not one of the files that the run kept"
        )
        if fault:
            return fault
    return ""


def _fault(path: str, stamp: Stamp | None) -> str:
    if stamp is None:
        return ""
    try:
        found = Stamp.of(path)
    except OSError as error:
        return f"{path}: cannot be read ({error.strerror})"
    if found.size != stamp.size:
        return f"{path}: is damaged or not the run's ({found.size:,} bytes, was written with {stamp.size:,})"
    if found != stamp:
        return f"{path}: is damaged or not the run's (its content has changed)"
    return ""


def _no_such_checkpoint(prefix: str) -> str:
    folder, name = os.path.split(prefix)
    missing = f"{RunFiles(prefix).symbol}: does not exist"
    typed, epoch = RunFiles.parse(prefix)
    if typed.prefix != prefix and os.path.exists(typed.symbol):
        return f"{missing}; the prefix of that file is {typed.prefix}" + (
            "" if epoch is None else f", its epoch {epoch}"
        )
    if os.path.isdir(prefix):
        inside = sorted(os.path.join(prefix, name) for name in RunFiles.prefixes_in(prefix))
        if inside:
            return f"{missing}; {prefix} is a folder, with the prefixes: {shown(inside, _SUGGESTED)}"
    try:
        others = RunFiles.prefixes_in(folder)
    except OSError:
        return f"{missing}, and neither does its folder"
    # The nearest first; of equally near ones the first by name.
    others.sort(key=lambda other: (-difflib.SequenceMatcher(None, name, other).ratio(), other))
    found = ", ".join(os.path.join(folder, other) for other in others[:_SUGGESTED])
    return (
        f"{missing}; similar prefixes: {found}"
        if others
        else f"{missing}, and its folder has no other {RunFiles('PREFIX').symbol}"
    )


def _numbers(epochs: list[int]) -> str:
    return ", ".join(str(epoch) for epoch in epochs)


def save_symbol(prefix: str, symbol: Symbol) -> Stamp:
    """Write ``PREFIX-symbol.json`` and return its stamp."""
    atomic.write_text(RunFiles(prefix).symbol, symbol.tojson() + "\n")
    return _stamp(RunFiles(prefix).symbol)


def save_arrays(
    params_to: str,
    states_to: str,
    arg_params: Mapping[str, NDArray],
    aux_params: Mapping[str, NDArray],
    states: Mapping[str, NDArray] | None,
) -> dict[str, Stamp]:
    """Write parameters and, unless they are None, states, and return their stamps."""
    params_file.write_params(params_to, params_file.join_params(arg_params, aux_params))
    if states is None:
        return {"params": _stamp(params_to)}
    params_file.write_params(states_to, dict(states))
    return {"params": _stamp(params_to), "states": _stamp(states_to)}


def _stamp(path: str) -> Stamp:
    try:
        return Stamp.of(path)
    except OSError as error:
        raise StorageError(f"{path}: cannot be read back after it was written ({error.strerror})") from error


def save_sidecar(prefix: str, sidecar: Sidecar) -> None:
    """Write ``PREFIX.json``; call it last. Raises CheckpointError, and leaves it, where a new one could not be read."""
    path, text = RunFiles(prefix).sidecar, sidecar.to_json(os.path.dirname(prefix))
    # json writes ASCII alone, so that these are bytes.
    if len(text) > MOST_BYTES:
        raise CheckpointError(
            f"{path}: would have {len(text) / (1 << 20):,.1f} MiB, of which mxml reads {MOST_BYTES >> 20}: it has too "
            "many labels or epochs; everything saved before is kept"
        )
    atomic.write_text(path, text)


def discard_pause(prefix: str, slots: Sequence[int] = (0, 1)) -> None:
    """Remove the files of a pause that a later sidecar no longer names."""
    for slot in slots:
        for path in RunFiles(prefix).paused(slot).values():
            Path(path).unlink(missing_ok=True)


def discard_run(prefix: str) -> None:
    """Remove an earlier run: its sidecar, then the epochs and pause that it named; a damaged sidecar names none.

    Its history and picture go first: what is shown beside a sidecar should never be another run's.
    """
    try:
        sidecar = read_sidecar(prefix)
    except CheckpointError:
        sidecar = None
    for path in (RunFiles(prefix).history, RunFiles(prefix).curves, RunFiles(prefix).described):
        # By-products, which should end no run.
        with contextlib.suppress(OSError):
            os.unlink(path)
    Path(RunFiles(prefix).sidecar).unlink(missing_ok=True)
    for record in sidecar.epochs if sidecar else ():
        Path(RunFiles(prefix).params(record.epoch)).unlink(missing_ok=True)
        Path(RunFiles(prefix).states(record.epoch)).unlink(missing_ok=True)
    discard_pause(prefix)


def discard_leftovers(prefix: str) -> None:
    """Remove the temporary files that a process killed while it wrote left beside the prefix."""
    for path in RunFiles(prefix).leftovers():
        Path(path).unlink(missing_ok=True)
