import math

from app.health import components
from app.health.components import latest
from retrieval.errors import Fault


def lag(late, times):
    return {0.01: times - late, 0.1: times - late, 0.25: times, math.inf: times}


def test_an_event_loop_that_is_late_for_long_is_told():
    assert components.event_loop({}).facts == {"lag_p99_ms": None}
    for late, times, status in [(10, 1000, "ok"), (11, 1000, "degraded"), (11, 999, "ok"), (150, 15_000, "ok")]:
        assert components.event_loop(lag(late, times)).status == status, (late, times)


def test_memory_beyond_what_is_promised_is_told():
    assert components.memory(1e9, 2e9).status == "ok"
    assert components.memory(1e9, 2e9 + 1).status == "degraded"


def test_the_last_error_of_several_is_the_latest():
    first, last = Fault("first", 1.0), Fault("last", 2.0)
    assert latest([None, last, first]) is last
    assert latest([None]) is None
