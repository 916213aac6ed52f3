"""Carries out operations in one thread, and ends them early when they are cancelled or the worker stops."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from ktrdr import operations

LOG = logging.getLogger("ktrdr.worker")
REPORT_EVERY = 0.2  # seconds between two writes of progress
PATIENCE = 60.0  # seconds for which a database that is away is waited for

Work = Callable[["Task"], dict[str, Any]]


class Cancelled(Exception):  # noqa: N818  an outcome, not a fault
    """The operation was cancelled."""


class Stopped(Exception):  # noqa: N818  an outcome, not a fault
    """The worker stops; the operation goes on when it is back. `epoch` says where its checkpoint is, if it has one."""

    def __init__(self, epoch: int | None = None) -> None:
        super().__init__(epoch)
        self.epoch = epoch


class Task:
    """An operation being carried out, as the work sees it."""

    def __init__(self, db: sa.Engine, row: dict[str, Any], stopping: threading.Event) -> None:
        self.identity: str = row["id"]
        self.parameters: dict[str, Any] = row["parameters"]
        self.stopping, self.cancelled = stopping, threading.Event()
        self._db, self._reported = db, 0.0

    def report(self, progress: float) -> None:
        """Note the progress (0 to 100), now and then; raises Cancelled once the operation is no longer wanted."""
        if self.cancelled.is_set():
            raise Cancelled
        if time.monotonic() - self._reported < REPORT_EVERY:
            return
        self.save(progress=progress)
        self._reported = time.monotonic()

    def save(self, **values: Any) -> None:
        """Change the operation's row, waiting for the database if need be; raises Cancelled where it has ended."""
        give_up = time.monotonic() + PATIENCE
        while True:
            try:
                if not operations.update(self._db, self.identity, **values):
                    raise Cancelled
                return
            except sa.exc.OperationalError:
                if time.monotonic() > give_up or self.stopping.is_set():
                    raise
                self.stopping.wait(1.0)


class Runner:
    """A queue of operations and the thread's loop over it."""

    def __init__(self, db: sa.Engine, work: Work) -> None:
        self._db, self._work = db, work
        self._queue: queue.Queue[str | None] = queue.Queue()
        self._known: set[str] = set()
        self._lock = threading.Lock()
        self._task: Task | None = None
        self._stopping, self._ended = threading.Event(), threading.Event()

    @property
    def busy(self) -> bool:
        return self._task is not None or not self._queue.empty()

    def take(self, identity: str) -> None:
        """Put an operation into the queue, once however often it is offered."""
        with self._lock:
            if identity not in self._known:
                self._known.add(identity)
                self._queue.put(identity)

    def cancel(self, identity: str) -> None:
        """End an operation soon if it runs. One that waits is found cancelled when its turn comes."""
        task = self._task
        if task is not None and task.identity == identity:
            task.cancelled.set()

    def stop(self, timeout: float) -> None:
        """Let the running operation save itself, for at most `timeout` seconds."""
        self._stopping.set()
        self._queue.put(None)
        self._ended.wait(timeout)

    def run(self) -> None:
        """The thread's loop."""
        while (identity := self._queue.get()) is not None and not self._stopping.is_set():
            try:
                self._carry_out(identity)
            except sa.exc.SQLAlchemyError as failed:
                LOG.error("%s was left: %s", identity, str(getattr(failed, "orig", failed)).splitlines()[0])
            finally:
                self._task = None
                with self._lock:
                    self._known.discard(identity)
        self._ended.set()

    def _carry_out(self, identity: str) -> None:
        row = operations.get(self._db, identity)
        if row is None or row["status"] in operations.FINISHED:
            return
        task = self._task = Task(self._db, row, self._stopping)
        try:
            task.save(status="running")
            LOG.info("%s runs: %s", identity, task.parameters)
            task.save(status="completed", progress=100.0, result=self._work(task))
            LOG.info("%s completed", identity)
        except Cancelled:
            LOG.info("%s was cancelled", identity)
        except Stopped as stopped:
            if stopped.epoch is None:
                operations.update(self._db, identity, status="pending")
            else:
                operations.update(self._db, identity, status="checkpointed", checkpoint_epoch=stopped.epoch)
            LOG.info("%s waits for the worker to come back", identity)
        except sa.exc.SQLAlchemyError:
            raise
        except Exception as failed:
            # Whatever the work trips over ends this operation, never the worker.
            LOG.exception("%s failed", identity)
            operations.update(self._db, identity, status="failed", error=f"{type(failed).__name__}: {failed}")
