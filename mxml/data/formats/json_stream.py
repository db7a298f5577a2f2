"""Large JSON files read as a stream: the objects of named lists one by one, keeping no more than was asked for."""

from __future__ import annotations

import re
from collections.abc import Container, Generator, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

from mxml.errors import ListError

MAX_VALUE_BYTES = 16 << 20
"""Longest single text or number that is read."""

MAX_LIST_VALUES = 1 << 20
"""Most values that a list inside an object may hold."""

_CHUNK_BYTES = 1 << 16
_BOM = b"\xef\xbb\xbf"
_OPENING = ("start_map", "start_array")
_CLOSING = ("end_map", "end_array")
_KINDS = {
    "start_map": "an object",
    "start_array": "a list",
    "string": "a text",
    "number": "a number",
    "boolean": "true or false",
    "null": "null",
}

Events = Iterator[tuple[str, Any]]


def read_objects(
    path: Path, lists: Mapping[str, Container[str]], objects: Mapping[str, Container[str]] | None = None
) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """Yield the objects that lie in some members of the file's one object, in the order in which they come.

    ``lists`` and ``objects`` name the members that are lists of objects, and single objects, each with the keys that
    are kept of an object. Yields the member's name, the object's number in its list, counted from 1, and what was kept:
    texts, numbers, booleans, None, lists of these, and an empty dict or list for anything deeper. Raises ListError for
    a file that cannot be read or is not JSON, for a member that is missing, there twice or of another kind, and for
    values over the limits.
    """
    with closing(_batches(path)) as batches:
        yield from _wanted(chain.from_iterable(batches), path, lists, objects or {})


def outline(path: Path) -> dict[str, tuple[str, ...]]:
    """Return the members of the file's one object that begin in its first 64 KiB, each with its first two events.

    Empty for anything but a file with an object; what comes later is not looked at.
    """
    import ijson

    members: dict[str, tuple[str, ...]] = {}
    events: list[tuple[str, Any]] = []
    try:
        with open(path, "rb") as file, _parser() as (parser, events):
            _skip_bom(file)
            parser.send(file.read(_CHUNK_BYTES))
    except (OSError, ValueError, ijson.JSONError, StopIteration):
        pass  # what came before the fault still tells
    depth = 0
    for position, (event, value) in enumerate(events):
        if position == 0 and event != "start_map":
            break
        if event == "map_key" and depth == 1:
            members[value] = tuple(following for following, _ in events[position + 1 : position + 3])
        depth += (event in _OPENING) - (event in _CLOSING)
    return members


def is_whole_number(value: Any) -> bool:
    """Say whether a value from a file is an integer that 64 bits hold."""
    return type(value) is int and -(1 << 63) <= value < 1 << 63


