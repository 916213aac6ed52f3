"""A headless Chromium driven over a pipe in its own protocol: no driver, no server, no library."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PATIENCE = 60.0  # seconds for one answer; a busy machine is slow to start a browser
_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


class Page:
    """One tab. `troubles` collects whatever reached the console and every address that was asked for."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser, self._session = browser, session
        self.console: list[str] = []
        self.asked_for: list[str] = []
        for domain in ("Page", "Runtime", "Log", "Network", "DOM"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """A command of the protocol and its answer."""
        return self._browser.call(method, params, self._session, self._hear)

    def open(self, url: str) -> None:
        """Go there and wait until it has loaded."""
        self.call("Page.navigate", url="about:blank")
        self.console.clear()
        self.asked_for.clear()
        self.call("Page.navigate", url=url)
        ends = time.monotonic() + PATIENCE
        while self.value("document.readyState === 'complete' && location.href") != url:
            assert time.monotonic() < ends, f"{url} did not load"
            time.sleep(0.02)

    def value(self, expression: str) -> Any:
        """What an expression comes to. It runs in the page, which the page's own policy does not forbid us."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def click(self, selector: str) -> None:
        """Press and release the mouse in the middle of an element."""
        where = f"document.querySelector({json.dumps(selector)})"
        self.value(f"{where}.scrollIntoView({{block: 'center', behavior: 'instant'}})")
        box = self.value(f"(r => [r.x + r.width / 2, r.y + r.height / 2])({where}.getBoundingClientRect())")
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left", clickCount=1)

    def press(self, key: str) -> None:
        """Press a key: Tab or Enter."""
        code, text = {"Tab": (9, ""), "Enter": (13, "\r")}[key]
        more = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        self.call("Input.dispatchKeyEvent", type="keyDown", **more, **({"text": text} if text else {}))
        self.call("Input.dispatchKeyEvent", type="keyUp", **more)

    def type(self, text: str) -> None:
        """Write into what has the focus."""
        self.call("Input.insertText", text=text)

    def look(self, *, width: int = 1200, scheme: str = "light", media: str = "screen") -> None:
        """How the page is looked at: the window's width in pixels, light or dark, screen or print."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600
        )
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", media=media, features=features)

    def screenshot(self, path: Path) -> None:
        """The whole page as a PNG."""
        taken = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(taken["data"]))

    def _hear(self, event: dict[str, Any]) -> None:
        said = event["params"]
        match event["method"]:
            case "Runtime.consoleAPICalled":
                self.console.append(" ".join(str(arg.get("value")) for arg in said["args"]))
            case "Runtime.exceptionThrown":
                self.console.append(json.dumps(said["exceptionDetails"]))
            case "Log.entryAdded":
                self.console.append(said["entry"]["text"])
            case "Network.requestWillBeSent":
                self.asked_for.append(said["request"]["url"])


class Browser:
    """A running Chromium."""

    def __init__(self, profile: Path) -> None:
        program = next(filter(None, map(shutil.which, _NAMES)), None)
        assert program, "these tests need Chromium; `scripts/setup --browser` installs it, or says how"
        ours_read, its_write = os.pipe()
        its_read, ours_write = os.pipe()

        def wire() -> None:  # the protocol's two ends are descriptors 3 and 4
            ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (its_read, its_write)]
            for number, end in zip((3, 4), ends, strict=True):
                os.dup2(end, number)

        argv = [program, "--headless", "--remote-debugging-pipe", f"--user-data-dir={profile}", "--no-first-run"]
        argv += ["--disable-gpu", "--hide-scrollbars", "--disable-dev-shm-usage", "--disable-background-networking"]
        argv += ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium's sandbox refuses root
        self._log = (profile / "log").open("wb")
        self._process = subprocess.Popen(
            [*argv, "about:blank"],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            close_fds=False,
            preexec_fn=wire,
            start_new_session=True,
        )
        os.close(its_read)
        os.close(its_write)
        self._read, self._write, self._rest, self._number = ours_read, ours_write, b"", 0

    def page(self) -> Page:
        """A tab of its own."""
        target = self.call("Target.createTarget", {"url": "about:blank"})["targetId"]
        session = self.call("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
        return Page(self, session)

    def call(self, method: str, params: dict[str, Any], session: str = "", hear: Any = None) -> dict[str, Any]:
        """Send a command and read until its answer; events on the way go to `hear`."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params} | ({"sessionId": session} if session else {})
        os.write(self._write, json.dumps(message).encode() + b"\0")
        for said in self._messages():
            if said.get("id") == self._number:
                assert "error" not in said, f"{method}: {said}"
                result: dict[str, Any] = said["result"]
                return result
            if hear and said.get("sessionId") == session and "method" in said:
                hear(said)
        raise AssertionError(f"Chromium is gone; see {self._log.name}")

    def close(self) -> None:
        """End it and all its processes."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._read)
        os.close(self._write)
        self._log.close()

    def _messages(self) -> Iterator[dict[str, Any]]:
        while True:
            message, end, rest = self._rest.partition(b"\0")
            if end:
                self._rest = rest
                yield json.loads(message)
                continue
            assert select.select([self._read], [], [], PATIENCE)[0], f"no answer from Chromium; see {self._log.name}"
            data = os.read(self._read, 1 << 20)
            if not data:
                return
            self._rest += data
