import json
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from pydantic import ValidationError

from app.settings import Settings, TracingSettings
from scripts.trial import free_port
from tests.app.auth.issuer import RSA, jwks, public, serve, token
from tests.app.collector import collecting
from tests.app.lines import logged
from tests.conftest import serving
from tests.paths import ROOT
from tests.waiting import PATIENT_S, eventually

BODY = {"query": "owl song", "documents": ["market prices", "an owl song"]}
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SENT = "s3cr3t"
SERVER = 2  # of SpanKind


def caller(*, sampled=True):
    return {"traceparent": f"00-{TRACE}-{PARENT}-0{int(sampled)}", "tracestate": "rojo=1"}


@pytest.fixture
def collector():
    with collecting() as running:
        yield running


@pytest.fixture
def traced(collector, tmp_path, monkeypatch):
    """Settings of a traced service; it has sent all spans once it is stopped."""
    monkeypatch.setattr("app.telemetry.tracing.FLUSH_WITHIN_S", PATIENT_S)

    def made(auth=None, **tracing):
        tracing = {"endpoint": collector.url} | tracing
        return Settings(model="hash", data_dir=tmp_path, tracing=tracing, auth=auth or {})

    return made


def test_a_request_is_a_span_and_each_stage_one_below_it(collector, traced):
    with serving(traced()) as client:
        before = time.time_ns()
        assert client.post("/v1/rerank", json=BODY, headers={"X-Request-ID": "owl"}).status_code == 200
        after = time.time_ns()
    (request,) = collector.named("POST /v1/rerank")
    assert (request.kind, request.parent, request.failed) == (SERVER, "", False)
    stages = collector.below(request)
    assert {stage.name for stage in stages} >= {
        "queue",
        "prescore",
        "encode",
        "classical",
        "quantum",
        "fuse",
        "serialise",
    }
    assert before <= request.start <= request.end <= after
    slack = 1_000_000  # stages and requests are timed by different clocks
    for stage in stages:
        assert stage.trace == request.trace
        assert request.start - slack < stage.start <= stage.end < request.end + slack
    order = [stage.name for stage in stages]
    assert order.index("queue") < order.index("encode") < order.index("quantum") < order.index("serialise")
    assert request.attributes["qrerank.request_id"] == "owl"
    assert request.attributes["http.route"] == "/v1/rerank"
    names = ("method", "dialect", "tier", "documents", "tokens", "encoded", "known", "unread", "cut")
    assert [request.attributes[f"qrerank.{name}"] for name in names] == [
        *("hybrid", "standard", "unlimited", 2, 7, 2, 0, 0, False)
    ]
    assert collector.resource["service.name"] == "quantum-rerank"
    assert collector.resource["service.version"] == client.app.version
    assert collector.paths == {"/v1/traces"}


def test_the_callers_trace_goes_on(collector, traced):
    with logged() as lines, serving(traced(sample=0)) as client:
        client.post("/rerank", json=BODY, headers=caller())
    (request,) = collector.named("POST /rerank")
    assert (request.trace, request.parent) == (TRACE, PARENT)
    (line,) = [line for line in lines.read if line["event"] == "request"]
    assert (line["trace_id"], line["span_id"]) == (TRACE, request.id)


@pytest.mark.parametrize("sample", [0.0, 1.0])
def test_the_caller_decides_what_is_sampled_and_else_the_settings(collector, traced, sample):
    with serving(traced(sample=sample)) as client:
        client.post("/rerank", json=BODY)
        client.post("/rerank", json=BODY, headers=caller(sampled=False))
    assert len(collector.named("POST /rerank")) == sample


def test_a_stream_is_one_request(collector, traced):
    with serving(traced()) as client:
        assert "event: final" in client.post("/v1/rerank/stream", json=BODY).text
    (request,) = collector.named("POST /v1/rerank/stream")
    assert request.attributes["qrerank.encoded"] == 2
    assert "encode" in [stage.name for stage in collector.below(request)]


