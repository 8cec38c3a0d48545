import os
import sys
from itertools import repeat

import orjson
import pytest

from benchmarks.server import running
from benchmarks.wire import drive, first_chunk_ms, get, in_turn, post, run
from scripts.trial import free_port
from tests.app.live import live
from tests.waiting import PATIENT_S

BODY = orjson.dumps({"query": "owl", "documents": [f"an owl {number}" for number in range(500)]})


@pytest.fixture
def port(hash_settings, monkeypatch):
    with live(hash_settings, monkeypatch) as here:
        yield here.port


def test_large_answers_and_streams_arrive_whole_and_an_error_is_raised_with_what_the_server_said(port):
    answers = in_turn(port, [get("/health"), *[post("/rerank", BODY)] * 2])
    assert [len(orjson.loads(answer.body)["results"]) for answer in answers[1:]] == [500, 500]
    assert all(answer.ms > 0 for answer in answers)
    assert run(first_chunk_ms(port, post("/v1/rerank/stream", BODY))) > 0
    with pytest.raises(RuntimeError, match="404"):
        in_turn(port, [get("/elsewhere")])
    with pytest.raises(RuntimeError, match="404"):
        run(first_chunk_ms(port, get("/elsewhere")))


def test_a_load_ends_with_its_supply_or_its_time_and_counts_refusals_apart(port):
    load = drive(port, iter([get("/health"), get("/elsewhere"), get("/health")]), clients=2, seconds=60)
    assert (len(load.ms), load.errors) == (2, 1)
    assert load.per_second == pytest.approx(2 / load.seconds)
    assert drive(port, repeat(get("/health")), clients=2, seconds=0.1).seconds < PATIENT_S


def test_a_server_that_dies_is_reported_with_its_last_words():
    command = [sys.executable, "-c", "raise SystemExit('out of ink')"]
    with pytest.raises(RuntimeError, match="out of ink"), running(command, free_port(), "/", os.environ):
        pass
