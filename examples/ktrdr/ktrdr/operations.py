"""Operations as rows in PostgreSQL: whoever changes one does it in a single conditional statement.

pending -> running -> completed | failed
running -> checkpointed -> running        a worker that stops and comes back
any but completed, failed -> cancelled
"""

from __future__ import annotations

import secrets
from typing import Any

import sqlalchemy as sa

from ktrdr.database import OPERATIONS

FINISHED = ("completed", "failed", "cancelled")
_UNFINISHED = OPERATIONS.c.status.not_in(FINISHED)


def create(db: sa.Engine, kind: str, parameters: dict[str, Any]) -> str:
    """A new pending operation; returns its id."""
    identity = f"op_{kind}_{secrets.token_hex(8)}"
    with db.begin() as link:
        link.execute(OPERATIONS.insert().values(id=identity, kind=kind, status="pending", parameters=parameters))
    return identity


def get(db: sa.Engine, identity: str) -> dict[str, Any] | None:
    """An operation's columns, or None."""
    with db.connect() as link:
        row = link.execute(OPERATIONS.select().where(OPERATIONS.c.id == identity)).mappings().one_or_none()
    return None if row is None else dict(row)


def listing(db: sa.Engine, *, unfinished: bool = False, limit: int = 100) -> list[dict[str, Any]]:
    """Operations as clients look for their own, newest first; `tag` is what the start was given."""
    columns = [OPERATIONS.c[name] for name in ("id", "kind", "status", "progress", "created_at")]
    statement = sa.select(*columns, OPERATIONS.c.parameters["tag"].astext.label("tag"))
    if unfinished:
        statement = statement.where(_UNFINISHED)
    with db.connect() as link:
        rows = link.execute(statement.order_by(OPERATIONS.c.created_at.desc()).limit(limit)).mappings().all()
    return [dict(row) for row in rows]


def update(db: sa.Engine, identity: str, **values: Any) -> bool:
    """Change an operation that has not finished; False where it has (cancelled meanwhile, say)."""
    statement = OPERATIONS.update().where(OPERATIONS.c.id == identity, _UNFINISHED)
    with db.begin() as link:
        return bool(link.execute(statement.values(**values, updated_at=sa.func.now())).rowcount)


def unfinished(db: sa.Engine, endpoint: str) -> list[str]:
    """Ids of the operations that were given to a worker and have not finished, oldest first."""
    statement = sa.select(OPERATIONS.c.id).where(OPERATIONS.c.endpoint == endpoint, _UNFINISHED)
    with db.connect() as link:
        return list(link.execute(statement.order_by(OPERATIONS.c.created_at)).scalars())


def abandon(db: sa.Engine, endpoint: str, reason: str) -> None:
    """Fail what a worker that is gone for good leaves behind."""
    statement = OPERATIONS.update().where(OPERATIONS.c.endpoint == endpoint, _UNFINISHED)
    with db.begin() as link:
        link.execute(statement.values(status="failed", error=reason, updated_at=sa.func.now()))
