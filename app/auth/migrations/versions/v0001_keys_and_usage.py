"""Create the tables of keys, secrets and usage."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "qrerank_keys",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("tier", sa.String(32), nullable=False),
        sa.Column("created", sa.Double, nullable=False),
        sa.Column("expires", sa.Double),
        sa.Column("revoked", sa.Double),
        sa.Column("last_used", sa.Double),
    )
    op.create_table(
        "qrerank_secrets",
        sa.Column("prefix", sa.String(16), primary_key=True),
        sa.Column("key_id", sa.String(32), sa.ForeignKey("qrerank_keys.id"), nullable=False, index=True),
        sa.Column("hash", sa.LargeBinary(32), nullable=False),
        sa.Column("created", sa.Double, nullable=False),
        sa.Column("expires", sa.Double),
    )
    op.create_table(
        "qrerank_usage",
        sa.Column("day", sa.String(10), primary_key=True),
        sa.Column("who", sa.String(192), primary_key=True),
        sa.Column("requests", sa.BigInteger, nullable=False),
        sa.Column("documents", sa.BigInteger, nullable=False),
        sa.Column("tokens", sa.BigInteger, nullable=False),
        sa.Column("rejected", sa.BigInteger, nullable=False),
    )
    op.create_table("qrerank_pepper", sa.Column("proof", sa.LargeBinary(32), primary_key=True))
