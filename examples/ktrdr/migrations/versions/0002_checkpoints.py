"""Trainings remember the epoch that their checkpoint holds; unfinished work is looked up by worker."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("operations", sa.Column("checkpoint_epoch", sa.Integer))
    op.create_index("operations_by_worker", "operations", ["endpoint", "status"])


def downgrade() -> None:
    op.drop_index("operations_by_worker", "operations")
    op.drop_column("operations", "checkpoint_epoch")
