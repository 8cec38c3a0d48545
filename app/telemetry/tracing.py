"""Tracing over OTLP: one span per request, made by FastAPI, and one per stage; callers' trace context is continued.

Imported only where tracing is on: its libraries belong to the extra `tracing`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from threading import Thread
from urllib.parse import urlsplit

from fastapi.telemetry import TelemetryConfig
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio
from opentelemetry.trace import (
    Span,
    Status,
    format_span_id,
    format_trace_id,
    get_current_span,
    set_span_in_context,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import Attributes
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bind_contextvars

from app import version
from app.auth.outgoing import HEADERS
from app.settings import TracingSettings
from app.telemetry.request_record import RequestRecord
from app.telemetry.watchers import facts

PATH = "/v1/traces"
FLUSH_WITHIN_S = 5
_EVERY_MS = 2_000
_WARN_EVERY_S = 60
_PREFIX = "qrerank."
_MAX_GAP_S = 1e-4  # between two readings of a clock; a longer gap means that the thread was interrupted
_ATTEMPTS = 10
# The exported ones of FastAPI's attributes; the others would reveal paths, query strings and hosts.
_EXPORTED = frozenset(
    {
        "error.type",
        "http.request.method",
        "http.response.status_code",
        "http.route",
        "network.protocol.name",
        "network.protocol.version",
        "url.scheme",
    }
)
# Log fields that a span has under another name, or must not have.
_OMITTED_FACTS = {"http_method", "route", "status", "ms", "origin", "who"}


class SpanMiddleware:
    """Adds the span's ids to logs and outgoing requests, and the request's facts to the span before FastAPI ends it."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap an ASGI application. Middleware further out must neither log nor send requests."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        span = get_current_span()
        if span.get_span_context().is_valid:
            _bind(span)

        async def send_described(message: Message) -> None:
            record: RequestRecord | None = scope.get("state", {}).get("record")
            if record and message["type"] == "http.response.body" and not message.get("more_body"):
                describe(span, record)  # the span ends when this is sent
            await send(message)

        await self._app(scope, receive, send_described if span.is_recording() and scope["type"] == "http" else send)


class Tracing:
    """Tracing of one process. `middleware` must be the outermost middleware."""

    middleware = SpanMiddleware

    def __init__(self, settings: TracingSettings, untraced: Callable[[str], bool]) -> None:
        """Create the exporter; it connects with the first span. untraced: whether requests to a path get no span."""
        exporter = _RedactingExporter(OTLPSpanExporter(endpoint_of(settings)))
        resource = Resource.create({"service.name": settings.service, "service.version": version()})
        self._provider = TracerProvider(
            resource=resource, sampler=ParentBasedTraceIdRatio(settings.sample), shutdown_on_exit=False
        )
        self._provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=_EVERY_MS))
        self._tracer = self._provider.get_tracer("app.telemetry.tracing")
        for name in _EXPORTER_LOGGERS:
            logging.getLogger(name).addFilter(_RATE_LIMIT)
        self.telemetry = TelemetryConfig(
            tracer_provider=self._provider,
            tracing=True,
            metrics=False,
            logs=False,  # they would contain error messages
            operation_spans=False,
            auto_configure=False,
            exclude=lambda scope: untraced(scope["path"]),
        )

    def watch(self, record: RequestRecord) -> None:
        """The watcher: creates the stage spans of a finished request."""
        span = get_current_span()
        if not span.get_span_context().trace_flags.sampled:
            return
        now, clock = _same_moment()

        def at(second: float) -> int:
            return now - round((clock - second) * 1e9)

        parent = span
        if record.http_method == "WS":  # FastAPI's span covers the whole connection
            parent = self._tracer.start_span(f"WS {record.route} request", start_time=at(record.begun))
        describe(parent, record)
        context = set_span_in_context(parent)
        for stage, start, seconds in record.watch.laps:
            self._tracer.start_span(stage, context, start_time=at(start)).end(at(start + seconds))
        if parent is not span:
            parent.end(at(record.begun + record.seconds))

    def close(self) -> None:
        """Send the pending spans. Blocks for a few seconds at most."""
        thread = Thread(target=self._provider.shutdown, name="last spans", daemon=True)
        thread.start()
        thread.join(FLUSH_WITHIN_S)


def endpoint_of(settings: TracingSettings) -> str:
    """The URL that spans are posted to: the endpoint as it is if it has a path, else with OTLP's standard path."""
    url = str(settings.endpoint)
    return url if urlsplit(url).path.strip("/") else f"{url.rstrip('/')}{PATH}"


def describe(span: Span, record: RequestRecord) -> None:
    """Set the request's facts as attributes of its span, unless the span has ended."""
    if span.is_recording():
        for name, value in facts(record).items():
            if name not in _OMITTED_FACTS:
                span.set_attribute(_PREFIX + name, value)


def _same_moment() -> tuple[int, float]:
    """`time.time_ns` and `time.perf_counter` at the same moment, within 0.1 ms.

    A thread may be interrupted between the two calls, which would shift every stage.
    """
    for _ in range(_ATTEMPTS):
        before, now, after = time.perf_counter(), time.time_ns(), time.perf_counter()
        if after - before < _MAX_GAP_S:
            break
    return now, (before + after) / 2


def _bind(span: Span) -> None:
    context = span.get_span_context()
    bind_contextvars(trace_id=format_trace_id(context.trace_id), span_id=format_span_id(context.span_id))
    headers: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(headers, set_span_in_context(span))
    HEADERS.set(headers)


class _RedactingExporter(SpanExporter):
    """Exports spans without the attributes and messages that may contain clients' data."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return self._exporter.export([_redacted(span) for span in spans])

    def shutdown(self) -> None:
        self._exporter.shutdown()


def _redacted(span: ReadableSpan) -> ReadableSpan:
    return ReadableSpan(
        span.name,
        span.context,
        span.parent,
        span.resource,
        _kept(span.attributes),
        [Event(event.name, _kept(event.attributes), event.timestamp) for event in span.events],
        kind=span.kind,
        status=Status(span.status.status_code),  # without its description, an error's message
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


def _kept(attributes: Attributes) -> Attributes:
    return {name: value for name, value in (attributes or {}).items() if name in _EXPORTED or name.startswith(_PREFIX)}


class _RateLimit(logging.Filter):
    """Passes one log record a minute."""

    def __init__(self) -> None:
        super().__init__()
        self._last_passed = float("-inf")

    def filter(self, _: logging.LogRecord) -> bool:
        now = time.monotonic()
        passes = now - self._last_passed >= _WARN_EVERY_S
        if passes:
            self._last_passed = now
        return passes


# The loggers of failed exports: they write at least once per batch.
_EXPORTER_LOGGERS = (OTLPSpanExporter.__module__, "opentelemetry.sdk._shared_internal")
_RATE_LIMIT = _RateLimit()
