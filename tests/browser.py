"""A real browser for the tests: Chromium without a window, told what to do over a pair of pipes."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from types import TracebackType
from typing import Any, Self

import orjson

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--no-proxy-server",
    "--remote-debugging-pipe",
]
# Chromium reads commands from descriptor 3 and answers on 4.
_EXEC = (
    "import os, sys; r, w = map(int, sys.argv[1:3]); os.dup2(r, 3); os.dup2(w, 4); os.execvp(sys.argv[3], sys.argv[3:])"
)


def find_browser() -> str | None:
    """The browser's program; None where there is none."""
    return next(
        (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
    )


class Browser:
    """One tab of a browser with a profile of its own. Every call is bounded by ``timeout`` seconds."""

    def __init__(self, program: str, timeout: float = 20.0) -> None:
        self._program, self._timeout = program, timeout
        self._profile = tempfile.mkdtemp(prefix="hm-browser-")
        self._unread = b""
        self._number = 0
        self._session: str | None = None

    def open(self, url: str) -> None:
        """Go to ``url``; returns when that began."""
        self._ask("Page.navigate", url=url)

    def evaluate(self, expression: str) -> Any:
        """The JSON value of a JavaScript expression on the page; a page that is still loading gives None."""
        found = self._ask("Runtime.evaluate", expression=expression, returnByValue=True)
        return found["result"].get("value")

    def text(self, selector: str) -> str:
        """What is written in the first element that ``selector`` finds; empty if there is none."""
        return str(self.evaluate(f"document.querySelector({selector!r})?.textContent ?? ''"))

    def press(self, key: str) -> None:
        """Press a key on what has the focus: a character, Enter, Tab, Escape or another that has a name."""
        text = {"Enter": "\r"}.get(key, key if len(key) == 1 else "")
        code = {"Enter": 13, "Tab": 9, "Escape": 27}.get(key, ord(key[0].upper()))
        pressed: dict[str, Any] = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        self._ask("Input.dispatchKeyEvent", type="keyDown", **pressed, **({"text": text} if text else {}))
        self._ask("Input.dispatchKeyEvent", type="keyUp", **pressed)

    def __enter__(self) -> Self:
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        start = [sys.executable, "-c", _EXEC, str(theirs_in), str(theirs_out)]
        self._process = subprocess.Popen(
            [*start, self._program, *FLAGS, f"--user-data-dir={self._profile}", "about:blank"],
            pass_fds=(theirs_in, theirs_out),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        target = self._ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(10)
        os.close(self._in)
        os.close(self._out)
        shutil.rmtree(self._profile, ignore_errors=True)

    def _ask(self, method: str, **params: Any) -> Any:
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._out, orjson.dumps(message) + b"\0")
        deadline = time.monotonic() + self._timeout
        while True:
            answer = self._next(deadline)
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]

    def _next(self, deadline: float) -> Any:
        while b"\0" not in self._unread:
            ready, _, _ = select.select([self._in], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, "the browser does not answer"
            data = os.read(self._in, 1 << 16)
            assert data, f"the browser ended: {self._process.wait(5)}"
            self._unread += data
        message, _, self._unread = self._unread.partition(b"\0")
        return orjson.loads(message)
