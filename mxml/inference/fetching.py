"""URLs fetched by threads ahead of their use, so that the network does not wait for the processor, nor it for that."""

from __future__ import annotations

import threading
from collections import deque
from functools import partial
from typing import Callable

from mxml.errors import ImageError
from mxml.images.decode import Limits
from mxml.inference import url

_THREADS = 8
_AHEAD = 16  # with the largest files, a gigabyte


class _Fetch:
    def __init__(self, address: str, number: int):
        self.address = address
        self.number = number
        self.result: bytes | BaseException | None = None
        self.taken = False


class Fetching:
    """Fetches URLs in the order in which they were started, at most 16 ahead of the first that was not taken yet.

    The threads end once nothing is left to fetch, or with ``close``. They are daemons: a process that ends does not
    wait for a slow server.
    """

    def __init__(self, fetch: Callable[[str], bytes] = url.fetch):
        self._get = fetch
        self._changed = threading.Condition()
        self._started = 0
        self._untaken: deque[_Fetch] = deque()
        self._waiting: deque[_Fetch] = deque()
        self._threads = 0
        self._closed = False

    def start(self, address: str) -> Callable[[Limits], bytes]:
        """Have a URL fetched; return what waits for its content. That raises ImageError where it cannot be fetched."""
        with self._changed:
            fetch = _Fetch(address, self._started)
            self._started += 1
            self._untaken.append(fetch)
            self._waiting.append(fetch)
            if self._threads < _THREADS:
                self._threads += 1
                threading.Thread(target=self._work, name="mxml-fetch", daemon=True).start()
        return partial(self._take, fetch)

    def close(self) -> None:
        """Give up what was not fetched; who waits for it gets an ImageError."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or not self._waiting or self._is_near(self._waiting[0]))
                if self._closed or not self._waiting:
                    self._threads -= 1
                    return
                fetch = self._waiting.popleft()
            try:
                result: bytes | BaseException = self._get(fetch.address)
            except BaseException as error:  # raised again by who takes it
                result = error.with_traceback(None)
            with self._changed:
                fetch.result = result
                self._changed.notify_all()

    def _is_near(self, fetch: _Fetch) -> bool:
        return fetch.number < self._untaken[0].number + _AHEAD

    def _take(self, fetch: _Fetch, limits: Limits) -> bytes:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or fetch.result is not None)
            result, fetch.result = fetch.result, None
            fetch.taken = True
            while self._untaken and self._untaken[0].taken:
                self._untaken.popleft()
            self._changed.notify_all()
        if result is None:
            raise ImageError("was not fetched: the prediction ended", url.without_credentials(fetch.address))
        if isinstance(result, BaseException):
            raise result
        if len(result) > limits.max_bytes:
            raise ImageError(
                f"holds {len(result):,} bytes, more than the {limits.max_bytes:,} allowed",
                url.without_credentials(fetch.address),
                "too_large",
            )
        return result
