"""The tables, as the newest migration leaves them. Times are seconds since the epoch.

The names are long, as a PostgreSQL database may be shared with others.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Double, ForeignKey, LargeBinary, MetaData, String, Table

metadata = MetaData()
VERSION_TABLE = "qrerank_schema"

keys = Table(  # whom a key was given to; what it may do and what it did stay the same when it is rotated
    "qrerank_keys",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("name", String(128), nullable=False),
    Column("role", String(16), nullable=False),
    Column("tier", String(32), nullable=False),
    Column("created", Double, nullable=False),
    Column("expires", Double),
    Column("revoked", Double),
    Column("last_used", Double),
)

secrets = Table(  # what opens: more than one while an old one still may
    "qrerank_secrets",
    metadata,
    Column("prefix", String(16), primary_key=True),
    Column("key_id", String(32), ForeignKey("qrerank_keys.id"), nullable=False, index=True),
    Column("hash", LargeBinary(32), nullable=False),
    Column("created", Double, nullable=False),
    Column("expires", Double),
)

usage = Table(
    "qrerank_usage",
    metadata,
    Column("day", String(10), primary_key=True),  # 2026-01-31, UTC
    Column("who", String(192), primary_key=True),  # a key's id; the name of whoever has none
    Column("requests", BigInteger, nullable=False),
    Column("documents", BigInteger, nullable=False),
    Column("tokens", BigInteger, nullable=False),
    Column("rejected", BigInteger, nullable=False),
)

pepper = Table(
    "qrerank_pepper", metadata, Column("proof", LargeBinary(32), primary_key=True)
)  # of the one that is in use
