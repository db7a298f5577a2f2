"""A headless Chromium for tests: loads a page without any network, and reports every fault that the page has.

Speaks the DevTools protocol (https://chromedevtools.github.io/devtools-protocol) over a pair of pipes, so it needs
neither a driver nor a Python package nor a port. What counts as a fault: an exception or an error in the console, a
violation of the page's content security policy, and every request but the one for the page itself.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SECONDS = 30

# Chromium reads its commands from descriptor 3 and answers on 4; either may be the number of the other's pipe here.
_START = """
import fcntl, os, sys
commands, answers = (fcntl.fcntl(int(number), fcntl.F_DUPFD, 10) for number in sys.argv[1:3])
os.dup2(commands, 3)
os.dup2(answers, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""


def find_chromium() -> str | None:
    """Return the path of a Chromium that runs; None without one."""
    for name in PROGRAMS:
        program = shutil.which(name)
        # Asked by running it: Ubuntu's chromium-browser is a note that a snap has to be installed.
        if program and subprocess.run([program, "--version"], capture_output=True, timeout=SECONDS).returncode == 0:
            return program
    return None


class BrowserError(Exception):
    """The browser ended, gave no answer in time or refused a command."""


class Browser:
    """One running Chromium; use it in a ``with`` statement."""

    def __init__(self, program: str):
        self._profile = tempfile.mkdtemp(prefix="mxml-browser-")
        read_commands, self._commands = os.pipe()
        self._answers, write_answers = os.pipe()
        switches = [
            "--headless=new",
            "--remote-debugging-pipe",
            f"--user-data-dir={self._profile}",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-dev-shm-usage",
            "--disable-gpu",
            "--hide-scrollbars",
            "--host-resolver-rules=MAP * ~NOTFOUND",
        ]
        if os.geteuid() == 0:
            switches.append("--no-sandbox")  # root cannot have one
        starter = [sys.executable, "-c", _START, str(read_commands), str(write_answers)]
        self._process = subprocess.Popen(
            [*starter, program, *switches],
            pass_fds=(read_commands, write_answers),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(read_commands)
        os.close(write_answers)
        self._received = b""
        self._last_id = 0
        self._pages: dict[str, Page] = {}

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *exc_info: object) -> None:
        with contextlib.suppress(BrowserError):
            self.call("Browser.close")
        try:
            self._process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        os.close(self._commands)
        os.close(self._answers)
        # Chromium's last processes may still write into it.
        shutil.rmtree(self._profile, ignore_errors=True)

    def open(self, path: Path, width: int = 1280, *, dark: bool = False, scripts: bool = True) -> Page:
        """Load a file and return once its load event has been handled."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = self._pages[session] = Page(self, session, target, path.absolute().as_uri())
        page.load(width, dark, scripts)
        return page

    def call(self, method: str, session: str | None = None, **parameters: object) -> dict:
        """Send a command and return its result; events that come before it go to their pages."""
        number = self.send(method, session, **parameters)
        deadline = time.monotonic() + SECONDS
        while True:
            message = self.receive(deadline)
            if message.get("id") == number:
                if "error" in message:
                    raise BrowserError(f"{method}: {message['error']['message']}")
                return message["result"]

    def send(self, method: str, session: str | None = None, **parameters: object) -> int:
        """Send a command without waiting for its answer, and return its number."""
        self._last_id += 1
        message = {"id": self._last_id, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        try:
            with open(self._commands, "wb", closefd=False) as pipe:
                pipe.write(json.dumps(message).encode() + b"\0")
        except BrokenPipeError:
            raise BrowserError(f"the browser has ended: {self._process.poll()}") from None
        return self._last_id

    def receive(self, deadline: float) -> dict:
        """Return the next message, handed to its page first where it is an event."""
        while b"\0" not in self._received:
            if not select.select([self._answers], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise BrowserError(f"no answer from the browser within {SECONDS} seconds")
            more = os.read(self._answers, 1 << 20)
            if not more:
                raise BrowserError("the browser has ended")
            self._received += more
        text, _, self._received = self._received.partition(b"\0")
        message = json.loads(text)
        if "method" in message and message.get("sessionId") in self._pages:
            self._pages[message["sessionId"]].handle(message["method"], message["params"])
        return message


class Page:
    """One page in the browser."""

    def __init__(self, browser: Browser, session: str, target: str, url: str):
        self._browser = browser
        self._session = session
        self._target = target
        self._url = url
        self._loaded = False
        self._scripts = True
        self._faults: list[str] = []

    def load(self, width: int, dark: bool, scripts: bool) -> None:
        """Set the window up, go to the page and wait for its load event."""
        for domain in ("Page", "Runtime", "Log", "Fetch"):
            self.call(f"{domain}.enable")
        self.resize(width)
        wishes = {"prefers-color-scheme": "dark" if dark else "light", "prefers-reduced-motion": "reduce"}
        features = [{"name": name, "value": value} for name, value in wishes.items()]
        self.call("Emulation.setEmulatedMedia", features=features)
        self._scripts = scripts
        self.call("Emulation.setScriptExecutionDisabled", value=not scripts)
        failure = self.call("Page.navigate", url=self._url).get("errorText")
        if failure:
            raise BrowserError(f"{self._url}: {failure}")
        deadline = time.monotonic() + SECONDS
        while not self._loaded:
            self._browser.receive(deadline)

    def call(self, method: str, **parameters: object) -> dict:
        """Send a command to this page and return its result."""
        return self._browser.call(method, self._session, **parameters)

    def handle(self, event: str, content: dict) -> None:
        """Note the faults that an event reports; refuse every request but the one for the page itself."""
        if event == "Page.loadEventFired":
            self._loaded = True
        elif event == "Fetch.requestPaused":
            url, number = content["request"]["url"], content["requestId"]
            if url == self._url:
                self._browser.send("Fetch.continueRequest", self._session, requestId=number)
            else:
                self._faults.append(f"request: {url[:200]}")
                self._browser.send("Fetch.failRequest", self._session, requestId=number, errorReason="BlockedByClient")
        elif event == "Runtime.exceptionThrown":
            details = content["exceptionDetails"]
            text = details.get("exception", {}).get("description") or details["text"]
            self._faults.append(f"exception: {text.splitlines()[0]}")
        elif event == "Runtime.consoleAPICalled" and content["type"] in ("error", "warning", "assert"):
            text = " ".join(str(value.get("value", value.get("description"))) for value in content["args"])
            self._faults.append(f"console: {text}")
        elif event == "Log.entryAdded" and content["entry"]["level"] in ("error", "warning"):
            self._faults.append(f"log: {content['entry']['text']}")

    def faults(self) -> list[str]:
        """Return all faults so far, after what the page has begun has had time to end."""
        # Two frames and a turn of the event loop: violations and failed requests are reported behind their cause.
        if self._scripts:
            frame = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done))))"
            self.evaluate(frame)
        return list(self._faults)

    def evaluate(self, expression: str) -> object:
        """Return the value of a JavaScript expression in the page; a promise is waited for."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            raise BrowserError(details.get("exception", {}).get("description") or details["text"])
        return answer["result"].get("value")

    def resize(self, width: int, height: int = 900) -> None:
        """Give the window another size, in CSS pixels."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **size)

    def screenshot(self, path: Path, *, whole: bool = True) -> None:
        """Write a PNG of the whole page, or of what the window shows of it."""
        where: dict[str, object] = {}
        if whole:
            size = self.call("Page.getLayoutMetrics")["cssContentSize"]
            # Chromium draws no more than 16,384 pixels in a piece.
            clip = {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], 16_000), "scale": 1}
            where = {"captureBeyondViewport": True, "clip": clip}
        picture = self.call("Page.captureScreenshot", format="png", **where)
        path.write_bytes(base64.b64decode(picture["data"]))

    def close(self) -> None:
        """Close the page."""
        self._browser.call("Target.closeTarget", targetId=self._target)
