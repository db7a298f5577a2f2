"""Connections to web servers that end in time, whatever the server sends, in urllib's terms.

A server may send its headers, its redirects or an image byte by byte, or without an end. So every read from a socket
is counted here, and gets no more than the time that is left.
"""

from __future__ import annotations

import functools
import http.client
import io
import os
import socket
import ssl
import time
import urllib.request
from typing import Any


class Refused(Exception):
    """What a server sends is not taken."""

    def __init__(self, reason: str, kind: str = "unreadable"):
        super().__init__(reason)
        self.kind = kind


class Guard:
    """What is left of the time and of the bytes for all connections of one fetch; closes them in the end."""

    def __init__(self, deadline: float, most_bytes: int, silence: float):
        self._began = time.monotonic()
        self._deadline = deadline
        self._left = most_bytes
        self._silence = silence
        self._opened: list[http.client.HTTPResponse | socket.socket] = []

    def timeout(self) -> float:
        """Return how long the next step may take. Raises Refused where no time is left."""
        overtime = self.overtime()
        if overtime:
            raise Refused(overtime)
        return min(max(1e-3, self._deadline - time.monotonic()), self._silence)

    def overtime(self) -> str:
        """Say that the time is over, where it is."""
        over = time.monotonic() >= self._deadline
        return f"takes longer than {self._deadline - self._began:.3g} s" if over else ""

    def count(self, received: int) -> None:
        """Count bytes. Raises Refused where they are too many."""
        self._left -= received
        if self._left < 0:
            raise Refused("the server sends more bytes than an image may have", "too_large")

    def keep(self, opened: http.client.HTTPResponse | socket.socket) -> None:
        """Take what is to be closed: urllib leaves it open after some errors."""
        self._opened.append(opened)

    def close(self) -> None:
        """Close all that was opened."""
        for opened in reversed(self._opened):
            opened.close()


class _GuardedFile(io.RawIOBase):
    """What is read from a socket, each time with the time that is left."""

    def __init__(self, connected: socket.socket, guard: Guard):
        self._socket = connected
        self._file = connected.makefile("rb", buffering=0)
        self._guard = guard

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._socket.settimeout(self._guard.timeout())
        count = self._file.readinto(buffer)
        self._guard.count(count or 0)
        return count

    def close(self) -> None:
        self._file.close()
        super().close()


class _GuardedSocket:
    """The part of a socket that http.client uses once it is connected."""

    def __init__(self, connected: socket.socket, guard: Guard):
        self._socket = connected
        self._guard = guard

    def sendall(self, data: bytes) -> None:
        self._socket.settimeout(self._guard.timeout())
        self._socket.sendall(data)

    def makefile(self, mode: str, *_: Any) -> io.BufferedReader:
        return io.BufferedReader(_GuardedFile(self._socket, self._guard))

    def close(self) -> None:
        self._socket.close()


class _Guarded(http.client.HTTPConnection):
    def __init__(self, *arguments: Any, guard: Guard, **options: Any):
        super().__init__(*arguments, **options)
        self._guard = guard

    def connect(self) -> None:
        self.timeout = self._guard.timeout()
        super().connect()
        self._guard.keep(self.sock)
        self.sock = _GuardedSocket(self.sock, self._guard)

    def getresponse(self) -> http.client.HTTPResponse:
        response = super().getresponse()
        self._guard.keep(response)
        return response


class _GuardedTls(_Guarded, http.client.HTTPSConnection):
    pass


class HttpHandler(urllib.request.HTTPHandler):
    """Opens http URLs within what a guard leaves."""

    def __init__(self, guard: Guard):
        super().__init__()
        self._guard = guard

    def http_open(self, request: urllib.request.Request) -> Any:
        """Open it."""
        return self.do_open(functools.partial(_Guarded, guard=self._guard), request)


class HttpsHandler(urllib.request.AbstractHTTPHandler):
    """Opens https URLs within what a guard leaves, after their certificates were checked."""

    def __init__(self, guard: Guard):
        super().__init__()
        self._guard = guard

    https_request = urllib.request.AbstractHTTPHandler.do_request_

    def https_open(self, request: urllib.request.Request) -> Any:
        """Open it."""
        trusted = _tls_context(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))
        return self.do_open(functools.partial(_GuardedTls, guard=self._guard, context=trusted), request)


@functools.cache
def _tls_context(*trusted: str | None) -> ssl.SSLContext:
    """Return what checks certificates; ``trusted`` are where OpenSSL finds those to trust, which takes long to read."""
    return ssl.create_default_context()
