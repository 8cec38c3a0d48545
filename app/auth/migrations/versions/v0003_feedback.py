"""Create the tables of feedback."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "qrerank_ranked",
        sa.Column("who", sa.String(192), primary_key=True),
        sa.Column("request_id", sa.String(128), primary_key=True),
        sa.Column("collection", sa.String(64), nullable=False),
        sa.Column("key_group", sa.String(32), nullable=False),
        sa.Column("created", sa.Double, nullable=False, index=True),
        sa.Column("scores", sa.LargeBinary, nullable=False),
        sa.Column("defaults", sa.JSON, nullable=False),
        sa.Column("positions", sa.LargeBinary, nullable=False),
        sa.Column("documents", sa.JSON(none_as_null=True)),
        sa.Column("judged", sa.JSON, nullable=False),
    )
    op.create_table(
        "qrerank_evidence",
        sa.Column("collection", sa.String(64), primary_key=True),
        sa.Column("key_group", sa.String(32), primary_key=True),
        sa.Column("who", sa.String(192), primary_key=True),
        sa.Column("judged", sa.Double, nullable=False),
        sa.Column("losses", sa.JSON, nullable=False),
    )
