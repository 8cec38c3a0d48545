"""Requests leave nothing behind."""

from itertools import cycle

import orjson
import pytest

from benchmarks.load import drive
from benchmarks.server import ours
from benchmarks.wire import post

SECONDS, ROUNDS = 6, 8
MOST_BYTES_A_REQUEST = 100


@pytest.mark.soak
def test_a_request_leaves_nothing_in_memory():
    """Of known texts: the cache is full of what it is to hold, and the C library has what it ever needed at once."""
    documents = [f"an owl {number}" for number in range(10)]
    bodies = [post("/rerank", orjson.dumps({"query": f"owl {number}", "documents": documents})) for number in range(50)]
    supply, resident, requests = cycle(bodies), [], []
    with ours(model="hash") as server:
        for _ in range(ROUNDS):
            load = drive(server.port, supply, 8, SECONDS)
            assert load.errors == 0
            resident.append(server.resident_mb() * 2**20)
            requests.append(len(load.ms))
    half = ROUNDS // 2
    grown, asked = resident[-1] - resident[half - 1], sum(requests[half:])
    assert asked > 1000
    assert grown < MOST_BYTES_A_REQUEST * asked, [f"{size / 2**20:.1f}" for size in resident]
