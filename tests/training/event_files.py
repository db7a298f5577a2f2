"""Reads TensorBoard event files: TFRecord's framing by its description, and restarts as TensorBoard treats them."""

from __future__ import annotations

import struct
from pathlib import Path


def crc32c(data: bytes) -> int:
    """CRC-32C (Castagnoli), bit by bit."""
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
    return value ^ 0xFFFFFFFF


def masked(data: bytes) -> int:
    value = crc32c(data)
    return (((value >> 15) | (value << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def events(path: Path):
    """Yield the events of a file; every length and content has its checksum."""
    from tensorboardX.proto.event_pb2 import Event

    data, position = path.read_bytes(), 0
    while position < len(data):
        length, check = struct.unpack_from("<QI", data, position)
        assert check == masked(data[position : position + 8])
        content = data[position + 12 : position + 12 + length]
        assert len(content) == length
        (check,) = struct.unpack_from("<I", data, position + 12 + length)
        assert check == masked(content)
        yield Event.FromString(content)
        position += 16 + length


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Return (step, value) of every tag over the files of a folder, as TensorBoard shows them.

    It reads the files in the order of their names. A session that starts at a step makes it drop all that it has read
    of that step and later ones, of every tag.
    """
    from tensorboardX.proto.event_pb2 import SessionLog

    found: dict[str, list[tuple[int, float]]] = {}
    for path in sorted(folder.glob("*tfevents*")):
        first, *others = events(path)
        assert first.file_version == "brain.Event:2"
        for event in others:
            if event.HasField("session_log") and event.session_log.status == SessionLog.START:
                found = {tag: [point for point in points if point[0] < event.step] for tag, points in found.items()}
            for value in event.summary.value:
                found.setdefault(value.tag, []).append((event.step, value.simple_value))
    return {tag: points for tag, points in found.items() if points}