def test_each_request_on_a_socket_is_a_span_below_the_sockets(collector, traced):
    with serving(traced()) as client, client.websocket_connect("/v1/ws", headers=caller()) as socket:
        for name in (1, 2):
            socket.send_json(BODY | {"type": "rerank", "id": name})
            while socket.receive_json()["type"] != "final":
                pass
    (connection,) = collector.named("WS /v1/ws")
    requests = collector.named("WS /v1/ws request")
    assert [request.parent for request in requests] == [connection.id] * 2
    assert {request.trace for request in collector.spans} == {TRACE}
    for request, encoded in zip(requests, (2, 0), strict=True):
        assert request.attributes["qrerank.encoded"] == encoded
        stages = collector.below(request)
        assert {"encode", "serialise"} <= {stage.name for stage in stages}
        assert all(request.start - 1000 <= stage.start <= stage.end <= request.end + 1000 for stage in stages)


def test_an_unforeseen_error_is_of_its_type_and_has_no_message(collector, traced):
    def crash(*arguments, **named):
        raise ValueError(SENT)

    with serving(traced()) as client:
        client.app.state.dependencies.engine.models.default.rerank = crash
        assert client.post("/rerank", json=BODY).status_code == 500
    (request,) = collector.named("POST /rerank")
    assert request.failed
    assert request.attributes["qrerank.problem"] == "internal"
    assert request.attributes["error.type"] == "ValueError"
    assert request.events == []


def test_nothing_that_was_sent_is_in_any_span(collector, traced):
    body = {"query": SENT, "documents": [SENT, "owl"], "exclude": [f"{SENT} elk"], "model": SENT, "user": SENT}
    headers = {"Authorization": f"Bearer {SENT}", "Cookie": SENT, "User-Agent": SENT, "Host": SENT, "X-Own": SENT}
    with serving(traced()) as client:
        for path in ("/rerank", "/v1/rerank/stream", "/v2//rerank/", f"/{SENT}", f"/v1/admin/keys/{SENT}/rotate"):
            client.post(f"{path}?key={SENT}", json=body, headers=headers)
        client.post("/rerank", content=SENT)
        client.get(f"/v1/models/{SENT}", headers={"Origin": SENT})
    assert len([span for span in collector.spans if span.kind == SERVER]) == 7
    assert {"POST /v2/rerank", "POST", "POST /v1/admin/keys/{id}/rotate"} < {span.name for span in collector.spans}
    assert SENT.encode() not in collector.raw


def test_probes_are_not_traced_and_a_host_that_is_called_so_is(collector, traced):
    with serving(traced()) as client:
        for path in ("/health", "/health/ready", "/metrics"):
            client.get(path)
        client.get("/info", headers={"Host": "metrics.internal"})
    assert [span.name for span in collector.spans] == ["GET /info"]


@contextmanager
def refusing():
    """The port of a collector that rejects every batch, and a count of the batches."""
    asked = []

    class Refusal(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_error(400)

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Refusal) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        try:
            yield server.server_port, lambda: len(asked)
        finally:
            server.shutdown()


@contextmanager
def absent():
    """A port without a collector; the exporter retries each batch until the service stops."""
    yield free_port(), lambda: 3


@pytest.mark.parametrize("lost", [refusing, absent])
def test_a_lost_collector_costs_one_warning_and_no_request(tmp_path, monkeypatch, lost):
    monkeypatch.setattr("app.telemetry.tracing._RATE_LIMIT._last_passed", float("-inf"))  # other tests may have logged
    monkeypatch.setattr("app.telemetry.tracing.FLUSH_WITHIN_S", 0.1)
    monkeypatch.setattr("app.telemetry.tracing._EVERY_MS", 10)
    with logged(level="info") as lines, lost() as (port, asked):

        def told():
            return [line for line in lines.read if "opentelemetry" in line["logger"]]

        settings = Settings(model="hash", data_dir=tmp_path, tracing={"endpoint": f"http://127.0.0.1:{port}"})
        with serving(settings) as client:
            for batch in range(1, 4):
                assert client.post("/rerank", json=BODY).status_code == 200
                eventually(lambda batch=batch: told() and asked() >= batch)
        assert [line["level"] for line in told()] in (["warning"], ["error"])


