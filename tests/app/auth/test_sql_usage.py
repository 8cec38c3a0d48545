"""Usage in both databases."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from app.auth.sql_usage import SqlUsage
from app.auth.store import Counts, Day, day_of
from app.auth.usage import Usage
from app.identity import Identity

NOW = 1_800_000_000.0
TODAY, YESTERDAY, LONG_AGO = (day_of(NOW - days * 86_400) for days in (0, 1, 40))


@pytest.fixture(autouse=True)
def one_day(monkeypatch):
    """Fixes the day, in case a test runs over midnight."""
    monkeypatch.setattr("app.auth.sql_usage.time.time", lambda: NOW)


def test_sums_grow_by_day_and_caller(usage):
    usage.add({(TODAY, "a"): Counts(1, 2, 3, 0), (YESTERDAY, "a"): Counts(5), (TODAY, "b"): Counts(rejected=1)}, {})
    usage.add({(TODAY, "a"): Counts(10, 20, 30, 40), (LONG_AGO, "a"): Counts(1)}, {})
    assert usage.read(30, "a") == [Day(TODAY, "a", 11, 22, 33, 40), Day(YESTERDAY, "a", 5, 0, 0, 0)]
    assert usage.read(1) == [Day(TODAY, "a", 11, 22, 33, 40), Day(TODAY, "b", 0, 0, 0, 1)]
    assert len(usage.read(41, "a")) == 3


def test_a_key_remembers_when_it_was_last_used(usage, keys):
    key, _ = keys.create("", "user", "public")
    for seconds in (100.5, 99.5):  # the second one is older
        usage.add({(TODAY, key.id): Counts(1)}, {key.id: seconds, "key_of_nobody": 1})
    assert keys.all()[0].last_used == 100.5


def test_replicas_lose_nothing_of_each_other(opened):
    def add(usage):
        for _ in range(10):
            usage.add({(TODAY, who): Counts(1, 2, 3, 4) for who in "abc"}, dict.fromkeys("cba", NOW))

    with ThreadPoolExecutor() as pool:
        list(pool.map(add, [SqlUsage(opened()) for _ in range(4)]))
    assert SqlUsage(opened()).read(1) == [Day(TODAY, who, 40, 80, 120, 160) for who in "abc"]


def test_sums_grow_large(usage):
    usage.add({(TODAY, "a"): Counts(tokens=2**40)}, {})
    assert usage.read(1)[0].tokens == 2**40


CURSED = {  # rows that a database rejects
    "sqlite": [
        "CREATE TRIGGER cursed BEFORE INSERT ON qrerank_usage WHEN NEW.who = 'cursed' "
        "BEGIN SELECT RAISE(ABORT, 'no'); END"
    ],
    "postgresql": ["ALTER TABLE qrerank_usage ADD CONSTRAINT cursed CHECK (who <> 'cursed')"],
}


@pytest.mark.parametrize(
    ("named", "tokens"),
    [("cursed", 1), ("nul\0", 1), ("long" * 100, 1), ("\ud800", 1), ("many", 2**63), ("more", 2**70)],
    ids=["refused", "nul", "long", "surrogate", "many", "more"],
)
def test_one_bad_row_costs_no_other(database, usage, named, tokens):
    with database.writing() as connection:
        for statement in CURSED[connection.dialect.name]:
            connection.exec_driver_sql(statement)
        takes = connection.dialect.name == "sqlite" and named[:3] in {"nul", "lon"}  # SQLite accepts both
    counting = Usage(usage, lambda: NOW)
    for _ in range(2):
        for at in range(20):
            counting.count(Identity(f"caller {at}", "user", "public"), requests=1)
        counting.count(Identity(named, "user", "public"), requests=1, tokens=tokens)
        counting.write()
    assert not database.lost
    assert (counting.counts().waiting, counting.counts().dropped) == (0, 0 if takes else 2)
    written = {day.who: day.requests for day in usage.read(1)}
    assert {f"caller {at}": 2 for at in range(20)}.items() <= written.items()
    assert (named in written) == takes
