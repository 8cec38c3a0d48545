"""The real server process with the real model and the demo collection: what `make run` starts."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [Path(sys.executable).parent / "qrerank", "serve", "--port", str(port), "--demo"]
    environment = os.environ | {
        "QRERANK_DATA_DIR": str(tmp_path_factory.mktemp("data")),
        "QRERANK_ENGINE__DRAIN_SECONDS": "0",
    }
    process = subprocess.Popen(command, env=environment)  # noqa: S603 - our own command
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
        end = time.monotonic() + 120
        while time.monotonic() < end and process.poll() is None:
            try:
                if client.get("/health/ready").status_code == 200:
                    break
            except httpx.ConnectError:
                pass
            time.sleep(0.2)
        yield client
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0


def test_the_readmes_request_gets_a_sensible_order(server):
    body = {
        "query": "how do I read a file line by line",
        "documents": ["Lists are mutable.", "Iterate over the file object.", "The sun is a star."],
    }
    rows = server.post("/rerank", json=body).json()["results"]
    assert rows[0]["index"] == 1


@pytest.mark.parametrize("method", ["classical", "quantum", "hybrid"])
def test_without_documents_the_demo_collection_is_searched(server, method):
    answer = server.post("/rerank", json={"query": "how does a for loop work", "top_n": 5, "method": method}).json()
    assert len(answer["results"]) == 5
    assert any(row["document"]["title"] == 'The "for" statement' for row in answer["results"])
    assert answer["meta"]["encoded"] == 100


def test_a_body_of_50_mb_is_refused_and_the_server_goes_on(server):
    response = server.post("/rerank", content=b"a" * 50_000_000)
    assert response.status_code == 413
    assert server.get("/health").status_code == 200


def test_sockets_take_frames_up_to_a_limit_and_compress_none(server):
    address = str(server.base_url).replace("http", "ws") + "/v1/ws"
    with connect(address, max_size=None) as connection:
        assert not connection.protocol.extensions
        connection.send("x" * (16 * 2**20 + 1))
        assert '"status":413' in connection.recv(timeout=30)
        connection.send('{"type":"rerank","id":1,"query":"how does a for loop work"}')
        assert '"stage":"prescore"' in connection.recv(timeout=30)
        with pytest.raises(ConnectionClosed):
            connection.send("x" * (32 * 2**20 + 1))
            while True:
                connection.recv(timeout=30)
