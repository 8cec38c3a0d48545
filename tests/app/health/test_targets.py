"""The performance targets and their measurement from histograms."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.dialects.detect import PATHS
from app.health.targets import (
    EVERY_S,
    RERANK_MS,
    SIMILARITY_MS,
    WINDOW_S,
    Target,
    Window,
    all_met,
    latency,
    quantile,
    read,
)
from app.telemetry.metrics import Metrics

BOUNDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2, 5)
SECONDS = st.lists(st.floats(0.0001, 8), min_size=1, max_size=200)


def buckets(seconds):
    return {bound: sum(each <= bound for each in seconds) for bound in (*BOUNDS, math.inf)}


@given(SECONDS, st.sampled_from([0.5, 0.95, 0.99]))
def test_a_quantile_lies_in_the_bucket_of_the_true_one(seconds, part):
    found = quantile(buckets(seconds), part)
    true = np.quantile(seconds, part, method="inverted_cdf")
    bucket = int(np.searchsorted(BOUNDS, true))
    lower, upper = (0, *BOUNDS)[bucket], (*BOUNDS, BOUNDS[-1])[bucket]
    assert lower <= found <= upper


@given(SECONDS, st.sampled_from([100.0, 500.0]))
def test_a_target_is_met_exactly_where_enough_are_in_time(seconds, target_ms):
    found = latency(buckets(seconds), target_ms)
    in_time = sum(each <= target_ms / 1e3 for each in seconds)
    assert found.meets == (in_time >= 0.95 * len(seconds))
    assert found.requests == len(seconds)
    assert found.meets == (found.measured <= target_ms * (1 + 1e-9)), "the two never contradict each other"


def test_a_quantile_is_spread_evenly_within_its_bucket():
    assert quantile({0.1: 0, 0.2: 100, math.inf: 100}, 0.95) == pytest.approx(0.195)
    assert quantile({0.1: 95, 0.2: 100, math.inf: 100}, 0.95) == pytest.approx(0.1)
    assert quantile({0.1: 0, math.inf: 7}, 0.95) == 0.1, "nothing is known beyond the last bound"


@pytest.mark.parametrize("nothing", [{}, {0.1: 0.0, math.inf: 0.0}])
def test_of_nothing_nothing_is_said(nothing):
    assert quantile(nothing, 0.95) is None
    assert latency(nothing, 100) == Target(100, None, 0, None)


def test_what_was_not_measured_is_neither_met_nor_missed():
    met, missed, silent = Target(1, 1, 1, True), Target(1, 2, 1, False), Target(1, None, 0, None)
    assert all_met([met, silent]) is True
    assert all_met([met, missed, silent]) is False
    assert all_met([silent]) is None


def test_of_the_requests_those_count_that_the_promise_is_about():
    metrics = Metrics()
    for route, method, documents, outcome in [
        ("/rerank", "hybrid", "51-100", "ok"),
        ("/v2/rerank", "quantum", "1-20", "ok"),
        ("/rerank", "hybrid", "101+", "ok"),  # the target covers up to 100 documents
        ("/rerank", "hybrid", "51-100", "failed"),
        ("/rerank", "none", "none", "refused"),
        ("/v1/rerank/stream", "hybrid", "1-20", "ok"),  # the target is not about the end of a stream
        ("/similarity", "hybrid", "1-20", "ok"),
        ("/batch-similarity", "hybrid", "1-20", "ok"),
        ("/health", "none", "none", "ok"),
    ]:
        metrics.request_seconds.labels(route=route, method=method, documents=documents, outcome=outcome).observe(0.15)
    metrics.event_loop_lag_seconds.observe(0.5)
    metrics.stage_seconds.labels("encode").observe(1)
    found = read(metrics.histograms(), PATHS)
    assert {name: of[math.inf] for name, of in found.items()} == {"rerank": 2, "similarity": 1, "lag": 1}
    assert (found["rerank"][0.1], found["rerank"][0.2], found["lag"][0.25]) == (0, 2, 0)
    assert (latency(found["rerank"], RERANK_MS).meets, latency(found["similarity"], SIMILARITY_MS).meets) == (
        True,
        False,
    )


class Service:
    """A window over simulated requests, with a fake clock."""

    def __init__(self) -> None:
        self.now, self.bytes, self.seconds = 1000.0, 10.0, []
        self.window = Window(lambda: {"rerank": buckets(self.seconds)}, lambda: self.bytes, lambda: self.now)

    def pass_by(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            self.now = min(end, self.now + EVERY_S)
            self.window.past()


@pytest.fixture
def service():
    made = Service()
    made.window.past()
    return made


def test_only_the_last_five_minutes_count(service):
    service.seconds += [3.0] * 10
    service.pass_by(60)
    past = service.window.past()
    assert (past.seconds, past.buckets["rerank"][math.inf]) == (60, 10)
    service.seconds += [0.1] * 10
    service.pass_by(WINDOW_S - 60)
    past = service.window.past()
    assert (past.seconds, past.buckets["rerank"][math.inf]) == (WINDOW_S, 20)
    service.pass_by(60)
    past = service.window.past()
    assert (past.seconds, past.buckets["rerank"][1]) == (WINDOW_S, 10), "the slow ones are over"
    service.pass_by(WINDOW_S)
    assert latency(service.window.past().buckets["rerank"], 500).meets is None


def test_what_came_before_the_service_does_not_count():
    service = Service()
    service.seconds += [3.0] * 10
    service.window.past()
    service.seconds += [0.1]
    assert service.window.past().buckets["rerank"][math.inf] == 1


def test_whoever_asks_often_holds_no_more_memory(service):
    for _ in range(10_000):
        service.now += 0.01
        service.window.past()
    assert len(service.window._readings) <= 1 + 100 / (EVERY_S / 2)


def test_the_most_memory_of_the_window_counts(service):
    service.bytes = 50.0
    service.pass_by(10)
    service.bytes = 20.0
    past = service.window.past()
    assert (past.bytes_now, past.most_bytes) == (20, 50)
    service.pass_by(WINDOW_S + 20)
    assert service.window.past().most_bytes == 20


def test_a_service_that_slept_begins_anew(service):
    service.now += 10 * WINDOW_S
    assert service.window.past().seconds == 0


def test_counting_that_began_anew_gives_no_negative_numbers(service):
    service.seconds += [0.1] * 10
    service.pass_by(10)
    service.seconds = [0.1]
    assert min(service.window.past().buckets["rerank"].values()) == 0
