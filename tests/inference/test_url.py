"""URLs against a server of the machine's own, which does what servers should not."""

from __future__ import annotations

import contextlib
import gzip
import io
import shlex
import shutil
import socket
import ssl
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest
from needs import lacking
from PIL import Image

from mxml.data.image_stream import stream_batches
from mxml.errors import ImageError
from mxml.images.decode import Limits
from mxml.images.transforms import Preprocess
from mxml.inference import url
from mxml.inference.fetching import Fetching
from mxml.inference.inputs import InputStream

IMAGE = b"\x89PNG" + bytes(range(256)) * 50


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    seen: ClassVar[list[dict[str, str]]] = []

    def log_message(self, *_):
        pass

    def answer(self, body=IMAGE, status=200, **headers):
        self.send_response(status)
        for name, value in {"content_length": str(len(body)), **headers}.items():
            if value is not None:
                self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.seen.append({"path": self.path, **{name.lower(): value for name, value in self.headers.items()}})
        with contextlib.suppress(ConnectionError):
            getattr(self, self.path.lstrip("/").partition("?")[0].partition(".")[0] or "image")()
        self.close_connection = True

    def image(self):
        self.answer()

    def picture(self):
        number = int(self.path.partition("?")[2])
        time.sleep(0.002 * (number % 5))
        file = io.BytesIO()
        Image.new("RGB", (20, 20), (3 * number, 99, 99)).save(file, "PNG")
        self.answer(file.getvalue(), content_type="text/html")

    def missing(self):
        self.answer(b"secret text", 404)

    def redirect(self):
        self.answer(b"", 302, Location="/image")

    def permanent(self):
        self.answer(b"", 308, Location="/image")

    def circle(self):
        self.answer(b"", 302, Location="/circle")

    def chain(self):
        step = int(self.path.partition("?")[2] or 0) + 1
        self.answer(b"", 302, Location=f"/chain?{step}")

    def local(self):
        self.answer(b"", 302, Location="file:///etc/passwd")

    def ftp(self):
        self.answer(b"", 302, Location="ftp://127.0.0.1/x")

    def other_host(self):
        self.answer(b"", 302, Location=f"http://localhost:{self.headers['Host'].rpartition(':')[2]}/image")

    def endless(self):
        self.answer(b"", content_length=None)
        while True:
            self.wfile.write(bytes(1 << 16))

    def endless_chunks(self):
        self.answer(b"", content_length=None, transfer_encoding="chunked")
        while True:
            self.wfile.write(b"8000\r\n" + bytes(1 << 15) + b"\r\n")

    def endless_headers(self):
        self.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
        while True:
            self.wfile.write(b"a" * 100)
            time.sleep(0.02)

    def endless_redirect(self):
        self.answer(b"", 302, Location="/image", content_length=None)
        while True:
            self.wfile.write(bytes(1 << 16))

    def huge(self):
        self.answer(b"", content_length=str(10**12))

    def long(self):
        self.answer(content_length=str(len(IMAGE) + 5))

    def short(self):
        self.answer(content_length=str(len(IMAGE) - 5))

    def negative(self):
        self.answer(content_length="-5")

    def drip(self):
        self.answer(b"", content_length="1000000")
        while True:
            self.wfile.write(b"x")
            time.sleep(0.05)

    def silent(self):
        time.sleep(2)

    def zipped(self):
        self.answer(gzip.compress(IMAGE), content_encoding="gzip")

    def bomb(self):
        self.answer(gzip.compress(bytes(20 << 20)), content_encoding="gzip")

    def half_zipped(self):
        self.answer(gzip.compress(IMAGE)[:-20], content_encoding="gzip")

    def not_zipped(self):
        self.answer(content_encoding="gzip")

    def brotli(self):
        self.answer(content_encoding="br")

    def chunked(self):
        self.answer(b"", content_length=None, transfer_encoding="chunked")
        self.wfile.write(
            b"4\r\n" + IMAGE[:4] + b"\r\n" + f"{len(IMAGE) - 4:x}\r\n".encode() + IMAGE[4:] + b"\r\n0\r\n\r\n"
        )

    def cut_chunks(self):
        self.answer(b"", content_length=None, transfer_encoding="chunked")
        self.wfile.write(b"400\r\nabc")

    def no_http(self):
        self.wfile.write(b"hello\r\n")


class Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, *_):
        """Say nothing of clients that leave."""


