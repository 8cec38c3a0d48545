"""The usage store in a database."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import bindparam, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from app.auth import tables
from app.auth.database import Database
from app.auth.store import Counts, Day, day_of

_DAY_S = 86_400
_COUNTED = ("requests", "documents", "tokens", "rejected")


class SqlUsage:
    """The usage store in a database: sums per day and caller, to which all replicas add."""

    def __init__(self, database: Database) -> None:
        """database: the one that all replicas use."""
        self._database = database

    def add(self, counts: Mapping[tuple[str, str], Counts], seen: Mapping[str, float]) -> None:
        """Add to the sums and set when keys were last used, in one transaction.

        counts: by day and caller. seen: seconds since the epoch by key id.
        """
        # Sorted: replicas that lock rows in different orders would deadlock.
        last_used = [{"at": seconds, "key_id": key_id} for key_id, seconds in sorted(seen.items())]
        rows = [{"day": day, "who": who, **asdict(counts[day, who])} for day, who in sorted(counts)]
        key = tables.keys.c
        newer = or_(key.last_used.is_(None), key.last_used < bindparam("at"))
        with self._database.writing() as connection:
            if last_used:
                touch = update(tables.keys).where(key.id == bindparam("key_id"), newer)
                connection.execute(touch.values(last_used=bindparam("at")), last_used)
            connection.execute(_UPSERTS[connection.dialect.name], rows)

    def read(self, days: int, who: str | None = None) -> Sequence[Day]:
        """The usage of the last days, of one caller or of all, newest first."""
        usage = tables.usage.c
        query = select(tables.usage).where(usage.day > day_of(time.time() - days * _DAY_S))
        if who is not None:
            query = query.where(usage.who == who)
        with self._database.reading() as connection:
            return [Day(**row._mapping) for row in connection.execute(query.order_by(usage.day.desc(), usage.who))]


def _upsert(insert: Any) -> Any:
    statement = insert(tables.usage)
    sums = {name: tables.usage.c[name] + statement.excluded[name] for name in _COUNTED}
    return statement.on_conflict_do_update(index_elements=["day", "who"], set_=sums)


_UPSERTS = {"sqlite": _upsert(sqlite.insert), "postgresql": _upsert(postgresql.insert)}
