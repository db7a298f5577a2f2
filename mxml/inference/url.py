"""One image from an http or https address that a person named: bounded in time, in size and in where it leads."""

from __future__ import annotations

import base64
import http.client
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
from mxml.inference.guarded_http import Guard, HttpHandler, HttpsHandler, Refused

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
    does not show those, where there is no answer of at most ``max_bytes`` bytes within ``seconds``.
    """
    name = without_credentials(url)
    guard = Guard(time.monotonic() + seconds, max_bytes + _OTHER_BYTES, silence)
    try:
        with _opener(guard).open(_request(url), timeout=guard.timeout()) as response:
            return _body(response, max_bytes)
    except Refused as fault:
        raise ImageError(str(fault), name, fault.kind) from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        kind = "missing" if isinstance(error, urllib.error.HTTPError) and error.code in (404, 410) else "unreadable"
        raise ImageError(guard.overtime() or _reason(error, silence), name, kind) from None
    finally:
        guard.close()


class _Redirects(urllib.request.HTTPRedirectHandler):
    max_redirections = _MOST_REDIRECTS
    http_error_308 = urllib.request.HTTPRedirectHandler.http_error_302  # Python has it from 3.11 on

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request:
        target = without_credentials(urljoin(req.full_url, newurl))
        if not is_url(target):
            raise Refused("redirects to what is no http or https URL")
        following = _plain_request(target)
        secret = req.unredirected_hdrs.get("Authorization")
        if secret and _origin(target) == _origin(req.full_url):
            following.add_unredirected_header("Authorization", secret)
        return following


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc


def _opener(guard: Guard) -> urllib.request.OpenerDirector:
    """Return an opener of http and https; urllib's own would open files and FTP as well."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        HttpHandler(guard),
        HttpsHandler(guard),
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
        raise Refused("names no host, should be a URL such as https://example.org/photo.jpg")
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
        raise Refused(f"ends after {len(data):,} of {length:,} bytes", "truncated")
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding in ("gzip", "x-gzip"):
        return _unpacked(data, max_bytes)
    if encoding not in ("identity", ""):
        raise Refused("is sent in a compression that was not asked for")
    return bytes(data)


def _unpacked(data: bytearray, max_bytes: int) -> bytes:
    unpacker = zlib.decompressobj(16 + zlib.MAX_WBITS)
    try:
        unpacked = unpacker.decompress(data, max_bytes + 1)
    except zlib.error:
        raise Refused("is said to be in gzip, and is not") from None
    if len(unpacked) > max_bytes:
        raise _too_large(max_bytes)
    if not unpacker.eof:
        raise Refused("its gzip data are cut off", "truncated")
    return unpacked


def _too_large(max_bytes: int) -> Refused:
    return Refused(f"holds more than the {max_bytes:,} bytes allowed", "too_large")


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
