"""What the benchmarks print of figures that are made up, and what they ask of a real server."""

import os
import sys
from itertools import repeat

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import overload, rerank
from benchmarks.report import percentile
from benchmarks.rerank import COLD_DEADLINE, INDEXED, WARM, Sample
from benchmarks.server import running
from benchmarks.wire import Answer, Request, drive, in_turn, post
from scripts.trial import free_port
from tests.app.live import live
from tests.waiting import PATIENT_S

BODY = {"query": "owl", "documents": [f"an owl {number}" for number in range(500)]}


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0.01, 1))
def test_at_least_the_share_stays_within_a_percentile_and_less_than_it_below(values, share):
    bound = percentile(values, share)
    assert bound in values
    assert sum(value <= bound for value in values) >= share * len(values) - 1e-9
    assert sum(value < bound for value in values) < share * len(values) + 1e-9


def test_latencies_and_targets():
    samples = [Sample(row, documents, [10.0, 600.0]) for row, documents, _, _ in rerank.TARGETS if row != COLD_DEADLINE]
    samples.append(Sample(COLD_DEADLINE, 100, [200.0, 400.0], [60, 40]))
    text = rerank.latency_table(samples)
    assert f"| {COLD_DEADLINE} |  | 200 / 400 |  | 2 |" in text
    assert "| – of them scored by their states |  | 50 |  |  |" in text
    text = rerank.target_table(samples)
    assert f"| {WARM.format('hybrid')}, 100 documents, p50 ms | 10.0 | ≤ 25 | yes |" in text
    assert f"| {INDEXED.format('hybrid')}, 100 documents, p95 ms | 600 | ≤ 50 | **no** |" in text


def answer(status=200, encoded=20, ms=300.0):
    return Answer(status, b'{"meta":{"encoded":%d}}' % encoded, ms)


def test_good_is_in_time_and_half_read():
    answers = [answer(), answer(encoded=10), answer(encoded=9), answer(ms=451), answer(503), answer(500)]
    row = overload.Offered(1, 9.0, answers, [])
    assert (row.good, row.wrong, len(row.answered)) == (2, 1, 4)


@pytest.mark.parametrize(("good", "verdict"), [(8, "At 5× 80 % of the peak, target ≥ 80 %, met."), (7, "**missed**")])
def test_overload_is_judged(good, verdict):
    rows = [
        overload.Offered(times, 9.0, [answer()] * count + [answer(503)], [1.0]) for times, count in ((1, 10), (5, good))
    ]
    assert verdict in overload.report(rows)


@pytest.fixture
def port(hash_settings, monkeypatch):
    with live(hash_settings, monkeypatch) as here:
        yield here.port


def test_large_answers_and_streams_arrive_whole_and_an_error_is_raised_with_what_the_server_said(port):
    answers = in_turn(port, [Request("/health"), *[post("/rerank", BODY)] * 2])
    assert [len(orjson.loads(answer.body)["results"]) for answer in answers[1:]] == [500, 500]
    assert all(answer.ms > 0 for answer in answers)
    (stream,) = in_turn(port, [post("/v1/rerank/stream", BODY)])
    assert 0 < stream.first_ms < stream.ms
    assert stream.body.count(b"event: final") == 1
    with pytest.raises(RuntimeError, match="404"):
        in_turn(port, [Request("/elsewhere")])


def test_a_load_ends_with_its_supply_or_its_time_and_counts_refusals_apart(port):
    load = drive(port, iter([Request("/health"), Request("/elsewhere"), Request("/health")]), clients=2, seconds=60)
    assert (len(load.ms), load.errors) == (2, 1)
    assert load.per_second == pytest.approx(2 / load.seconds)
    assert drive(port, repeat(Request("/health")), clients=2, seconds=0.1).seconds < PATIENT_S


def test_a_server_that_dies_is_reported_with_its_last_words():
    command = [sys.executable, "-c", "raise SystemExit('out of ink')"]
    with pytest.raises(RuntimeError, match="out of ink"), running(command, free_port(), "/", os.environ):
        pass
