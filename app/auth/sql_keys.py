"""Keys in a database."""

from __future__ import annotations

import hmac
import secrets as randomness
import time
from collections.abc import Callable
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
    """Keys in a database. Whatever blocks here for long ends in KeysUnavailable."""

    def __init__(self, database: Database, pepper: Pepper, clock: Callable[[], float] = time.time) -> None:
        """clock: seconds since the epoch."""
        self._database, self._pepper, self._clock = database, pepper, clock

    def find(self, key: str, digest: bytes) -> Grant | Refusal:
        """What a key gives; the database is asked only of what has a key's form."""
        prefix = prefix_of(key)
        if prefix is None:
            return UNKNOWN
        wanted = select(
            _SECRETS.hash,
            _SECRETS.expires.label("ends"),
            _KEYS.id,
            _KEYS.role,
            _KEYS.tier,
            _KEYS.expires,
            _KEYS.revoked,
        )
        with self._database.reading() as connection:
            row = connection.execute(
                wanted.join_from(tables.secrets, tables.keys).where(_SECRETS.prefix == prefix)
            ).one_or_none()
        if row is None:
            return UNKNOWN
        if not hmac.compare_digest(row.hash, digest):
            return Refusal(UNKNOWN.reason, prefix)
        return self._verdict(row, prefix)

    def _verdict(self, row: Row[*tuple[Any, ...]], prefix: str) -> Grant | Refusal:
        now = self._clock()
        if row.revoked is not None:
            return Refusal("this key was revoked; ask whoever runs the service for a new one", prefix)
        if row.expires is not None and row.expires <= now:
            return Refusal("this key has expired; ask whoever runs the service for a new one", prefix)
        if row.ends is not None and row.ends <= now:
            return Refusal("this key was replaced by a new one; use that, or ask whoever runs the service", prefix)
        ends = [at for at in (row.expires, row.ends) if at is not None]
        return Grant(Identity(prefix, row.role, row.tier, row.id), *[min(ends)] if ends else [])

    def create(self, name: str, role: Role, tier: Tier, expires: float | None = None) -> tuple[Key, str]:
        """A new key, and the only copy of what opens."""
        now = self._clock()
        named = "key_" + randomness.token_hex(6)
        with self._database.writing() as connection:
            connection.execute(
                insert(tables.keys).values(id=named, name=name, role=role, tier=tier, created=now, expires=expires)
            )
            plain = self._add_secret(connection, named, now)
            return _key(connection, named), plain

    def all(self) -> list[Key]:
        """Every key there ever was, oldest first."""
        with self._database.reading() as connection:
            return _keys(connection)

    def rotate(self, named: str, overlap_s: float) -> tuple[Key, str]:
        """A new secret for a key, by its id or a prefix; the secrets before it open for so much longer, and no more."""
        now = self._clock()
        with self._database.writing() as connection:
            key = _key(connection, named)
            connection.execute(select(_KEYS.id).where(_KEYS.id == key.id).with_for_update())  # one rotation at a time
            if key.revoked is not None or (key.expires is not None and key.expires <= now):
                raise InvalidRequest("this key was revoked or has expired, and so is not rotated; create a new one")
            end = now + overlap_s
            old = (_SECRETS.key_id == key.id) & or_(_SECRETS.expires.is_(None), _SECRETS.expires > end)
            connection.execute(update(tables.secrets).where(old).values(expires=end))
            plain = self._add_secret(connection, key.id, now)
            return _key(connection, key.id), plain

    def revoke(self, named: str) -> Key:
        """End a key, by its id or a prefix, at once and for good."""
        with self._database.writing() as connection:
            key = _key(connection, named)
            connection.execute(
                update(tables.keys)
                .where(_KEYS.id == key.id)
                .values(revoked=func.coalesce(_KEYS.revoked, self._clock()))
            )
            return _key(connection, key.id)

    def _add_secret(self, connection: Connection, named: str, now: float) -> str:
        plain, prefix = new_key()
        digest = self._pepper.hash(plain)
        connection.execute(insert(tables.secrets).values(prefix=prefix, key_id=named, hash=digest, created=now))
        return plain


def _key(connection: Connection, named: str) -> Key:
    owner = select(_SECRETS.key_id).where(_SECRETS.prefix == named).scalar_subquery()
    found = _keys(connection, or_(_KEYS.id == named, _KEYS.id == owner))
    if not found:
        raise UnknownKey("no key has this id; `qrerank keys list` and GET /v1/admin/keys show those there are")
    return found[0]


def _keys(connection: Connection, *which: Any) -> list[Key]:
    rows = connection.execute(select(tables.keys).where(*which).order_by(_KEYS.created, _KEYS.id)).all()
    secrets: dict[str, list[Secret]] = {row.id: [] for row in rows}
    wanted = select(tables.secrets).join(tables.keys).where(*which).order_by(_SECRETS.created.desc(), _SECRETS.prefix)
    for row in connection.execute(wanted):
        secrets[row.key_id].append(Secret(row.prefix, row.created, row.expires))
    return [Key(**row._mapping, secrets=tuple(secrets[row.id])) for row in rows]
