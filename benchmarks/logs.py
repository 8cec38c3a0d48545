"""What the access log and the spans of a request cost: `python -m benchmarks.logs` prints the table.

A request over 100 documents, with the stages it has when its states are known, is told of over and over, without a
server. Spans are made and then dropped instead of sent: a thread of its own does that. Best of several rounds.
"""

from __future__ import annotations

import logging
import sys
import tempfile
import time
import timeit
from collections.abc import Callable
from contextlib import redirect_stderr
from typing import Literal
from unittest.mock import patch

from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.trace import use_span

from app.api.middleware.request_record import bind, note
from app.identity import ANONYMOUS
from app.ranking.job import Lap
from app.service.result import WorkDone
from app.settings import LogSettings, TracingSettings
from app.telemetry.access_log import log_requests
from app.telemetry.logs import set_up
from app.telemetry.request_record import RequestRecord
from app.telemetry.tracing import Tracing
from benchmarks.report import number, table

_CALLS, _ROUNDS = 2000, 7
_STAGES = "queue wait prescore encode_query encode wait join classical quantum wait fuse serialise".split()


def seen() -> RequestRecord:
    """A request that is over."""
    request = RequestRecord("0123456789abcdef0123456789abcdef", "POST", "/rerank", status=200, identity=ANONYMOUS)
    request.dialect, request.origin, request.seconds = "standard", "10.0.0.1", 0.025
    laps = [Lap(stage, time.perf_counter() - 0.02 + at / 1000, 0.001) for at, stage in enumerate(_STAGES)]
    note(request, WorkDone(100, 21_600, "all-MiniLM-L6-v2", "hybrid", 100, laps=laps))
    return request


def microseconds(work: Callable[[], object]) -> float:
    """Of one call."""
    return min(timeit.repeat(work, number=_CALLS, repeat=_ROUNDS)) / _CALLS * 1e6


def of_line(look: Literal["json", "pretty"], share: float) -> float:
    """Microseconds to write an access line to a file, or to find that none is wanted."""
    with tempfile.TemporaryFile("w") as file, redirect_stderr(file):
        set_up(LogSettings(format=look))
        write, request = log_requests(share), seen()
        bind(request.request_id)
        return microseconds(lambda: write(request))


def of_spans(sample: float) -> float:
    """Microseconds to make a request's span and those of its stages."""
    with patch("opentelemetry.exporter.otlp.proto.http.trace_exporter.OTLPSpanExporter.export") as export:
        export.return_value = SpanExportResult.SUCCESS
        settings = TracingSettings.model_validate({"endpoint": "http://127.0.0.1:4318", "sample": sample})
        tracing = Tracing(settings, untraced=lambda path: False)  # noqa: ARG005
        tracer = tracing.telemetry["tracer_provider"].get_tracer("benchmark")  # type: ignore[union-attr]
        request = seen()

        def trace() -> None:
            with use_span(tracer.start_span("POST /rerank"), end_on_exit=True):
                tracing.watch(request)

        spent = microseconds(trace)
        tracing.close()
    return spent


def main() -> None:
    """Measure and print."""
    logging.captureWarnings(capture=False)
    rows = [
        ["access line, JSON, to a file", number(of_line("json", 1))],
        ["access line, pretty, to a file", number(of_line("pretty", 1))],
        ["access line that is not in the sample", number(of_line("json", 0))],
        [f"spans of a request and of {len(_STAGES)} laps", number(of_spans(1))],
        ["spans of a request that is not sampled", number(of_spans(0))],
    ]
    sys.stdout.write(table(["what", "µs"], rows) + "\n")


if __name__ == "__main__":
    main()
