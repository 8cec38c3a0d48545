"""The keys and questions that the rehearsal works with."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, cast

from pydantic import SecretStr

from app.auth.settings import AuthSettings
from app.auth.store import Counts, day_of
from app.auth.stores import Records, open_records
from app.identity import Role, Tier
from retrieval.text.demo import demo_passages
from scripts import trial
from scripts.rehearsal.clients import Question, ask, question, results
from scripts.rehearsal.place import Place

COLLECTION = "rehearsed"
PASSAGES = 300
_CALLERS, _DAYS = 200, 250  # of usage in the past, so that there is something to copy
_QUERIES = ("how do I read a file line by line", "what does the with statement do", "how does a for loop work")


@dataclass(frozen=True)
class Key:
    """A key and its id."""

    id: str
    secret: str


@contextmanager
def records(place: Place) -> Iterator[Records]:
    """A place's keys and usage, opened by this version as `qrerank keys` does, without the time that takes to start."""
    url = place.environment.get("QRERANK_AUTH__DATABASE_URL")
    settings = AuthSettings(enabled=True, database_url=SecretStr(url) if url else None)
    opened = open_records(settings, Path(place.environment["QRERANK_DATA_DIR"]))
    try:
        yield opened
    finally:
        opened.database.close()


def new_key(place: Place, name: str, role: Role = "user") -> Key:
    """A key whose tier has no quota."""
    with records(place) as opened:
        made, secret = opened.keys.create(name, role, "unlimited")
    return Key(made.id, secret)


def add_past(place: Place) -> int:
    """Have some callers used the service for most of a year; rows of usage."""
    days = [day_of(time.time() - 86_400 * (1 + ago)) for ago in range(_DAYS)]
    past = {(day, f"key_{caller:012x}"): Counts(caller, caller, caller) for day in days for caller in range(_CALLERS)}
    with records(place) as opened:
        opened.usage.add(past, {})
    return len(past)


def used(place: Place, key: Key) -> dict[str, int]:
    """A key's requests and documents so far."""
    with records(place) as opened:
        days = opened.usage.read(2, key.id)
    return {"requests": sum(day.requests for day in days), "documents": sum(day.documents for day in days)}


def rows_of_usage(place: Place) -> int:
    """How many rows of usage there are."""
    with records(place) as opened:
        return len(opened.usage.read(3660))


@dataclass(frozen=True)
class Admin:
    """Whoever administers keys over HTTP."""

    key: Key

    def create(self, port: int, name: str, tier: Tier = "unlimited") -> Key:
        """A key that the server at this port makes."""
        made = self._ask(port, "POST", "/v1/admin/keys", {"name": name, "tier": tier})
        return Key(made["id"], made["key"])

    def revoke(self, port: int, key: Key) -> None:
        """End a key."""
        self._ask(port, "DELETE", f"/v1/admin/keys/{key.id}")

    def _ask(self, port: int, method: str, path: str, body: dict[str, str] | None = None) -> dict[str, Any]:
        status, told = trial.ask(port, method, path, body, self.key.secret)
        if status >= 300:
            raise RuntimeError(f"{method} {path}: {status} {told}")
        return cast("dict[str, Any]", told)


def lend_collection(place: Place, folder: Path) -> None:
    """Give a place a collection of Python's documentation, which `qrerank index build` builds here the first time."""
    built = folder / "built"
    if not built.exists():
        source = folder / "corpus.jsonl"
        passages = islice(demo_passages(), PASSAGES)
        lines = [json.dumps({"_id": each.id, "title": each.title, "text": each.text}) for each in passages]
        source.write_text("\n".join(lines), encoding="utf-8")
        place.given(QRERANK_DATA_DIR=built).qrerank("index", "build", COLLECTION, str(source))
    shutil.copytree(built / "collections", Path(place.environment["QRERANK_DATA_DIR"]) / "collections")


def questions(key: Key) -> list[Question]:
    """Some with documents, some to the collection."""
    documents = [f"{word} {query}" for word in ("about", "never mind") for query in _QUERIES]
    with_documents = [question(key.secret, query, documents) for query in _QUERIES]
    return with_documents + [question(key.secret, query, collection=COLLECTION) for query in _QUERIES]


def answers_of(port: int, asked: Sequence[Question]) -> list[bytes]:
    """The results of each; RuntimeError unless all are answered."""
    found = []
    for each in asked:
        status, body = ask(port, each)
        if status != 200:
            raise RuntimeError(f"the server answered {status}: {body[:500]!r}")
        found.append(results(body))
    return found


def statuses(port: int, *keys: Key | str) -> list[int]:
    """What one question gets with each of these keys."""
    found = []
    for key in keys:
        secret = key.secret if isinstance(key, Key) else key
        found.append(ask(port, question(secret, _QUERIES[0], _QUERIES))[0])
    return found
