"""Who asks a host for its page five times a second, on the host itself: a cut link takes no service away."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Sequence

EVERY = 0.2
# The monotonic clock is the kernel's, so a lab host and this machine read the same one.
_PROGRAM = f"""
import select, sys, time, urllib.request
while True:
    began = time.monotonic()
    try:
        page = urllib.request.urlopen(sys.argv[1], timeout=1).read(64).decode().strip()
    except Exception:
        page = ""
    print("%.3f %s" % (time.monotonic(), page), flush=True)
    rest = {EVERY} - (time.monotonic() - began)
    if select.select([sys.stdin], [], [], max(0.01, rest))[0]:
        break
"""
Sample = tuple[float, str]  # when, by the monotonic clock; the page, or ''


class Poller:
    """Polls until it is closed. A host that is down answers nothing; it is asked again as soon as it can be."""

    def __init__(self, container: str, url: str) -> None:
        self._argv = ["docker", "exec", "-i", container, "python3", "-c", _PROGRAM, url]
        self._samples: list[Sample] = []
        self._process: subprocess.Popen[str] | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._poll, name="poller", daemon=True)
        self._thread.start()

    def _poll(self) -> None:
        while not self._closed:
            self._process = subprocess.Popen(
                self._argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
            for line in self._process.stdout or ():
                if (sample := sample_of(line)) is not None:
                    self._samples.append(sample)
            self._process.wait()
            time.sleep(EVERY)

    def page(self) -> str:
        """What the host serves now; '' for nothing."""
        when, page = self._samples[-1] if self._samples else (0.0, "")
        return page if time.monotonic() - when < 2 else ""

    def wait_for(self, pages: Sequence[str], seconds: float) -> bool:
        """Whether it serves one of the pages within a time."""
        end = time.monotonic() + seconds
        while self.page() not in pages:
            if time.monotonic() > end:
                return False
            time.sleep(EVERY / 2)
        return True

    def away(self, since: float) -> float:
        """The longest time without a page since a moment."""
        return longest_gap([sample for sample in self._samples if sample[0] >= since], since, time.monotonic())

    def forget(self) -> None:
        """Drop what was seen."""
        del self._samples[:-1]

    def close(self) -> None:
        """Stop asking, here and on the host."""
        self._closed = True
        if self._process:
            self._process.kill()
        self._thread.join(timeout=10)


def sample_of(line: str) -> Sample | None:
    """What the program says in a line; None for what Docker says where it cannot run it."""
    when, _, page = line.rstrip("\n").partition(" ")
    try:
        return float(when), page
    except ValueError:
        return None


def longest_gap(samples: Sequence[Sample], since: float, now: float) -> float:
    """Seconds of the longest time within since..now that no page came, from one that came to the next."""
    longest, last = 0.0, since
    for when, page in [*samples, (now, "")]:
        longest = max(longest, when - last)
        if page:
            last = when
    return longest