@contextlib.contextmanager
def running_server():
    with Server(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def server():
    """The address of a server, as http://127.0.0.1:PORT."""
    with running_server() as running:
        yield f"http://127.0.0.1:{running.server_port}"


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def fetch(address, **bounds):
    return url.fetch(address, **{"max_bytes": 1 << 20, "seconds": 5, "silence": 3, **bounds})


@pytest.mark.parametrize(
    "path", ["image.jpg", "", "?a=b c&d=ü", "redirect", "permanent", "zipped", "chunked", "negative"]
)
def test_what_a_url_holds_is_fetched(server, path):
    assert fetch(f"{server}/{path}") == IMAGE
    assert fetch(f"{server.replace('http', 'HTTP')}/{path}#part") == IMAGE


@pytest.mark.parametrize(
    ("path", "kind", "reason"),
    [
        ("missing", "missing", "the server answers 404 Not Found"),
        ("circle", "unreadable", "redirects in a circle, more than 5 times"),
        ("chain", "unreadable", "redirects in a circle, more than 5 times"),
        ("local", "unreadable", "redirects in a circle, more than 5 times, or to what is no http or https URL"),
        ("ftp", "unreadable", "redirects to what is no http or https URL"),
        ("endless", "too_large", "holds more than the 1,048,576 bytes allowed"),
        ("endless_chunks", "too_large", "holds more than the 1,048,576 bytes allowed"),
        ("endless_redirect", "too_large", "the server sends more bytes than an image may have"),
        ("huge", "too_large", "holds more than the 1,048,576 bytes allowed"),
        ("bomb", "too_large", "holds more than the 1,048,576 bytes allowed"),
        ("long", "truncated", "ends after 12,804 of 12,809 bytes"),
        ("half_zipped", "truncated", "its gzip data are cut off"),
        ("not_zipped", "unreadable", "is said to be in gzip, and is not"),
        ("brotli", "unreadable", "is sent in a compression that was not asked for"),
        ("cut_chunks", "unreadable", "the server ends the connection too early"),
        ("no_http", "unreadable", "the server ends the connection too early, or its answer is not HTTP"),
    ],
)
def test_what_is_wrong_with_an_answer_is_said(server, path, kind, reason):
    with pytest.raises(ImageError) as error:
        fetch(f"{server}/{path}")
    assert (error.value.path, error.value.kind) == (f"{server}/{path}", kind)
    assert error.value.reason.startswith(reason)


def test_no_more_is_taken_than_the_length_says(server):
    assert fetch(f"{server}/short") == IMAGE[:-5]


@pytest.mark.parametrize("path", ["drip", "endless_headers"])
def test_a_server_that_never_finishes_is_left_in_time(server, path):
    with pytest.raises(ImageError, match=r"takes longer than 0\.4 s"):
        fetch(f"{server}/{path}", seconds=0.4)


def test_a_server_that_says_nothing_is_left_sooner(server):
    with pytest.raises(ImageError, match=r"the server sends nothing for 0\.2 s"):
        fetch(f"{server}/silent", silence=0.2)


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("http://", "names no host"),
        ("http:///x.jpg", "names no host"),
        ("https://[::1/x.jpg", "is not a valid URL"),
        ("http://127.0.0.1:99999/x.jpg", "is not a valid URL"),
        ("http://127.0.0.1:9x/x.jpg", "is not a valid URL"),
        ("http://a\nb/x.jpg", "its host cannot be found"),
        ("http://nowhere.invalid/x.jpg", "its host cannot be found"),
        ("http://a..b/x.jpg", "i"),
    ],
)
def test_addresses_that_lead_nowhere(address, reason):
    with pytest.raises(ImageError) as error:
        fetch(address, seconds=2)
    assert error.value.reason.startswith(reason)


def test_a_server_that_is_not_there():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(ImageError, match="the server cannot be reached: Connection refused"):
            fetch(f"http://127.0.0.1:{taken.getsockname()[1]}/x.jpg")


def test_a_server_that_speaks_no_tls(server):
    with pytest.raises(ImageError, match="no secure connection can be made to the server"):
        fetch(server.replace("http", "https"))


