"""One image from an http or https address that a person named: bounded in time, in size and in where it leads."""

from __future__ import annotations

import base64
import functools
import http.client
import io
import os
import re
import socket
import ssl
import time
import urllib.error
import urllib.request
import zlib
from typing import IO, Any
from urllib.parse import quote, unquote, urljoin, urlsplit

from mxml import __version__
from mxml.errors import ImageError

MOST_BYTES = 64 << 20
"""Largest file that is fetched."""

MOST_SECONDS = 60.0
"""Longest time that a file may take, from the first connection on, redirects included."""

SILENCE = 10.0
"""Longest time, in seconds, in which a server may send nothing at all."""

_MOST_REDIRECTS = 5
_OTHER_BYTES = 1 << 20  # for the headers of all answers, and what redirects say
_PIECE = 1 << 16
_KEPT = "%/:=&~+!$,;'@()*"
_SCHEME = re.compile(r"https?://", re.IGNORECASE)


def is_url(text: str) -> bool:
    """Say whether a name is the address of something on a web server."""
    return _SCHEME.match(text) is not None


def without_credentials(url: str) -> str:
    """Return a URL without ``user:password@``, as messages and results show it."""
    return re.sub(r"^(\w+://)[^/?#]*@", r"\1", url)


def fetch(url: str, max_bytes: int = MOST_BYTES, seconds: float = MOST_SECONDS, silence: float = SILENCE) -> bytes:
    """Return what an http or https URL holds.

    Certificates are checked. Redirects are followed to http and https only, at most five. The proxies that the
    environment names are used; a user and password in the URL are sent to its own host only. Raises ImageError, which
    does not show those, for whatever is no answer of 1 to ``max_bytes`` bytes within ``seconds``.
    """
    name = without_credentials(url)
    guard = _Guard(time.monotonic() + seconds, max_bytes + _OTHER_BYTES, silence)
    try:
        with _opener(guard).open(_request(url), timeout=guard.timeout()) as response:
            return _body(response, max_bytes)
    except _Refused as fault:
        raise ImageError(str(fault), name, fault.kind) from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        kind = "missing" if isinstance(error, urllib.error.HTTPError) and error.code in (404, 410) else "unreadable"
        raise ImageError(guard.overtime() or _reason(error, silence), name, kind) from None
    finally:
        guard.close()


class _Refused(Exception):
    """What a server sends is not taken."""

    def __init__(self, reason: str, kind: str = "unreadable"):
        super().__init__(reason)
        self.kind = kind


class _Guard:
    """What is left of the time and of the bytes for all connections of one fetch; closes them in the end."""

    def __init__(self, deadline: float, most_bytes: int, silence: float):
        self._began = time.monotonic()
        self._deadline = deadline
        self._left = most_bytes
        self._silence = silence
        self._opened: list[http.client.HTTPResponse | socket.socket] = []

    def timeout(self) -> float:
        """Return how long the next step may take. Raises _Refused where no time is left."""
        overtime = self.overtime()
        if overtime:
            raise _Refused(overtime)
        return min(max(1e-3, self._deadline - time.monotonic()), self._silence)

    def overtime(self) -> str:
        """Say that the time is over, where it is."""
        over = time.monotonic() >= self._deadline
        return f"takes longer than {self._deadline - self._began:.3g} s" if over else ""

    def count(self, received: int) -> None:
        """Count bytes. Raises _Refused where they are too many."""
        self._left -= received
        if self._left < 0:
            raise _Refused("the server sends more bytes than an image may have", "too_large")

    def keep(self, opened: http.client.HTTPResponse | socket.socket) -> None:
        """Take what is to be closed: urllib leaves it open after some errors."""
        self._opened.append(opened)

    def close(self) -> None:
        """Close all that was opened."""
        for opened in reversed(self._opened):
            opened.close()


class _GuardedFile(io.RawIOBase):
    """What is read from a socket, each time with the time that is left."""

    def __init__(self, connected: socket.socket, guard: _Guard):
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

    def __init__(self, connected: socket.socket, guard: _Guard):
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
    def __init__(self, *arguments: Any, guard: _Guard, **options: Any):
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


class _HttpHandler(urllib.request.HTTPHandler):
    def __init__(self, guard: _Guard):
        super().__init__()
        self._guard = guard

    def http_open(self, request: urllib.request.Request) -> Any:
        return self.do_open(functools.partial(_Guarded, guard=self._guard), request)


class _HttpsHandler(urllib.request.AbstractHTTPHandler):
    def __init__(self, guard: _Guard):
        super().__init__()
        self._guard = guard

    https_request = urllib.request.AbstractHTTPHandler.do_request_

    def https_open(self, request: urllib.request.Request) -> Any:
        trusted = _tls_context(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))
        return self.do_open(functools.partial(_GuardedTls, guard=self._guard, context=trusted), request)


