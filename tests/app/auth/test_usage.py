"""Counting what callers use."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.auth.usage import Counts, Usage
from app.errors import KeysUnavailable
from app.identity import ANONYMOUS, Identity
from tests.waiting import Clock, soon

OWL = Identity("qr_owl", "user", "public", "key_owl")
DAY = "2027-01-15"  # of the clock
NOON = 1_800_014_400.0


class Kept:
    """A store that can be lost."""

    def __init__(self):
        self.counts, self.seen, self.writes, self.refused, self.lost = {}, {}, 0, 0, False

    def add(self, counts, seen):
        if self.lost:
            self.refused += 1
            raise KeysUnavailable("down")
        self.writes += 1
        for at, more in counts.items():
            self.counts.setdefault(at, Counts()).add(more)
        self.seen |= seen


def test_what_was_counted_is_written_once():
    kept, clock = Kept(), Clock(NOON)
    usage = Usage(kept, clock)
    usage.count(OWL, requests=1, documents=2, tokens=3)
    usage.count(OWL, rejected=1)
    usage.count(ANONYMOUS, requests=1)
    for _ in range(2):
        usage.write()
    assert kept.counts == {(DAY, "key_owl"): Counts(1, 2, 3, 1), (DAY, "anonymous"): Counts(1)}
    assert kept.seen == {"key_owl": NOON}
    assert kept.writes == 1


def test_days_are_told_apart():
    kept, clock = Kept(), Clock(NOON)
    usage = Usage(kept, clock)
    for _ in range(3):
        usage.count(OWL, requests=1)
        clock.now += 86_400
    usage.write()
    assert sorted(kept.counts) == [(f"2027-01-{day}", "key_owl") for day in (15, 16, 17)]


def test_what_cannot_be_written_is_kept():
    kept = Kept()
    usage = Usage(kept, Clock(NOON))
    kept.lost = True
    for _ in range(3):
        usage.count(OWL, requests=1, tokens=5)
        with pytest.raises(KeysUnavailable):
            usage.write()
    kept.lost = False
    usage.count(OWL, requests=1)
    usage.write()
    assert kept.counts == {(DAY, "key_owl"): Counts(4, 0, 15, 0)}


def test_threads_lose_nothing():
    kept = Kept()
    usage = Usage(kept, Clock(NOON))

    def use(_):
        for _ in range(500):
            usage.count(OWL, requests=1, tokens=2)
            usage.write()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(use, range(8)))
    assert sum(counts.requests for counts in kept.counts.values()) == 4000
    assert sum(counts.tokens for counts in kept.counts.values()) == 8000


def test_it_goes_on_writing_after_a_loss(monkeypatch):
    monkeypatch.setattr("app.auth.usage.WRITE_EVERY_S", 0.01)

    async def run():
        kept = Kept()
        usage = Usage(kept, Clock(NOON))
        kept.lost = True
        writing = asyncio.create_task(usage.keep_writing(asyncio.to_thread))
        usage.count(OWL, requests=1)
        await soon(lambda: kept.refused > 1)
        kept.lost = False
        await soon(lambda: kept.counts)
        assert kept.counts == {(DAY, "key_owl"): Counts(1)}
        writing.cancel()

    asyncio.run(run())


def test_without_a_store_nothing_is_kept():
    usage = Usage(None)
    usage.count(OWL, requests=1)
    usage.write()
    assert not usage._used.counts
