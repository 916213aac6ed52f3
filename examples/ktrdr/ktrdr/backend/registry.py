"""Who can work: workers register, and count only while the backend reaches them at the address they gave."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from ktrdr import operations, tokens
from ktrdr.database import WORKERS
from ktrdr.peer import PeerError, call
from ktrdr.settings import Settings

LOG = logging.getLogger("ktrdr.registry")
CHECK_EVERY = 2.0  # seconds
STALE_AFTER = 10.0  # seconds unseen after which a row is not believed, whatever it says
GONE_AFTER = 300.0  # seconds unseen after which a worker is forgotten and its operations fail

_AGE = sa.extract("epoch", sa.func.now() - WORKERS.c.last_seen)


def register(db: sa.Engine, endpoint: str, worker_type: str, gpu: bool) -> str:
    """Note a worker, one row an endpoint, and call it back. Returns its status."""
    values = {"worker_type": worker_type, "gpu": gpu}
    statement = insert(WORKERS).values(endpoint=endpoint, status="unreachable", last_seen=sa.func.now(), **values)
    with db.begin() as link:
        link.execute(statement.on_conflict_do_update(index_elements=["endpoint"], set_=values))
    return check(db, endpoint)


def listing(db: sa.Engine) -> list[dict[str, Any]]:
    """All workers as the API shows them."""
    with db.connect() as link:
        rows = link.execute(sa.select(WORKERS, _AGE.label("age")).order_by(WORKERS.c.endpoint)).mappings().all()
    return [
        {
            "worker_id": "-".join([row["worker_type"], *urlsplit(row["endpoint"]).netloc.split(":")]),
            "worker_type": row["worker_type"],
            "status": row["status"] if row["age"] < STALE_AFTER else "unreachable",
            "endpoint": row["endpoint"],
            "last_seen": row["last_seen"].isoformat(),
            "gpu": row["gpu"],
        }
        for row in rows
    ]


def check(db: sa.Engine, endpoint: str) -> str:
    """Call a worker's health at its registered address and note what came of it."""
    try:
        status = "busy" if call("GET", f"{endpoint}/health", timeout=2)["busy"] else "available"
    except (PeerError, KeyError) as failed:
        LOG.warning("worker unreachable: %s", failed)
        status = "unreachable"
    seen = {} if status == "unreachable" else {"last_seen": sa.func.now()}
    with db.begin() as link:
        link.execute(WORKERS.update().where(WORKERS.c.endpoint == endpoint).values(status=status, **seen))
    return status


def dispatch(db: sa.Engine, settings: Settings, identity: str, worker_type: str) -> bool:
    """Give an operation to the first worker that takes it: free ones first, of those the ones with a GPU."""
    order = {"available": 0, "busy": 1}
    able = [row for row in listing(db) if row["worker_type"] == worker_type and row["status"] in order]
    for row in sorted(able, key=lambda row: (order[row["status"]], not row["gpu"])):
        operations.update(db, identity, endpoint=row["endpoint"])
        token = tokens.issue("backend", settings.jwt_secret)
        try:
            call("POST", f"{row['endpoint']}/operations", token=token, body={"operation_id": identity})
        except PeerError as failed:
            LOG.warning("worker did not take %s: %s", identity, failed)
        else:
            return True
    return False


def watch(db: sa.Engine, stopping: threading.Event) -> None:
    """Check every worker every few seconds until told to stop; the database may come and go meanwhile."""
    with ThreadPoolExecutor(max_workers=8) as pool:
        while not stopping.is_set():
            try:
                list(pool.map(lambda row: check(db, row["endpoint"]), listing(db)))
                _forget(db)
            except sa.exc.SQLAlchemyError as failed:
                LOG.warning("workers were not checked: %s", str(getattr(failed, "orig", failed)).splitlines()[0])
            stopping.wait(CHECK_EVERY)


def _forget(db: sa.Engine) -> None:
    with db.begin() as link:
        gone = link.execute(WORKERS.delete().where(_AGE > GONE_AFTER).returning(WORKERS.c.endpoint)).scalars().all()
    for endpoint in gone:
        operations.abandon(db, endpoint, f"the worker at {endpoint} is gone")