@functools.cache
def _tls_context(*trusted: str | None) -> ssl.SSLContext:
    """Return what checks certificates; ``trusted`` are where OpenSSL finds those to trust, which takes long to read."""
    return ssl.create_default_context()


class _Redirects(urllib.request.HTTPRedirectHandler):
    max_redirections = _MOST_REDIRECTS
    http_error_308 = urllib.request.HTTPRedirectHandler.http_error_302  # Python has it from 3.11 on

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request:
        target = without_credentials(urljoin(req.full_url, newurl))
        if not is_url(target):
            raise _Refused("redirects to what is no http or https URL")
        following = _plain_request(target)
        secret = req.unredirected_hdrs.get("Authorization")
        if secret and _origin(target) == _origin(req.full_url):
            following.add_unredirected_header("Authorization", secret)
        return following


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc


def _opener(guard: _Guard) -> urllib.request.OpenerDirector:
    """Return an opener of http and https; urllib's own would open files and FTP as well."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        _HttpHandler(guard),
        _HttpsHandler(guard),
        _Redirects(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    return opener


def _request(url: str) -> urllib.request.Request:
    parts = urlsplit(url)
    request = _plain_request(without_credentials(url))
    if parts.username is not None:
        secret = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
        request.add_unredirected_header("Authorization", f"Basic {base64.b64encode(secret).decode()}")
    return request


def _plain_request(url: str) -> urllib.request.Request:
    """Return a request of a URL that may hold blanks and letters of any language."""
    parts = urlsplit(url)
    if not parts.hostname:
        raise _Refused("names no host, should be a URL such as https://example.org/photo.jpg")
    host = parts.hostname if parts.hostname.isascii() else parts.hostname.encode("idna").decode("ascii")
    place = f"[{host}]" if ":" in host else host
    if parts.port is not None:
        place += f":{parts.port}"
    query = f"?{quote(parts.query, _KEPT + '?')}" if parts.query else ""
    headers = {"User-Agent": f"mxml/{__version__}", "Accept": "image/*,*/*;q=0.8", "Accept-Encoding": "identity"}
    return urllib.request.Request(
        f"{parts.scheme.lower()}://{place}{quote(parts.path, _KEPT) or '/'}{query}", headers=headers
    )


def _body(response: Any, max_bytes: int) -> bytes:
    said = response.headers.get("Content-Length", "")
    length = int(said) if said.isascii() and said.isdigit() and len(said) < 20 else None
    if response.headers.get("Transfer-Encoding"):
        length = None
    if length is not None and length > max_bytes:
        raise _too_large(max_bytes)
    data = bytearray()
    while length is None or len(data) < length:
        piece = response.read1(_PIECE if length is None else min(_PIECE, length - len(data)))
        if not piece:
            break
        data += piece
        if len(data) > max_bytes:
            raise _too_large(max_bytes)
    if length is not None and len(data) < length:
        raise _Refused(f"ends after {len(data):,} of {length:,} bytes", "truncated")
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding in ("gzip", "x-gzip"):
        return _unpacked(data, max_bytes)
    if encoding not in ("identity", ""):
        raise _Refused("is sent in a compression that was not asked for")
    return bytes(data)


def _unpacked(data: bytearray, max_bytes: int) -> bytes:
    unpacker = zlib.decompressobj(16 + zlib.MAX_WBITS)
    try:
        unpacked = unpacker.decompress(data, max_bytes + 1)
    except zlib.error:
        raise _Refused("is said to be in gzip, and is not") from None
    if len(unpacked) > max_bytes:
        raise _too_large(max_bytes)
    if not unpacker.eof:
        raise _Refused("its gzip data are cut off", "truncated")
    return unpacked


def _too_large(max_bytes: int) -> _Refused:
    return _Refused(f"holds more than the {max_bytes:,} bytes allowed", "too_large")


def _reason(error: BaseException, silence: float) -> str:
    """Say what went wrong, in words of our own: a server's or a library's may hold anything."""
    if isinstance(error, urllib.error.HTTPError):
        if 300 <= error.code < 400:
            return f"redirects in a circle, more than {_MOST_REDIRECTS} times, or to what is no http or https URL"
        return f"the server answers {error.code} {http.client.responses.get(error.code, '')}".rstrip()
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"the server's certificate is not trusted: {cause.verify_message}"
    if isinstance(cause, ssl.SSLError):
        return "no secure connection can be made to the server"
    if isinstance(cause, (TimeoutError, socket.timeout)):
        return f"the server sends nothing for {silence:g} s"
    if isinstance(cause, socket.gaierror):
        return f"its host cannot be found: {cause.strerror}"
    if isinstance(cause, http.client.InvalidURL) or (isinstance(cause, ValueError) and not isinstance(cause, OSError)):
        return "is not a valid URL"
    if isinstance(cause, http.client.HTTPException):
        return "the server ends the connection too early, or its answer is not HTTP"
    if isinstance(cause, OSError) and cause.strerror:
        return f"the server cannot be reached: {cause.strerror}"
    return "the server cannot be reached"
