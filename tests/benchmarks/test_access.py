import pytest

from benchmarks.access import HERE, OPEN, REFUSED, SHARED, UNLIMITED, Asked, measure, report
from benchmarks.wire import get, run
from tests.app.live import live


def times(shared_ms):
    return {OPEN: [1.0, 1.0, 9.0], UNLIMITED: [1.1], HERE: [1.2], SHARED: [shared_ms], REFUSED: [0.5]}


@pytest.mark.parametrize(("shared_ms", "verdict"), [(3.0, "p50 2.00 ms"), (3.1, "p50 2.10 ms")])
def test_the_dearest_way_in_is_held_against_the_target(shared_ms, verdict):
    text = report(times(shared_ms))
    assert f"| {REFUSED} | 0.500 | 0.500 | -0.500 |" in text
    assert f"{verdict} a request, target ≤ 2 ms, {'met' if shared_ms == 3 else '**missed**'}." in text


def test_every_row_is_asked_and_wrong_answers_are_no_times(hash_settings, monkeypatch):
    with live(hash_settings, monkeypatch) as here:
        rows = [Asked("a", here.port, get("/health")), Asked("b", here.port, get("/nowhere"), 404)]
        found = run(measure(rows, 2))
        assert [len(ms) for ms in found.values()] == [40, 40]
        with pytest.raises(RuntimeError, match="b: the server answered 404"):
            run(measure([Asked("b", here.port, get("/nowhere"))], 1))
