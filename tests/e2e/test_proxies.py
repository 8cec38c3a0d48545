"""The files of docs/proxies.md, run by nginx and haproxy: rankings, streams, WebSockets, pages, forged addresses."""

import json
import os
import sys
from pathlib import Path

import httpx
import pytest

from benchmarks.server import running
from loadtests.balancer import PACKAGES as HAPROXY
from scripts.debian import environment, had
from scripts.trial import free_port
from tests.app.talking import connect
from tests.docs.pages import BY_NAME
from tests.waiting import PATIENT_S, eventually

pytestmark = pytest.mark.soak  # it downloads programs of Debian

FILES = {language: text for language, text in BY_NAME["docs/proxies.md"].blocks if language in {"nginx", "haproxy"}}
RERANK = {"query": "owl", "documents": ["an owl", "a stone"]}
NGINX = (
    "daemon off; pid {folder}/pid; error_log stderr; events {{}}\nhttp {{ access_log off;\n{temporary}\n{page}\n}}\n"
)
DEFAULTS = "defaults\n  mode http\n  timeout connect 2s\n  timeout client 60s\n  timeout server 60s\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The service below /ranking, with 127.0.0.1 as its proxy; its port and its log."""
    folder, port = tmp_path_factory.mktemp("server"), free_port()
    settings = {
        "QRERANK_MODEL": "hash",
        "QRERANK_DATA_DIR": str(folder),
        "QRERANK_SERVER__ROOT_PATH": "/ranking",
        "QRERANK_SERVER__PROXIES": '["127.0.0.1"]',
        "QRERANK_ENGINE__DRAIN_SECONDS": "0",
    }
    program = Path(sys.executable).parent / "qrerank"
    command = ["/bin/sh", "-c", f'exec "{program}" serve --port {port} 2>"{folder}/log"']
    with running(command, port, "/health/ready", os.environ | settings):
        yield port, folder / "log"


@pytest.fixture(scope="module", params=["nginx, path left", "nginx, path removed", "haproxy"])
def proxy(request, server, tmp_path_factory):
    """The address of a proxy, as docs/proxies.md sets it up."""
    folder, port, here = tmp_path_factory.mktemp("proxy"), free_port(), f"127.0.0.1:{server[0]}"
    kind = request.param.partition(",")[0]
    text = FILES[kind].replace("127.0.0.1:8000", here).replace("127.0.0.1:8080", f"127.0.0.1:{port}")
    path = folder / "configuration"
    if kind == "haproxy":
        program = str(had("haproxy", *HAPROXY))
        path.write_text(DEFAULTS + text)
        command = [program, "-db", "-f", str(path)]
    else:
        if request.param.endswith("removed"):
            text = text.replace(f"proxy_pass http://{here};   #", f"proxy_pass http://{here}/;   #")
        program = str(had("nginx", "nginx"))
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        temporary = "".join(f"{name}_temp_path {folder}/{name};" for name in kinds)
        path.write_text(NGINX.format(folder=folder, temporary=temporary, page=text))
        command = [program, "-c", str(path), "-p", str(folder)]
    with running(command, port, "/ranking/health/ready", environment()):
        yield f"127.0.0.1:{port}"


def test_rankings_uploads_and_pages_are_served_below_the_path(proxy):
    with httpx.Client(base_url=f"http://{proxy}/ranking", timeout=PATIENT_S) as client:
        assert client.post("/rerank", json=RERANK).json()["results"][0]["index"] == 0
        assert client.put("/v1/collections/birds").status_code in {200, 201}
        line = json.dumps({"id": "owl", "text": "an owl"})
        form = {"content-type": "application/x-ndjson"}
        kept = client.post("/v1/collections/birds/documents", content=iter([line.encode()]), headers=form)
        assert kept.json()["stored"] == 1
        docs = client.get("/docs").text
        script = docs.partition('src="')[2].partition('"')[0]
        assert httpx.get(f"http://{proxy}{script}", timeout=PATIENT_S).status_code == 200
        fault = client.get("/nothing").json()["help"]
        assert httpx.get(f"http://{proxy}{fault.partition('#')[0]}", timeout=PATIENT_S).status_code == 200


def test_streams_and_sockets_pass(proxy):
    with httpx.stream("POST", f"http://{proxy}/ranking/v1/rerank/stream", json=RERANK, timeout=PATIENT_S) as stream:
        events = [line for line in stream.iter_lines() if line.startswith("event:")]
    assert (events[0], events[-1]) == ("event: order", "event: final")
    with connect(f"ws://{proxy}/ranking/v1/ws", origin=f"http://{proxy}") as socket:
        socket.send(json.dumps({"type": "rerank", "id": 1} | RERANK))
        while (frame := json.loads(socket.recv()))["type"] == "order":
            pass
        assert frame["type"] == "final"


def test_a_client_cannot_invent_its_address(proxy, server):
    with httpx.Client(transport=httpx.HTTPTransport(local_address="127.0.0.2"), timeout=PATIENT_S) as client:
        headers = {"X-Forwarded-For": "203.0.113.9", "X-Request-ID": f"forged-{free_port()}"}
        client.post(f"http://{proxy}/ranking/rerank", json=RERANK, headers=headers)
    (line,) = eventually(
        lambda: [line for line in server[1].read_text().splitlines() if headers["X-Request-ID"] in line]
    )
    assert json.loads(line)["origin"] == "127.0.0.2"
