"""Text files that are not trusted: read in pieces, with a limit on a line, and with faults that name the line."""

from __future__ import annotations

import os
from collections.abc import Iterator

from mxml.errors import ListError

MAX_LINE_BYTES = 1 << 20
"""Longest line that is read: room for 100,000 labels as im2rec writes them."""

_BOM = b"\xef\xbb\xbf"


def read_blocks(path: str | os.PathLike[str]) -> Iterator[tuple[int, bytes]]:
    """Yield the number of a first line, counted from 1, and some whole lines from there, ``\\n`` between them.

    A block is 1 MiB or one line longer. A leading byte order mark and the ``\\r`` of CRLF line ends are taken away.
    Raises ListError for a file that cannot be read, and for a line of more than MAX_LINE_BYTES.
    """
    name = os.fspath(path)
    try:
        with open(path, "rb") as file:
            number, rest = 1, b""
            # Reading no more than a line's limit at once leaves only the line that straddles two reads to be measured.
            chunk = file.read(MAX_LINE_BYTES)
            if chunk.startswith((b"\xff\xfe", b"\xfe\xff")):
                raise ListError(f"{name}:1: is UTF-16 text, should be UTF-8")
            chunk = chunk[len(_BOM) :] if chunk.startswith(_BOM) else chunk
            while chunk:
                first_end = chunk.find(b"\n")
                if len(rest) + (first_end if first_end >= 0 else len(chunk)) > MAX_LINE_BYTES:
                    raise ListError(
                        f"{name}:{number}: is longer than {MAX_LINE_BYTES:,} bytes, should be a short line per image; "
                        "the rest of the file was not read"
                    )
                cut = chunk.rfind(b"\n")
                if cut < 0:
                    rest += chunk
                else:
                    block = rest + chunk[:cut]
                    rest = chunk[cut + 1 :]
                    yield number, _without_carriage_returns(block)
                    number += block.count(b"\n") + 1
                chunk = file.read(MAX_LINE_BYTES)
            if rest:
                yield number, _without_carriage_returns(rest)
    except IsADirectoryError:
        raise ListError(f"{name}: is a folder, should be a file") from None
    except OSError as error:
        raise ListError(f"{name}: cannot be read: {error.strerror or error}") from error


def _without_carriage_returns(block: bytes) -> bytes:
    if b"\r" not in block:
        return block
    block = block.replace(b"\r\n", b"\n")
    return block[:-1] if block.endswith(b"\r") else block


def read_lines(path: str | os.PathLike[str]) -> Iterator[str]:
    """Yield the lines of a UTF-8 file without their ends; raise ListError as read_blocks and decode_line do."""
    for first, block in read_blocks(path):
        text = _plain_text(block)
        if text is not None:
            yield from text.split("\n")
            continue
        for number, line in enumerate(block.split(b"\n"), first):
            yield decode_line(line, f"{os.fspath(path)}:{number}")


def _plain_text(block: bytes) -> str | None:
    """Return lines that hold no fault as text; None where each line needs a check of its own."""
    try:
        return None if b"\0" in block else block.decode("utf-8")
    except UnicodeDecodeError:
        return None


def decode_line(line: bytes, location: str) -> str:
    """Return a line as text; raise ListError, opening with ``location``, where it is not UTF-8 or holds a NUL byte."""
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ListError(
            f"{location}: is not UTF-8 text (byte 0x{line[error.start]:02x} in column {error.start + 1}); "
            "save the file as UTF-8"
        ) from None
    if "\0" in text:
        raise ListError(f"{location}: holds a NUL byte, should be plain text")
    return text