def kind_of(value: Any) -> str:
    """Return in a few words what a value from a file is."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)[:40]
    names = {str: "a text", bool: "true or false", list: "a list", dict: "an object", type(None): "null"}
    return names[type(value)]


def _wanted(
    events: Events, path: Path, lists: Mapping[str, Container[str]], single: Mapping[str, Container[str]]
) -> Iterator[tuple[str, int, dict[str, Any]]]:
    missing = dict.fromkeys([*single, *lists])
    event, _ = next(events)
    if event != "start_map":
        raise ListError(f"{path}: is {_KINDS[event]}, should be an object with {_quoted(missing)}")
    for event, member in events:
        if event == "end_map":
            continue
        if member not in lists and member not in single:
            _skip_value(events)
            continue
        if member not in missing:
            raise ListError(f'{path}: has "{member}" twice, should have it once')
        del missing[member]
        event, _ = next(events)
        expected = "start_array" if member in lists else "start_map"
        if event != expected:
            raise ListError(f'{path}: "{member}" is {_KINDS[event]}, should be {_KINDS[expected]}')
        if member in single:
            yield member, 1, _object(events, single[member], path)
            continue
        for number, (event, _) in enumerate(events, 1):
            if event == "end_array":
                break
            if event != "start_map":
                raise ListError(f'{path}: "{member}": item {number:,} is {_KINDS[event]}, should be an object')
            yield member, number, _object(events, lists[member], path)
    if missing:
        raise ListError(f"{path}: has no {_quoted(missing)}")


def _object(events: Events, keys: Container[str], path: Path) -> dict[str, Any]:
    """Return the wanted members of the object whose start has just passed."""
    kept: dict[str, Any] = {}
    for event, key in events:
        if event == "end_map":
            break
        if key not in keys:
            _skip_value(events)
            continue
        event, value = next(events)
        if event == "start_array":
            kept[key] = _flat_list(events, key, path)
        elif event == "start_map":
            _skip_rest(events)
            kept[key] = {}
        else:
            kept[key] = value
    return kept


def _flat_list(events: Events, key: str, path: Path) -> list[Any]:
    values: list[Any] = []
    for event, value in events:
        if event == "end_array":
            break
        if event in _OPENING:
            _skip_rest(events)
            value = [] if event == "start_array" else {}
        values.append(value)
        if len(values) > MAX_LIST_VALUES:
            raise ListError(f'{path}: a list "{key}" has more than {MAX_LIST_VALUES:,} values')
    return values


def _skip_value(events: Events) -> None:
    if next(events)[0] in _OPENING:
        _skip_rest(events)


def _skip_rest(events: Events) -> None:
    """Skip what is left of the object or list whose start has just passed."""
    depth = 1
    for event, _ in events:
        if event == "number":  # nearly all that there is in a file with outlines of objects
            continue
        if event in _OPENING:
            depth += 1
        elif event in _CLOSING:
            depth -= 1
            if not depth:
                return


def _batches(path: Path) -> Generator[list[tuple[str, Any]], None, None]:
    """Yield the parser's events, chunk of the file by chunk; raise ListError where it is not JSON."""
    import ijson

    silent = 0
    try:
        with open(path, "rb") as file, _parser() as (parser, events):
            _skip_bom(file)
            chunk = b"-"
            while chunk:
                chunk = file.read(_CHUNK_BYTES)
                try:
                    with suppress(StopIteration):
                        parser.send(chunk)
                except (ValueError, ijson.JSONError) as error:
                    raise ListError(_no_json(path, file.tell() - len(chunk), error)) from None
                silent = 0 if events else silent + len(chunk)
                if silent > MAX_VALUE_BYTES:
                    raise ListError(f"{path}: holds one value of more than {MAX_VALUE_BYTES:,} bytes")
                yield events
                events.clear()
    except IsADirectoryError:
        raise ListError(f"{path}: is a folder, should be a JSON file") from None
    except OSError as error:
        raise ListError(f"{path}: cannot be read: {error.strerror or error}") from error


@contextmanager
def _parser() -> Iterator[tuple[Any, list[tuple[str, Any]]]]:
    """Yield what takes bytes by ``send``, none at the end, and the list to which it adds the events in them."""
    import ijson

    events: list[tuple[str, Any]] = ijson.sendable_list()
    # Decimals, the alternative to floats, take more than twice the time.
    parser = ijson.basic_parse_coro(events, use_float=True)
    try:
        yield parser, events
    finally:
        # The parser in pure Python complains where it is left before the end.
        with suppress(ijson.JSONError, ValueError):
            parser.close()


def _no_json(path: Path, start: int, error: Exception) -> str:
    """Return what is wrong with a file in which the parser stopped in the chunk that begins at byte ``start``."""
    import ijson

    size = path.stat().st_size
    if not size:
        return f"{path}: is empty, should be JSON"
    if start >= size and isinstance(error, ijson.IncompleteJSONError):
        return f"{path}: ends before its JSON does, after {size:,} bytes; is the file whole?"
    # The parser doesn't say where it stopped, so it is led there again, and then byte by byte.
    line = 1
    with open(path, "rb") as file, _parser() as (parser, events):
        _skip_bom(file)
        try:
            while True:
                chunk = file.read(max(1, min(_CHUNK_BYTES, start - file.tell())))
                parser.send(chunk)
                events.clear()
                line += chunk.count(b"\n")
        except (ValueError, ijson.JSONError, StopIteration):
            stop = file.tell()
    said = re.match(r"(?:b['\"])?(?:lexical error: |parse error: )?([^\n\\]*)", str(error))
    reason = f" ({said[1].strip(' .')[:80]})" if said and said[1] else ""
    return f"{path}:{line}: is not JSON from byte {stop:,} of the file on{reason}"


def _skip_bom(file: BinaryIO) -> None:
    if file.read(len(_BOM)) != _BOM:
        file.seek(0)


def _quoted(names: Mapping[str, Any]) -> str:
    return ", ".join(f'"{name}"' for name in names)
