"""The tables after the newest migration. Times are seconds since the epoch.

Table names have a prefix because a PostgreSQL database may be shared with other services.
"""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Boolean, Column, Double, ForeignKey, LargeBinary, MetaData, String, Table, true

metadata = MetaData()
VERSION_TABLE = "qrerank_schema"

keys = Table(  # owner, permissions and usage of a key, which do not change when it is rotated
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
    Column("collections", JSON(none_as_null=True)),  # a list of names and beginnings with `*`; NULL: all
    Column("can_write", Boolean, nullable=False, server_default=true()),
)

secrets = Table(  # a key has several while the old ones overlap after a rotation
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
    Column("who", String(192), primary_key=True),  # the key's id, or the caller's name if it has no key
    Column("requests", BigInteger, nullable=False),
    Column("documents", BigInteger, nullable=False),
    Column("tokens", BigInteger, nullable=False),
    Column("rejected", BigInteger, nullable=False),
)

pepper = Table(
    "qrerank_pepper", metadata, Column("proof", LargeBinary(32), primary_key=True)
)  # a hash that identifies the pepper of the stored keys

ranked = Table(  # requests that can be judged
    "qrerank_ranked",
    metadata,
    Column("who", String(192), primary_key=True),  # whose it was, as in the table of usage
    Column("request_id", String(128), primary_key=True),
    Column("collection", String(64), nullable=False),  # "": the documents came with the request
    Column("key_group", String(32), nullable=False),
    Column("created", Double, nullable=False, index=True),
    Column("scores", LargeBinary, nullable=False),  # float16, rankers × documents
    Column("defaults", JSON, nullable=False),  # the rankers' weights
    Column("positions", LargeBinary, nullable=False),  # int16, one for each document
    Column("documents", JSON(none_as_null=True)),  # hashes of their ids
    Column("judged", JSON, nullable=False),  # labels by document
)

evidence = Table(  # what each caller's judgements say
    "qrerank_evidence",
    metadata,
    Column("collection", String(64), primary_key=True),
    Column("key_group", String(32), primary_key=True),
    Column("who", String(192), primary_key=True),
    Column("judged", Double, nullable=False),
    Column("losses", JSON, nullable=False),
)