def test_a_certificate_is_checked(tmp_path, monkeypatch):
    if shutil.which("openssl") is None:
        lacking("needs the command openssl, to make a certificate")
    key, certificate = str(tmp_path / "key.pem"), str(tmp_path / "certificate.pem")
    made = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=x -addext subjectAltName=IP:127.0.0.1"
    subprocess.run([*shlex.split(made), "-keyout", key, "-out", certificate], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with running_server() as secure:
        secure.socket = context.wrap_socket(secure.socket, server_side=True)
        address = f"https://127.0.0.1:{secure.server_port}"
        with pytest.raises(ImageError, match=r"the server's certificate is not trusted: self.signed certificate"):
            fetch(f"{address}/image")
        monkeypatch.setenv("SSL_CERT_FILE", certificate)
        assert fetch(f"{address}/redirect") == fetch(f"{address}/chunked") == IMAGE
        with pytest.raises(ImageError, match=r"takes longer than 0\.4 s"):
            fetch(f"{address}/drip", seconds=0.4)
        with pytest.raises(ImageError, match=r"the server's certificate is not trusted: .*[Hh]ostname"):
            fetch(f"https://localhost:{secure.server_port}/image")


def test_user_and_password_go_to_their_host_only_and_are_never_shown(server):
    Handler.seen.clear()
    secret = server.replace("://", "://me:p%40ss@")
    assert fetch(f"{secret}/redirect") == fetch(f"{secret}/other_host") == IMAGE
    sent = [request.get("authorization") for request in Handler.seen]
    assert sent == ["Basic bWU6cEBzcw=="] * 3 + [None]
    assert Handler.seen[0]["user-agent"].startswith("mxml/")
    for path in ("missing", "local", "long"):
        with pytest.raises(ImageError) as error:
            fetch(f"{secret}/{path}")
        assert str(error.value).startswith(f"{server}/{path}: ") and "me:" not in str(error.value)
    assert url.without_credentials("https://a:b@c@d/e@f") == "https://d/e@f"


def test_the_proxy_of_the_environment_is_asked(server, monkeypatch):
    Handler.seen.clear()
    monkeypatch.setenv("http_proxy", server)
    with pytest.raises(ImageError):
        fetch("http://example.invalid/image.jpg")
    assert Handler.seen[0]["path"] == "http://example.invalid/image.jpg"


# ---- ahead of their use


def test_urls_of_a_stream_are_fetched_as_they_are_reached(server):
    Handler.seen.clear()
    named = [f"{server.replace('://', '://a:b@')}/image.png", f"{server}/missing", "x.png"]
    stream = InputStream(named)
    assert not Handler.seen and stream.count == 3
    first, second, third = stream
    assert [first.name, second.name, third.name] == [f"{server}/image.png", f"{server}/missing", "x.png"]
    assert callable(first.content) and first.content(Limits()) == IMAGE
    assert callable(second.content)
    with pytest.raises(ImageError, match="404"):
        second.content(Limits())


def test_urls_of_many_batches_come_in_their_order(server):
    named = [f"{server}/{'missing' if number % 7 == 3 else 'picture'}?{number}" for number in range(70)]
    stream = InputStream(iter(named))
    found, faults = [], []
    for batch in stream_batches(stream, Preprocess((8, 8), 8), 5, threads=3):
        found += [item.name for item in batch.items]
        faults += [fault is not None and fault.path for fault in batch.faults]
        for number, row in zip(range(len(found) - len(batch.items), len(found)), batch.data):
            assert row.any() == (number % 7 != 3)
    assert found == named
    assert faults == [name if "missing" in name else False for name in named]


def test_only_some_are_fetched_ahead_and_all_in_the_end():
    lock, begun, gate = threading.Lock(), [], threading.Semaphore(0)

    def slow(address: str) -> bytes:
        with lock:
            begun.append(int(address))
        assert gate.acquire(timeout=10)
        return address.encode()

    fetching = Fetching(slow)
    taken = [fetching.start(str(number)) for number in range(60)]
    for _ in range(60):
        gate.release()
    assert taken[0](Limits()) == b"0"
    deadline = time.monotonic() + 5
    while len(begun) < 17 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.05)
    assert sorted(begun) == list(range(17)), "16 from the first that was not taken"
    # Last to first within what is near, as decoding threads may take them.
    for first in range(1, 60, 8):
        for number in reversed(range(first, min(first + 8, 60))):
            assert taken[number](Limits()) == str(number).encode()
    assert sorted(begun) == list(range(60))


def test_who_waits_for_a_fetch_is_told_when_the_stream_ends():
    ended = threading.Event()

    def never(address: str) -> bytes:
        ended.wait(10)
        return b""

    fetching = Fetching(never)
    wait = fetching.start("http://u:p@h/x.jpg")
    threading.Timer(0.1, fetching.close).start()
    with pytest.raises(ImageError, match=r"^http://h/x\.jpg: was not fetched: the prediction ended$"):
        wait(Limits())
    ended.set()


def test_urls_that_are_left_out_are_not_fetched_and_hold_nothing_up(server):
    Handler.seen.clear()
    named = [f"{server}/picture?{number}" for number in range(60)]
    for given in (named, iter(named)):
        stream = InputStream(given, skip=lambda name: not name.endswith(("?40", "?59")))
        batches = stream_batches(stream, Preprocess((8, 8), 8), 5, threads=3)
        assert [item.name for batch in batches for item in batch.items] == [named[40], named[59]]
    assert sorted(request["path"] for request in Handler.seen) == ["/picture?40"] * 2 + ["/picture?59"] * 2
