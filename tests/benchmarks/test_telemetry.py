import pytest

from benchmarks.telemetry import Server, alone, report

STAGES = {"queue": 0.1, "encode": 2.0, "serialise": 0.1}


@pytest.mark.parametrize(("dear", "verdict"), [(70.0, "1.00% of a warm request"), (71.0, "1.01% of a warm request")])
def test_the_dearer_way_is_held_against_the_target(dear, verdict):
    costs = {
        "memory": {"metrics": 20.0, "headers": 5.0, "log": 15.0},
        "files": {"metrics": dear, "headers": 10.0, "log": 20.0},
    }
    text = report(Server(10.0, STAGES, 1.5), Server(10.0, STAGES, 4.0), costs)
    assert verdict in text
    assert ("target ≤ 1%, met" in text) == (dear == 70.0)
    assert "GET /metrics takes 1.50 ms (p50) of one process and 4.00 ms of two." in text


def test_each_part_does_its_work(monkeypatch):
    monkeypatch.setattr("benchmarks.telemetry._CALLS", 2)
    monkeypatch.setattr("app.telemetry.logs.set_up", lambda _: None)  # the tests' logs are not its own
    found = alone(STAGES)
    assert found.keys() == {"metrics", "headers", "log"}
    assert all(us > 0 for us in found.values())
