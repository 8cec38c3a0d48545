"""Limit keys to collections and to reading. The keys that exist stay without limits."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the columns. Replicas of the previous version go on inserting rows without them."""
    op.add_column("qrerank_keys", sa.Column("collections", sa.JSON(none_as_null=True)))
    op.add_column("qrerank_keys", sa.Column("can_write", sa.Boolean, nullable=False, server_default=sa.true()))
