"""Requests do not leak memory."""

from itertools import cycle

import pytest

from benchmarks.server import ours
from benchmarks.wire import drive, post

SECONDS, ROUNDS = 6, 8
MAX_BYTES_PER_REQUEST = 100


@pytest.mark.soak
def test_a_request_leaves_nothing_in_memory():
    """With cached texts, so that neither the cache nor the C library's heap grows."""
    documents = [f"an owl {number}" for number in range(10)]
    bodies = [post("/rerank", {"query": f"owl {number}", "documents": documents}) for number in range(50)]
    supply, resident, requests = cycle(bodies), [], []
    with ours(model="hash") as server:
        for _ in range(ROUNDS):
            load = drive(server.port, supply, 8, SECONDS)
            assert load.errors == 0
            resident.append(server.resident_mb() * 2**20)
            requests.append(len(load.ms))
    half = ROUNDS // 2
    growth, total = resident[-1] - resident[half - 1], sum(requests[half:])
    assert total > 1000
    assert growth < MAX_BYTES_PER_REQUEST * total, [f"{size / 2**20:.1f}" for size in resident]
