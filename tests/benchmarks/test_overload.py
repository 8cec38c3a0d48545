from benchmarks.overload import SECONDS, Offered, report
from benchmarks.wire import Answer


def answer(status: int = 200, encoded: int = 20, ms: float = 300) -> Answer:
    return Answer(status, b'{"meta":{"encoded":%d}}' % encoded, ms)


def offered(times: int, good: int, refused: int = 0) -> Offered:
    return Offered(times, 9.0, [answer()] * good + [answer(503)] * refused, [1.0, 2.0])


def test_good_is_in_time_and_half_read():
    answers = [answer(), answer(encoded=10), answer(encoded=9), answer(ms=451), answer(503), answer(500)]
    row = Offered(1, 9.0, answers, [])
    assert (row.good, row.goodput, row.wrong) == (2, 2 / SECONDS, 1)
    assert len(row.answered) == 4


def test_the_targets_are_judged():
    rows = [offered(1, 10), offered(5, 8, 20)]
    assert "At 5× 80 % of the peak, target ≥ 80 %, met." in report(rows)
    assert "**missed**" in report([offered(1, 10), offered(5, 7)])
    assert "Neither answered nor refused: 0." in report(rows)
    assert "| 5× |" in report(rows)
