"""A page that is asked for again and again: how long it was away, as its users see it."""

from __future__ import annotations

import threading
import time

import httpx


class Client:
    """Asks for a page until it is closed.

    `longest` is the longest time from one answer to the next; `away` are all those together in which a request went
    unanswered, and `least` what of them lies between the first and the last of these requests.
    """

    def __init__(self, url: str) -> None:
        self._url, self._stop = url, threading.Event()
        self.longest, self.away, self.least, self.answers = 0.0, 0.0, 0.0, 0
        self._thread = threading.Thread(target=self._poll)

    def __enter__(self) -> Client:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _poll(self) -> None:
        last, missed = time.monotonic(), []
        with httpx.Client(timeout=0.5) as client:  # one, as to make one takes longer than to ask
            while not self._stop.is_set():
                asked = time.monotonic()
                try:
                    served = client.get(self._url).status_code == 200
                except httpx.HTTPError:
                    served = False
                if served:
                    moment = time.monotonic()
                    self.longest = max(self.longest, moment - last)
                    if missed:
                        self.away, self.least = self.away + moment - last, self.least + missed[-1] - missed[0]
                    last, missed, self.answers = moment, [], self.answers + 1
                else:
                    missed.append(asked)
                time.sleep(0.05)
