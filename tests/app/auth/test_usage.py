"""Counting and writing usage."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.auth.store import Counts
from app.auth.usage import Usage
from app.errors import KeysReadOnly, KeysUnavailable
from app.identity import ANONYMOUS, Identity
from tests.waiting import Clock

OWL = Identity("qr_owl", "user", "public", "key_owl")
DAY = "2027-01-15"  # the clock's day
NOON = 1_800_014_400.0


class Kept:
    """A store that can fail and rejects some rows."""

    def __init__(self, *bad):
        self.counts, self.seen, self.writes, self.lost, self.bad = {}, {}, 0, False, set(bad)

    def add(self, counts, seen):
        if self.lost:
            raise KeysReadOnly("down")
        if self.bad & {who for _, who in counts}:
            raise OverflowError
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


def test_days_are_counted_separately():
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


def caller(at):
    return Identity(f"caller {at}", "user", "public", f"key_{at}")


def test_of_too_many_rows_the_first_are_kept_and_the_others_counted(monkeypatch, caplog):
    monkeypatch.setattr("app.auth.usage.MOST_ROWS", 3)
    kept, clock = Kept(), Clock(NOON)
    usage = Usage(kept, clock)
    kept.lost = True
    for turn in range(1, 4):
        for at in range(5):
            usage.count(caller(at), requests=1, documents=2)
        with pytest.raises(KeysReadOnly):
            usage.write()
        assert (usage.counts().waiting, usage.counts().dropped) == (3, 2 * turn)
    clock.now += 86_400
    usage.count(caller(0), requests=1)  # a new day is a new row
    assert usage.counts().dropped == 7
    kept.lost = False
    usage.write()
    assert kept.counts == {(DAY, f"key_{at}"): Counts(3, 6) for at in range(3)}
    assert kept.seen.keys() == {f"key_{at}" for at in range(3)}, "nothing is remembered of those that are dropped"
    usage.count(caller(4), requests=1)
    usage.write()
    assert len(kept.counts) == 4
    assert (usage.counts().waiting, usage.counts().dropped, usage.counts().fault) == (0, 7, None)
    assert "3 rows wait to be written" in usage.last_fault.text
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING", "WARNING"]


def test_what_waits_longer_is_kept_before_what_comes_meanwhile(monkeypatch):
    monkeypatch.setattr("app.auth.usage.MOST_ROWS", 2)

    class Slow(Kept):
        def add(self, counts, seen):
            if self.lost:
                for at in (7, 8, 9):
                    usage.count(caller(at), requests=1)
            super().add(counts, seen)

    kept = Slow()
    usage = Usage(kept, Clock(NOON))
    for at in (1, 2):
        usage.count(caller(at), requests=1)
    kept.lost = True
    with pytest.raises(KeysReadOnly):
        usage.write()
    kept.lost = False
    usage.write()
    assert kept.counts.keys() == {(DAY, "key_1"), (DAY, "key_2")}
    assert usage.counts().dropped == 3


@pytest.mark.parametrize("bad", [{3}, {0}, {16}, {0, 8, 16}, set(range(17))])
def test_a_row_that_is_refused_is_dropped_and_costs_no_other(bad, caplog):
    kept = Kept(*(f"key_{at}" for at in bad))
    usage = Usage(kept, Clock(NOON))
    for turn in (1, 2):
        for at in range(17):
            usage.count(caller(at), requests=1, tokens=at)
        usage.write()
        assert kept.counts == {(DAY, f"key_{at}"): Counts(turn, 0, turn * at) for at in range(17) if at not in bad}
        assert kept.seen.keys() == {f"key_{at}" for at in range(17) if at not in bad}
        assert (usage.counts().waiting, usage.counts().dropped) == (0, turn * len(bad))
    assert usage.last_fault.text == "usage: a row that the database rejects is dropped"
    assert len(caplog.records) == 1, "it is logged once"


def test_a_loss_in_the_middle_of_it_counts_nothing_twice():
    class Failing(Kept):
        def add(self, counts, seen):
            self.lost = self.writes == 2
            super().add(counts, seen)

    kept = Failing("key_3", "key_12")
    usage = Usage(kept, Clock(NOON))
    for at in range(17):
        usage.count(caller(at), requests=1)
    with pytest.raises(KeysReadOnly):
        usage.write()
    assert 0 < len(kept.counts) < 15
    kept.writes = 3
    usage.write()
    assert kept.counts == {(DAY, f"key_{at}"): Counts(1) for at in range(17) if at not in {3, 12}}
    assert usage.counts().dropped == 2


def test_the_fault_has_the_time_of_the_first_failure():
    kept = Kept()
    usage = Usage(kept, Clock(NOON))
    kept.lost = True
    usage.count(OWL, requests=1)
    faults = []
    for _ in range(2):
        with pytest.raises(KeysReadOnly):
            usage.write()
        faults.append(usage.counts().fault)
    assert faults[0].text == "usage cannot be written: down"
    assert faults[0] == faults[1]
    assert usage.last_fault.at >= faults[0].at


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


@pytest.mark.parametrize("error", [KeysUnavailable("down"), RuntimeError("nobody thought of this")], ids=repr)
def test_writing_continues_after_any_error(monkeypatch, error):
    monkeypatch.setattr("app.auth.usage.WRITE_EVERY_S", 0.001)

    async def run():
        kept, tried, written = Kept(), [], asyncio.Event()
        usage = Usage(kept, Clock(NOON))

        async def in_thread(write):
            tried.append(1)
            if len(tried) < 4:
                raise error
            await asyncio.to_thread(write)
            written.set()

        writing = asyncio.create_task(usage.keep_writing(in_thread))
        usage.count(OWL, requests=1)
        await asyncio.wait_for(written.wait(), 30)
        assert kept.counts == {(DAY, "key_owl"): Counts(1)}
        writing.cancel()

    asyncio.run(run())


def test_without_a_store_nothing_is_kept():
    usage = Usage(None)
    usage.count(OWL, requests=1)
    usage.write()
    assert not usage._used.counts
