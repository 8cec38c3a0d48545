"""What is told of a request costs: `python -m benchmarks.telemetry` prints the table of docs/operations/metrics.md.

A request over 100 documents whose states are known is told of over and over, without a server: metrics, time headers,
a line of the access log, spans. Spans are made and then dropped instead of sent: a thread of its own does that. Best of
several rounds. What the request itself takes is `python -m benchmarks.rerank`'s to tell.
"""

from __future__ import annotations

import logging
import tempfile
import timeit
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr
from typing import Literal
from unittest.mock import patch

from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.trace import use_span
from structlog.contextvars import bound_contextvars

from app.api.middleware.request_record import note, times
from app.api.problems import KINDS
from app.identity import ANONYMOUS
from app.ranking.job import Lap
from app.service.result import WorkDone
from app.settings import LogSettings, TracingSettings
from app.telemetry.logs import set_up
from app.telemetry.metrics import Metrics
from app.telemetry.request_record import RequestRecord
from app.telemetry.tracing import Tracing
from app.telemetry.watchers import count_requests, log_requests
from benchmarks.report import number, table, verdict

WARM_MS, TARGET = 10, 0.01  # of a request whose documents are cached, docs/performance.md
METRICS, HEADERS, LINE = "metrics, in memory", "Server-Timing and x-…-time", "access line, JSON, to a file"
_CALLS, _ROUNDS = 2000, 7
_STAGES = "queue wait prescore encode_query encode wait join classical quantum wait fuse serialise".split()


def observed() -> RequestRecord:
    """A request that is over, as the server saw it."""
    request = RequestRecord("0" * 32, "POST", "/rerank", status=200, identity=ANONYMOUS, dialect="standard")
    request.seconds, request.origin = 0.01, "10.0.0.1"
    laps = [Lap(stage, at / 1000, 0.001) for at, stage in enumerate(_STAGES)]
    note(request, WorkDone(100, 21_600, "all-MiniLM-L6-v2", "hybrid", 100, laps=laps))
    return request


def microseconds(work: Callable[[], object]) -> float:
    """Of one call."""
    return min(timeit.repeat(work, number=_CALLS, repeat=_ROUNDS)) / _CALLS * 1e6


def of_line(look: Literal["json", "pretty"], share: float) -> float:
    """Of an access line written to a file, or of finding that none is wanted."""
    with tempfile.TemporaryFile("w") as file, redirect_stderr(file):
        set_up(LogSettings(format=look))
        write, request = log_requests(share), observed()
        with bound_contextvars(request_id=request.request_id):
            return microseconds(lambda: write(request))


def of_spans(sample: float) -> float:
    """Of a request's span and those of its stages."""
    with patch("opentelemetry.exporter.otlp.proto.http.trace_exporter.OTLPSpanExporter.export") as export:
        export.return_value = SpanExportResult.SUCCESS
        settings = TracingSettings.model_validate({"endpoint": "http://127.0.0.1:4318", "sample": sample})
        tracing = Tracing(settings, untraced=lambda path: False)  # noqa: ARG005
        tracer = tracing.telemetry["tracer_provider"].get_tracer("benchmark")  # type: ignore[union-attr]
        request = observed()

        def trace() -> None:
            with use_span(tracer.start_span("POST /rerank"), end_on_exit=True):
                tracing.watch(request)

        spent = microseconds(trace)
        tracing.close()
    return spent


def measure() -> dict[str, float]:
    """Every row's microseconds."""
    count, request = count_requests(Metrics(), KINDS), observed()
    return {
        METRICS: microseconds(lambda: count(request)),
        HEADERS: microseconds(lambda: times(request, request.status)),
        LINE: of_line("json", 1),
        "access line, pretty, to a file": of_line("pretty", 1),
        "access line that is not in the sample": of_line("json", 0),
        f"spans of a request and of {len(_STAGES)} laps": of_spans(1),
        "spans of a request that is not sampled": of_spans(0),
    }


def report(costs: Mapping[str, float]) -> str:
    """The table, and whether what is on by default keeps to the target."""
    usual = sum(costs[part] for part in (METRICS, HEADERS, LINE))
    share = usual / 1e3 / WARM_MS
    return (
        f"{table(('a request', 'µs'), [(name, number(us)) for name, us in costs.items()])}\n\n"
        f"Metrics, headers and the line together {number(usual)} µs, {share:.2%} of {WARM_MS} ms, "
        f"target ≤ {TARGET:.0%}, {verdict(share <= TARGET)}."
    )


def main() -> None:
    """Measure and print."""
    logging.captureWarnings(capture=False)
    print(report(measure()))


if __name__ == "__main__":
    main()
