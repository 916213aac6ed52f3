"""Runs the revisions against the database that the services use."""

import logging

from alembic import context
from ktrdr.database import METADATA, connect
from ktrdr.settings import Settings

logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s")

with connect(Settings.from_environment()).connect() as connection:
    context.configure(connection=connection, target_metadata=METADATA)
    with context.begin_transaction():
        context.run_migrations()
