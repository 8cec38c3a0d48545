import time

import pytest

from app.auth.credential_cache import Remembered
from app.auth.store import UNKNOWN, Grant
from app.identity import ANONYMOUS

GRANT = Grant(ANONYMOUS)


@pytest.fixture
def at(monkeypatch):
    """Sets the monotonic clock."""

    def set_to(seconds: float) -> None:
        monkeypatch.setattr("app.auth.credential_cache.time.monotonic", lambda: seconds)

    set_to(100)
    return set_to


def test_entries_expire(at):
    remembered = Remembered(seconds=2)
    remembered.put(b"a", GRANT, 99.5)
    remembered.put(b"b", UNKNOWN, 100)
    assert (remembered.get(b"a"), remembered.get(b"b"), remembered.get(b"c")) == (GRANT, UNKNOWN, None)
    at(101.5)  # two seconds after the query
    assert (remembered.get(b"a"), remembered.get(b"b")) == (None, UNKNOWN)


def test_an_entry_expires_with_its_credential(at):
    remembered = Remembered(seconds=2)
    remembered.put(b"a", Grant(ANONYMOUS, time.time() + 1), 100)
    at(100.9)
    assert remembered.get(b"a")
    at(101.1)
    assert not remembered.get(b"a")


def test_the_newest_result_counts(at):
    remembered = Remembered(2)
    for result in (GRANT, UNKNOWN, GRANT):
        remembered.put(b"a", result, 100)
        assert remembered.get(b"a") == result
    remembered.clear()
    assert remembered.get(b"a") is None


def test_guesses_neither_fill_memory_nor_evict_grants(at):
    remembered = Remembered(2, most=10)
    remembered.put(b"right", GRANT, 100)
    for guess in range(1000):
        remembered.put(b"%d" % guess, UNKNOWN, 100)
    assert remembered.get(b"right") == GRANT
    assert [guess for guess in range(1000) if remembered.get(b"%d" % guess)] == list(range(990, 1000))
    for key in range(20):
        remembered.put(b"key %d" % key, GRANT, 100)
    assert sum(remembered.get(b"key %d" % key) == GRANT for key in range(20)) == 10
