"""A page that is asked for again and again: how long it was away, as its users see it."""

from __future__ import annotations

import threading
import time

import httpx


class Client:
    """Asks for a page until it is closed. `longest` is the longest time from one answer to the next, `away` all those
    together in which a request went unanswered."""

    def __init__(self, url: str) -> None:
        self._url, self._stop = url, threading.Event()
        self.longest, self.away, self.answers = 0.0, 0.0, 0
        self._thread = threading.Thread(target=self._poll)

    def __enter__(self) -> Client:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _poll(self) -> None:
        last, missed = time.monotonic(), False
        with httpx.Client(timeout=0.5) as client:  # one, as to make one takes longer than to ask
            while not self._stop.is_set():
                try:
                    served = client.get(self._url).status_code == 200
                except httpx.HTTPError:
                    served = False
                moment = time.monotonic()
                missed |= not served
                if served:
                    self.longest = max(self.longest, moment - last)
                    self.away += moment - last if missed else 0.0
                    last, missed, self.answers = moment, False, self.answers + 1
                time.sleep(0.05)
