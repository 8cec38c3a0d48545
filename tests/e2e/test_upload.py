"""A stream of documents that is larger than the memory it may take."""

import http.client
import json
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from benchmarks.server import ours
from tests.indexers import indexed_elsewhere
from tests.waiting import PATIENT_S

pytestmark = pytest.mark.slow

MIB = 2**20
MOST_GROWTH = 24 * MIB  # a batch is 1 MiB, and takes a few once it is parsed


def peak_bytes(pid: int) -> int:
    """The most memory that a process ever held."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024


def stream(size: int) -> Iterator[bytes]:
    """About `size` bytes: documents of 8 kB, in parts that end anywhere."""
    sent, number, rest = 0, 0, b""
    while sent < size:
        text = "an owl hunts at night " * 360
        lines = [json.dumps({"id": f"{i}", "text": f"{i} {text}"}) for i in range(number, number + 9)]
        number += 9
        part = rest + ("\n".join(lines) + "\n").encode()
        part, rest = part[:-333], part[-333:]
        sent += len(part)
        yield part
    yield rest


@pytest.mark.parametrize("size", [64 * MIB, pytest.param(1024 * MIB, marks=pytest.mark.soak)])
def test_a_stream_of_any_length_takes_the_memory_of_a_batch(tmp_path, size):
    with ours(model="hash", data_dir=tmp_path) as server:
        assert httpx.put(f"{server.url}/v1/collections/birds", timeout=PATIENT_S).is_success
        path = "/v1/collections/birds/documents"
        warm = {"content": b"".join(stream(2 * MIB)), "headers": {"content-type": "application/x-ndjson"}}
        # Another process indexes, so that only the upload takes memory.
        with indexed_elsewhere(tmp_path / "collections" / "birds"):
            assert httpx.post(server.url + path, timeout=PATIENT_S, **warm).is_success
            before = peak_bytes(server.pid)
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=600)
            connection.request(
                "POST", path, stream(size), {"Content-Type": "application/x-ndjson"}, encode_chunked=True
            )
            answer = json.loads(connection.getresponse().read())
            assert peak_bytes(server.pid) - before < MOST_GROWTH
        kept = httpx.get(f"{server.url}/v1/collections/birds", timeout=PATIENT_S).json()["documents"]
        assert answer["stored"] == kept > size / 9000
        assert answer["rejected"] == 0
