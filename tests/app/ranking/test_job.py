import numpy as np
import pytest

from app.ranking.job import Job, Pace, Stopwatch, parts
from retrieval.deadline import Deadline


def test_stages_add_up_and_errors_pass_through():
    watch = Stopwatch()
    with watch("a"):
        pass
    first = watch.ms["a"]
    with pytest.raises(ZeroDivisionError), watch("a"):
        raise ZeroDivisionError
    assert watch.ms["a"] > first >= 0
    assert list(watch.ms) == ["a"]


def test_laps_are_kept_in_the_order_of_their_ends():
    watch = Stopwatch()
    with watch("outer"), watch("inner"):
        pass
    inner, outer = watch.laps
    assert (inner.stage, outer.stage) == ("inner", "outer")
    assert outer.start <= inner.start
    assert inner.start + inner.seconds <= outer.start + outer.seconds
    assert watch.ms == {lap.stage: lap.seconds * 1e3 for lap in watch.laps}


class Fake:
    """Documents of so many chunks each, of which the deadline leaves some unopened and some chunks unread."""

    late = False

    def __init__(self, chunks: list[int], unopened=(), unread=()) -> None:
        self.lengths, self.unopened, self.unread = np.array(chunks), unopened, unread
        self.ready = np.zeros(len(chunks), dtype=bool)
        self.splits: list[int] = []

    def split(self, chosen, *_):
        self.splits.append(len(chosen))
        opened = chosen[~np.isin(chosen, self.unopened)]
        turns = range(self.lengths.max())
        return np.array([at for turn in turns for at in opened if self.lengths[at] > turn], dtype=np.int64)

    def encode(self, chunks, *_):
        return chunks[~np.isin(chunks, self.unread)]


def read(fake: Fake, *, small=False):
    promising = np.arange(len(fake.lengths))
    return list(parts(fake, promising, Job("owl", "hybrid", report=(lambda _: None) if small else None), Pace()))


def test_a_hundred_documents_are_cut_and_a_hundred_chunks_held_at_a_time():
    fake = Fake([3] * 120)
    found = read(fake)
    assert fake.splits == [100, 20]
    assert [(part.number, len(part.chunks)) for part in found] == [(0, 100), (1, 100), (2, 100), (3, 60)]
    assert found[0].owners.tolist() == found[1].owners.tolist() == list(range(100))
    assert [part.more for part in found] == [True, True, True, False]
    assert not any(part.incomplete for part in found)


@pytest.mark.parametrize(
    ("count", "sizes"), [(5, [5]), (8, [8]), (30, [8, 24, 30]), (100, [8, 24, 56, 100]), (150, [8, 24, 56, 100, 50])]
)
def test_the_first_part_may_come_in_pieces(count, sizes):
    found = read(Fake([1] * count), small=True)
    assert [len(part.chunks) for part in found] == sizes
    assert [part.number for part in found] == [0] * min(4, len(sizes)) + [1] * (count > 100)
    assert [part.more for part in found] == [True] * (len(sizes) - 1) + [False]


def test_what_stays_unread_is_known_from_then_on():
    assert [part.incomplete for part in read(Fake([1] * 250, unopened=[120]))] == [False, True, True]
    assert [part.incomplete for part in read(Fake([2] * 150, unread=[99]))] == [True, True, True]
    (last,) = read(Fake([1, 2], unopened=[0, 1]))
    assert (len(last.chunks), last.incomplete, last.more) == (0, True, False)


NEVER = float("inf")


def test_encoding_leaves_the_time_that_scoring_is_known_to_take(monotonic):
    pace = Pace()
    pace.learn({"wait": 0.0, "join": 40.0, "quantum": 50.0, "fuse": 10.0, "encode": 900.0}, 50)
    assert pace.cost == pytest.approx(0.002)
    at = monotonic() + 10
    assert pace.encode_until(Deadline(at), 100) == pytest.approx(at - 0.01 - 0.2)
    assert pace.encode_until(Deadline(), 100) == NEVER


def test_half_of_the_time_left_is_for_encoding_whatever_was_learned(monotonic):
    pace = Pace()
    pace.cost = 60.0
    at = monotonic() + 2
    assert pace.encode_until(Deadline(at), 100) == pytest.approx(at - 0.01 - 0.995)
    assert pace.encode_until(Deadline(0.0), 100) <= 0


def test_what_was_learned_is_slowly_unlearned_and_nothing_is_learned_from_nothing():
    pace = Pace()
    pace.learn({"wait": 0.0, "quantum": 1000.0}, 1)
    for _ in range(60):
        pace.learn({"wait": 0.0, "quantum": 100.0}, 100)
    assert 0.001 < pace.cost < 0.01
    learned = pace.cost
    pace.learn({"wait": 0.0}, 0)
    assert pace.cost == learned
