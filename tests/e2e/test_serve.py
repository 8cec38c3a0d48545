"""The server of `make run` with the real model and the demo collection. It makes no network requests."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import ConnectionClosed

from tests.app.talking import connect
from tests.processes import running
from tests.waiting import PATIENT_S

# An audit hook prints every address lookup and connection. The demo has 120 passages, not 692, which take 20 s.
AUDITED = """
import sys

def log(event, arguments):
    if event in {"socket.getaddrinfo", "socket.gethostbyname", "socket.connect", "socket.sendto", "os.fork"}:
        print(event, arguments[1:] if event == "socket.connect" else arguments, file=sys.stderr, flush=True)

sys.addaudithook(log)
from app.cli import index
from app.cli.main import main
passages = index.demo_passages()[200:320]
index.demo_passages = lambda: passages
main()
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[subprocess.Popen[bytes], httpx.Client, Path]]:
    """The server process, a client, and the log file."""
    folder = tmp_path_factory.mktemp("data")
    environment = os.environ | {"QRERANK_DATA_DIR": str(folder), "QRERANK_ENGINE__DRAIN_SECONDS": "0"}
    with running([sys.executable, "-c", AUDITED, "serve", "--demo"], environment, folder / "log") as (process, client):
        yield process, client, folder / "log"


@pytest.fixture
def server(served) -> httpx.Client:
    return served[1]


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
        assert '"status":413' in connection.recv(timeout=PATIENT_S)
        connection.send('{"type":"rerank","id":1,"query":"how does a for loop work"}')
        assert '"stage":"prescore"' in connection.recv(timeout=PATIENT_S)
        with pytest.raises(ConnectionClosed):
            connection.send("x" * (32 * 2**20 + 1))
            while True:
                connection.recv(timeout=PATIENT_S)


def test_who_asks_is_heard():
    script = AUDITED.partition("from app.cli")[0] + "import socket\nsocket.getaddrinfo('localhost', 1)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)  # noqa: S603 - ours
    assert "socket.getaddrinfo ('localhost', 1" in done.stderr


def test_it_started_and_reranked_and_stops_without_asking_anybody(served):
    process, client, log = served
    body = {"query": "which bird sings at night", "documents": ["stocks fell", "the nightingale sings"]}
    assert client.post("/rerank", json=body).json()["results"][0]["index"] == 1
    assert client.get("/docs").status_code == 200
    process.terminate()
    assert process.wait(PATIENT_S) == 0
    plain = [line for line in log.read_text().splitlines() if line and not line.startswith("{")]
    # Listening on an address looks up that address.
    assert [line for line in plain if "127.0.0.1" not in line] == []
    assert all("event" in json.loads(line) for line in log.read_text().splitlines() if line.startswith("{"))
