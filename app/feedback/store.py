"""What was ranked and what was said of it, in the database of keys."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from sqlalchemy import Connection, Row, Table, and_, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from app.auth import tables
from app.auth.database import Database
from app.errors import UnknownRequest
from app.feedback.judgements import Ranked, Scope
from app.feedback.learner import EXPERTS, Evidence
from app.ranking.hybrid import RANKERS


class FeedbackStore:
    """Requests of the last days, and what each caller's judgements say; all replicas share them."""

    def __init__(self, database: Database) -> None:
        """database: that of the keys."""
        self._database = database

    def remember(self, requests: Iterable[Ranked], oldest: float, most: int) -> None:
        """Store requests, the last one of each id; forget those from before `oldest`, and all but the newest `most`."""
        rows = {(request.who, request.id): _row(request) for request in requests}
        table = tables.ranked
        with self._database.writing() as connection:
            # Sorted: replicas that lock rows in different orders would deadlock.
            connection.execute(_LATEST[connection.dialect.name], [rows[key] for key in sorted(rows)])
            beyond = select(table.c.created).order_by(table.c.created.desc()).offset(most).limit(1)
            last = connection.scalar(beyond)
            forgotten = oldest if last is None else max(oldest, last)
            connection.execute(delete(table).where(table.c.created <= forgotten))

    def judge(
        self, who: str, request_id: str, learn: Callable[[Ranked], tuple[Mapping[str, str], Evidence]]
    ) -> Mapping[str, str]:
        """Add what `learn` makes of a request to its caller's evidence; UnknownRequest if there is none of this id.

        learn: returns the new labels by document, and what they say; the labels are returned.
        """
        table = tables.ranked
        mine = and_(table.c.who == who, table.c.request_id == request_id)
        with self._database.writing() as connection:
            row = None
            if request_id.isprintable():  # as every id is; PostgreSQL has no U+0000
                row = connection.execute(select(table).where(mine).with_for_update()).first()
            if row is None:
                raise UnknownRequest(
                    "there is no ranking with this request_id that was made with your key, adds up its rankers by "
                    "weights (`hybrid` with the fusion `weighted`) and is not forgotten yet; send the X-Request-ID of "
                    "its response"
                )
            request = _request(row)
            labels, evidence = learn(request)
            connection.execute(update(table).where(mine).values(judged={**request.judged, **labels}))
            _add(connection, request.scope, who, evidence)
        return labels

    def evidence(self) -> dict[Scope, list[Evidence]]:
        """What each caller's judgements say, by scope."""
        table = tables.evidence
        with self._database.reading() as connection:
            rows = connection.execute(select(table).order_by(*table.primary_key.columns)).all()
        found: dict[Scope, list[Evidence]] = {}
        for row in rows:
            found.setdefault(Scope(row.collection, row.key_group), []).append(_evidence(row))
        return found

    def forget(self, collection: str | None, key_group: str | None) -> int:
        """Forget what was learned, of one collection, of one group of keys, or of all; returns of how many callers."""
        table = tables.evidence
        wanted = delete(table)
        for column, value in ((table.c.collection, collection), (table.c.key_group, key_group)):
            wanted = wanted if value is None else wanted.where(column == value)
        with self._database.writing() as connection:
            return connection.execute(wanted).rowcount


def _add(connection: Connection, scope: Scope, who: str, evidence: Evidence) -> None:
    """Add evidence to that of a caller. Its row is made first, so that replicas can wait for each other."""
    table, key = tables.evidence, {**scope._asdict(), "who": who}
    connection.execute(_FIRST[connection.dialect.name], key | {"judged": 0.0, "losses": [0.0] * EXPERTS})
    mine = and_(*(table.c[name] == value for name, value in key.items()))
    before = _evidence(connection.execute(select(table).where(mine).with_for_update()).one())
    sums = {"judged": before.judged + evidence.judged, "losses": (before.losses + evidence.losses).tolist()}
    connection.execute(update(table).where(mine).values(sums))


def _evidence(row: Row[Any]) -> Evidence:
    if len(row.losses) != EXPERTS:  # of a version with other experts
        return Evidence(0.0, np.zeros(EXPERTS))
    return Evidence(row.judged, np.array(row.losses))


def _row(request: Ranked) -> dict[str, Any]:
    return {
        "who": request.who,
        "request_id": request.id,
        **request.scope._asdict(),
        "created": request.created,
        "scores": request.scores.astype(np.float16).tobytes(),
        "defaults": request.defaults.tolist(),
        "positions": request.positions.astype(np.int16).tobytes(),
        "documents": request.documents,
        "judged": dict(request.judged),
    }


def _request(row: Row[Any]) -> Ranked:
    return Ranked(
        row.who,
        row.request_id,
        Scope(row.collection, row.key_group),
        row.created,
        np.frombuffer(row.scores, np.float16).reshape(len(RANKERS), -1).astype(np.float32),
        np.array(row.defaults),
        np.frombuffer(row.positions, np.int16),
        row.documents,
        row.judged,
    )


def _latest(insert: Any) -> Any:
    """A ranking replaces that of the same id, which another replica may store at the same time."""
    statement = insert(tables.ranked)
    key = {column.name for column in tables.ranked.primary_key}
    replaced = {column.name: column for column in statement.excluded if column.name not in key}
    return statement.on_conflict_do_update(index_elements=sorted(key), set_=replaced)


_INSERTS: Mapping[str, Callable[[Table], Any]] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
_LATEST = {name: _latest(insert) for name, insert in _INSERTS.items()}
_FIRST = {name: insert(tables.evidence).on_conflict_do_nothing() for name, insert in _INSERTS.items()}
