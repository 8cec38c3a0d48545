"""The service asks nothing of any network: Python itself tells of every address that is looked up or connected to."""

import json
import os
import signal
import subprocess
import sys
import time

import httpx

from scripts.trial import free_port

WATCHED = """
import sys

def tell(event, arguments):
    if event in {"socket.getaddrinfo", "socket.gethostbyname", "socket.connect", "socket.sendto", "os.fork"}:
        print(event, arguments[1:] if event == "socket.connect" else arguments, file=sys.stderr, flush=True)

sys.addaudithook(tell)
from app.cli import main
main()
"""
BODY = {"query": "which bird sings at night", "documents": ["stocks fell", "the nightingale sings"], "deadline_ms": 0}


def heard(program, *words, environment=None):
    """What a program that is watched says, and whether it was able to."""
    command = [sys.executable, "-c", program, *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603 - ours
    return done.stderr


def test_who_asks_is_heard():
    asking = WATCHED.partition("from app.cli")[0] + "import socket\nsocket.getaddrinfo('localhost', 1)"
    assert "socket.getaddrinfo ('localhost', 1" in heard(asking)


def test_a_server_with_the_default_model_starts_reranks_and_stops_without_asking_anybody(tmp_path):
    port, log = free_port(), tmp_path / "log"
    environment = os.environ | {"QRERANK_DATA_DIR": str(tmp_path), "QRERANK_ENGINE__DRAIN_SECONDS": "0"}
    command = [sys.executable, "-c", WATCHED, "serve", "--port", str(port)]
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)  # noqa: S603 - ours
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
        end = time.monotonic() + 120
        while time.monotonic() < end and process.poll() is None:
            try:
                if client.get("/health/ready").status_code == 200:
                    break
            except httpx.TransportError:
                time.sleep(0.1)
        answer = client.post("/rerank", json=BODY)
        page = client.get("/docs")
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    assert answer.json()["results"][0]["index"] == 1
    assert page.status_code == 200
    told = [line for line in log.read_text().splitlines() if line and not line.startswith("{")]
    # To listen on an address, the name of this machine's own is looked up.
    assert [line for line in told if "127.0.0.1" not in line] == []
    assert all("event" in json.loads(line) for line in log.read_text().splitlines() if line.startswith("{"))
