"""The database: its tables as the code uses them, and how to connect. Its schema is made by the migrations alone."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from ktrdr.settings import Settings

METADATA = sa.MetaData()
WORKERS = sa.Table(
    "workers",
    METADATA,
    sa.Column("endpoint", sa.Text, primary_key=True),
    sa.Column("worker_type", sa.Text),
    sa.Column("status", sa.Text),
    sa.Column("gpu", sa.Boolean),
    sa.Column("last_seen", sa.DateTime(timezone=True)),
)
OPERATIONS = sa.Table(
    "operations",
    METADATA,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text),
    sa.Column("status", sa.Text),
    sa.Column("progress", sa.Float),
    sa.Column("parameters", JSONB),
    sa.Column("result", JSONB),
    sa.Column("error", sa.Text),
    sa.Column("endpoint", sa.Text),
    sa.Column("checkpoint_epoch", sa.Integer),
    sa.Column("created_at", sa.DateTime(timezone=True)),
    sa.Column("updated_at", sa.DateTime(timezone=True)),
)


def connect(settings: Settings) -> sa.Engine:
    """A pool of connections, filled when used: a database that is not there yet stops no service from starting."""
    url = sa.URL.create(
        "postgresql+psycopg",
        username="ktrdr",
        password=settings.db_password,
        host=settings.db_host,
        port=settings.db_port,
        database="ktrdr",
    )
    return sa.create_engine(url, pool_pre_ping=True, connect_args={"connect_timeout": 3})


def complaint(db: sa.Engine, settings: Settings) -> str:
    """Why the database cannot be used, in a sentence; empty when it can."""
    where = f"{settings.db_host}:{settings.db_port}"
    try:
        with db.connect() as link:
            for table in METADATA.tables.values():
                link.execute(sa.select(table).limit(0))
    except sa.exc.ProgrammingError:
        return f"the schema of the database at {where} is missing or old: run the migrations (alembic upgrade head)"
    except sa.exc.SQLAlchemyError as failed:
        reason = str(getattr(failed, "orig", failed)).strip().splitlines()[0]
        return f"the database at {where} cannot be used: {reason}"
    return ""