def test_a_collector_that_hangs_keeps_no_service_from_stopping(tmp_path, monkeypatch):
    monkeypatch.setattr("app.telemetry.tracing.FLUSH_WITHIN_S", 0.1)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", str(2 * PATIENT_S))
    others = set(threading.enumerate())
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        endpoint = f"http://127.0.0.1:{hanging.getsockname()[1]}"
        with serving(Settings(model="hash", data_dir=tmp_path, tracing={"endpoint": endpoint})) as client:
            assert client.post("/rerank", json=BODY).status_code == 200
        (flushing,) = [each for each in set(threading.enumerate()) - others if each.name == "last spans"]
        answering, _ = hanging.accept()
        answering.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        flushing.join(PATIENT_S)
        answering.close()
    assert not flushing.is_alive()


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("http://c:4318", "http://c:4318/v1/traces"),
        ("http://c:4318/", "http://c:4318/v1/traces"),
        ("https://c/otlp/v1/traces", "https://c/otlp/v1/traces"),
    ],
)
def test_where_spans_are_posted(given, meant):
    from app.telemetry.tracing import endpoint_of

    assert endpoint_of(TracingSettings(endpoint=given)) == meant


@pytest.mark.parametrize("wrong", [{"endpoint": "localhost:4318"}, {"sample": 1.1}, {"endpoint": "grpc://c:4317"}])
def test_settings_that_mean_nothing_are_refused(wrong):
    with pytest.raises(ValidationError):
        TracingSettings(**wrong)


def test_what_the_service_asks_of_others_carries_the_trace(collector, traced):
    with serve() as issuer:
        issuer.text = jwks(public(RSA))
        asks_for_tokens = {"enabled": True, "jwt": {"jwks_url": issuer.url}}
        with serving(traced(auth=asks_for_tokens)) as client:
            headers = caller() | {"Authorization": f"Bearer {token()}"}
            assert client.post("/rerank", json=BODY, headers=headers).status_code == 200
    (request,) = collector.named("POST /rerank")
    assert issuer.told["Traceparent"] == f"00-{TRACE}-{request.id}-01"
    assert issuer.told["Tracestate"] == "rojo=1"


def test_the_environment_alone_has_nothing_sent(collector, tmp_path, monkeypatch):
    monkeypatch.setenv("FASTAPI_OTEL_AUTO_CONFIGURE", "true")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    with serving(Settings(model="hash", data_dir=tmp_path)) as client:
        client.post("/rerank", json=BODY)
    assert not collector.paths


@pytest.mark.parametrize(
    "missing", ["opentelemetry.sdk", pytest.param("opentelemetry.exporter", marks=pytest.mark.slow)]
)
def test_without_the_extra_the_service_does_not_start_and_says_what_to_install(missing):
    program = (
        f"import sys; sys.modules[{missing!r}] = None; sys.argv = ['qrerank', 'serve']\n"
        "from app.cli.main import main; main()"
    )
    environment = {"QRERANK_TRACING__ENDPOINT": "http://127.0.0.1:4318", "QRERANK_MODEL": "hash"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=False)  # noqa: S603
    assert done.returncode == 1
    assert " ".join(done.stderr.split()) == (
        "QRERANK_TRACING: endpoint: spans need the extra `tracing`: pip install 'quantum-rerank[tracing]'"
    )


def test_the_documented_spans_are_what_is_sent(collector, traced):
    with serving(traced()) as client:
        client.post("/rerank", json=BODY, headers={"X-Request-ID": "docs-1"})
    (request,) = collector.named("POST /rerank")
    text = (ROOT / "docs/operations/tracing.md").read_text()
    documented = json.loads(text.partition("```json\n")[2].partition("\n```")[0])
    assert documented["name"] == request.name
    assert documented["attributes"] == request.attributes
    assert documented["stages"] == [stage.name for stage in collector.below(request)]
