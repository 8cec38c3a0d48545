"""An in-process OTLP/HTTP collector for tests."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass(frozen=True)
class Received:
    """A received span."""

    name: str
    kind: int
    trace: str
    id: str
    parent: str
    start: int  # nanoseconds since the epoch
    end: int
    failed: bool
    attributes: dict[str, Any]
    events: list[tuple[str, dict[str, Any]]]


@dataclass
class Collector:
    """The spans and resource attributes that the collector has received."""

    url: str
    spans: list[Received] = field(default_factory=list)
    resource: dict[str, Any] = field(default_factory=dict)
    paths: set[str] = field(default_factory=set)
    raw: bytes = b""

    def take(self, path: str, body: bytes) -> None:
        """Parse and store a batch."""
        self.paths.add(path)
        self.raw += body
        for batch in ExportTraceServiceRequest.FromString(body).resource_spans:
            self.resource = _plain(batch.resource.attributes)
            self.spans += [_received(span) for scope in batch.scope_spans for span in scope.spans]

    def named(self, name: str) -> list[Received]:
        """The spans with this name, by start time."""
        return sorted((span for span in self.spans if span.name == name), key=lambda span: span.start)

    def below(self, parent: Received) -> list[Received]:
        """A span's children, by start time."""
        return sorted((span for span in self.spans if span.parent == parent.id), key=lambda span: span.start)


def _received(span: Any) -> Received:
    ids = (span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex())
    events = [(event.name, _plain(event.attributes)) for event in span.events]
    times = (span.start_time_unix_nano, span.end_time_unix_nano)
    return Received(span.name, span.kind, *ids, *times, span.status.code == 2, _plain(span.attributes), events)


def _plain(attributes: Any) -> dict[str, Any]:
    return {item.key: getattr(item.value, item.value.WhichOneof("value")) for item in attributes}


@contextmanager
def collecting() -> Iterator[Collector]:
    """Run a collector within the block."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            collector.take(self.path, self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        collector = Collector(f"http://127.0.0.1:{server.server_port}")
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield collector
        finally:
            server.shutdown()
            thread.join()
