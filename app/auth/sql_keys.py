"""The key store in a database."""

from __future__ import annotations

import hmac
import secrets as randomness
import time
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Connection, Row, func, insert, or_, select, update

from app.auth import tables
from app.auth.database import Database
from app.auth.keys import Pepper, new_key, prefix_of
from app.auth.store import UNKNOWN, Grant, Key, Refusal, Secret
from app.errors import InvalidRequest, UnknownKey
from app.identity import Identity, Role, Tier

_KEYS, _SECRETS = tables.keys.c, tables.secrets.c


class SqlKeys:
    """The key store in a database. Every call that would block for long raises KeysUnavailable."""

    def __init__(self, database: Database, pepper: Pepper, clock: Callable[[], float] = time.time) -> None:
        """database: the opened database. pepper: the secret of its key hashes. clock: seconds since the epoch."""
        self._database, self._pepper, self._clock = database, pepper, clock

    def find(self, key: str, digest: bytes) -> Grant | Refusal:
        """Check a key. Only a text with the format of a key causes a query."""
        prefix = prefix_of(key)
        if prefix is None:
            return UNKNOWN
        columns = select(
            _SECRETS.hash,
            _SECRETS.expires.label("ends"),
            _KEYS.id,
            _KEYS.role,
            _KEYS.tier,
            _KEYS.collections,
            _KEYS.can_write,
            _KEYS.expires,
            _KEYS.revoked,
        )
        with self._database.reading() as connection:
            row = connection.execute(
                columns.join_from(tables.secrets, tables.keys).where(_SECRETS.prefix == prefix)
            ).one_or_none()
        if row is None:
            return UNKNOWN
        if not hmac.compare_digest(row.hash, digest):
            return Refusal(UNKNOWN.reason, prefix)
        return self._verdict(row, prefix)

    def _verdict(self, row: Row[*tuple[Any, ...]], prefix: str) -> Grant | Refusal:
        now = self._clock()
        if row.revoked is not None:
            return Refusal("this key was revoked; ask the operator of this service for a new one", prefix)
        if row.expires is not None and row.expires <= now:
            return Refusal("this key has expired; ask the operator of this service for a new one", prefix)
        if row.ends is not None and row.ends <= now:
            return Refusal("this key was replaced by a new one; use that, or ask the operator of this service", prefix)
        ends = [time_s for time_s in (row.expires, row.ends) if time_s is not None]
        collections = None if row.collections is None else tuple(row.collections)
        identity = Identity(prefix, row.role, row.tier, row.id, collections, row.can_write)
        return Grant(identity, *[min(ends)] if ends else [])

    def create(
        self,
        name: str,
        role: Role,
        tier: Tier,
        expires: float | None = None,
        collections: Sequence[str] | None = None,
        *,
        can_write: bool = True,
    ) -> tuple[Key, str]:
        """Create a key.

        Args:
            name: Its owner or purpose.
            role: Its permissions.
            tier: Its quotas.
            expires: Seconds since the epoch; None for a key that does not expire.
            collections: Those that it may see: names, and beginnings with `*`. None: all.
            can_write: Whether it may change them.

        Returns:
            The key's record, and the only copy of the key in plain text.
        """
        now = self._clock()
        key_id = "key_" + randomness.token_hex(6)
        row = {"id": key_id, "name": name, "role": role, "tier": tier, "created": now, "expires": expires}
        row |= {"collections": None if collections is None else list(collections), "can_write": can_write}
        with self._database.writing() as connection:
            connection.execute(insert(tables.keys).values(row))
            plain = self._add_secret(connection, key_id, now)
            return _key(connection, key_id), plain

    def all(self) -> list[Key]:
        """All keys, including revoked and expired ones, oldest first."""
        with self._database.reading() as connection:
            return _keys(connection)

    def get(self, id_or_prefix: str) -> Key:
        """A key; UnknownKey if there is none of this id or prefix."""
        with self._database.reading() as connection:
            return _key(connection, id_or_prefix)

    def rotate(self, id_or_prefix: str, overlap_s: float) -> tuple[Key, str]:
        """Give a key a new secret. Its old secrets stay valid for at most `overlap_s` seconds."""
        now = self._clock()
        with self._database.writing() as connection:
            key = _key(connection, id_or_prefix)
            connection.execute(select(_KEYS.id).where(_KEYS.id == key.id).with_for_update())  # serializes rotations
            if key.revoked is not None or (key.expires is not None and key.expires <= now):
                raise InvalidRequest("this key was revoked or has expired and cannot be rotated; create a new one")
            end = now + overlap_s
            old = (_SECRETS.key_id == key.id) & or_(_SECRETS.expires.is_(None), _SECRETS.expires > end)
            connection.execute(update(tables.secrets).where(old).values(expires=end))
            plain = self._add_secret(connection, key.id, now)
            return _key(connection, key.id), plain

    def revoke(self, id_or_prefix: str) -> Key:
        """Revoke a key. It takes effect at once and cannot be undone."""
        with self._database.writing() as connection:
            key = _key(connection, id_or_prefix)
            connection.execute(
                update(tables.keys)
                .where(_KEYS.id == key.id)
                .values(revoked=func.coalesce(_KEYS.revoked, self._clock()))
            )
            return _key(connection, key.id)

    def _add_secret(self, connection: Connection, key_id: str, now: float) -> str:
        plain, prefix = new_key()
        digest = self._pepper.hash(plain)
        connection.execute(insert(tables.secrets).values(prefix=prefix, key_id=key_id, hash=digest, created=now))
        return plain


def _key(connection: Connection, id_or_prefix: str) -> Key:
    owner = select(_SECRETS.key_id).where(_SECRETS.prefix == id_or_prefix).scalar_subquery()
    keys = _keys(connection, or_(_KEYS.id == id_or_prefix, _KEYS.id == owner))
    if not keys:
        raise UnknownKey("no key has this id; `qrerank keys list` and GET /v1/admin/keys list all keys")
    return keys[0]


def _keys(connection: Connection, *conditions: Any) -> list[Key]:
    rows = connection.execute(select(tables.keys).where(*conditions).order_by(_KEYS.created, _KEYS.id)).all()
    secrets: dict[str, list[Secret]] = {row.id: [] for row in rows}
    # The newest alone has no end; by time it may be another one, where the clocks of replicas differ.
    newest_first = (_SECRETS.expires.is_not(None), _SECRETS.created.desc(), _SECRETS.prefix)
    query = select(tables.secrets).join(tables.keys).where(*conditions).order_by(*newest_first)
    for row in connection.execute(query):
        secrets[row.key_id].append(Secret(row.prefix, row.created, row.expires))
    return [Key(**row._mapping, secrets=tuple(secrets[row.id])) for row in rows]
