import pytest

from app.ranking.pace import Pace
from retrieval.deadline import Deadline

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
