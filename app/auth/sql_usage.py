"""Usage in a database."""

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
    """Sums per day and caller. Replicas add to the same ones."""

    def __init__(self, database: Database) -> None:
        """Of this database."""
        self._database = database

    def add(self, counts: Mapping[tuple[str, str], Counts], seen: Mapping[str, float]) -> None:
        """Add to the sums, and note when keys were last used, in one transaction."""
        # In one order everywhere: two replicas that lock rows crosswise would wait for each other.
        used = [{"at": seconds, "named": key_id} for key_id, seconds in sorted(seen.items())]
        rows = [{"day": day, "who": who, **asdict(counts[day, who])} for day, who in sorted(counts)]
        key = tables.keys.c
        newer = or_(key.last_used.is_(None), key.last_used < bindparam("at"))
        with self._database.writing() as connection:
            if used:
                touch = update(tables.keys).where(key.id == bindparam("named"), newer)
                connection.execute(touch.values(last_used=bindparam("at")), used)
            connection.execute(_UPSERTS[connection.dialect.name], rows)

    def read(self, days: int, who: str | None = None) -> Sequence[Day]:
        """The last days of one caller or of all, newest first."""
        usage = tables.usage.c
        wanted = select(tables.usage).where(usage.day > day_of(time.time() - days * _DAY_S))
        if who is not None:
            wanted = wanted.where(usage.who == who)
        with self._database.reading() as connection:
            return [Day(**row._mapping) for row in connection.execute(wanted.order_by(usage.day.desc(), usage.who))]


def _upsert(insert: Any) -> Any:
    statement = insert(tables.usage)
    sums = {name: tables.usage.c[name] + statement.excluded[name] for name in _COUNTED}
    return statement.on_conflict_do_update(index_elements=["day", "who"], set_=sums)


_UPSERTS = {"sqlite": _upsert(sqlite.insert), "postgresql": _upsert(postgresql.insert)}
