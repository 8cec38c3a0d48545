import os
from itertools import repeat

import numpy as np
import pytest

from benchmarks import sizing
from benchmarks.server import Server
from benchmarks.wire import post
from tests.app.live import live

BODY = post("/rerank", b'{"query": "owl", "documents": ["an owl", "a road"], "deadline_ms": 0}')


def test_memory_of_this_process_is_read():
    rss, pss = sizing.resident(os.getpid())
    assert 0 < pss <= rss


def test_a_peak_is_of_what_came_after_it_was_forgotten():
    taken = np.ones(2**23)  # 64 MiB
    high = sizing.peak(os.getpid())
    del taken
    sizing.forget_peaks(os.getpid())
    assert high - sizing.peak(os.getpid()) > 32


def test_known_requests_are_counted_with_what_they_cost(hash_settings, monkeypatch):
    monkeypatch.setattr(sizing, "WARM_S", 0.1)
    with live(hash_settings, monkeypatch) as here:
        per_second, core_ms = sizing.known_requests(Server(here.port, os.getpid()), repeat(BODY), 2)
        assert per_second > 0
        assert core_ms >= 0


def test_a_burst_sends_all_there_is(hash_settings, monkeypatch):
    supply = iter([BODY] * 7)
    with live(hash_settings, monkeypatch) as here:
        assert sizing.burst(Server(here.port, os.getpid()), supply, 3) > 0
    assert next(supply, None) is None


def test_a_refused_request_is_no_figure(hash_settings, monkeypatch):
    with live(hash_settings, monkeypatch) as here, pytest.raises(RuntimeError, match="2 requests were refused"):
        sizing.burst(Server(here.port, os.getpid()), iter([post("/rerank", b"{}")] * 2), 1)
