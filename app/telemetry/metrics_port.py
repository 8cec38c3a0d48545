"""Metrics under `qrerank serve`: the folder that its workers share, and the separate metrics port."""

from __future__ import annotations

import logging
import os
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

log = logging.getLogger(__name__)

# On import, prometheus_client decides whether it keeps values in memory or in this variable's folder. So neither this
# module nor the command line imports it before the variable is set. Worker processes are spawned, and import it
# themselves.
_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
_CONNECTIONS = 16  # at most, concurrently


class PortTaken(Exception):
    """The metrics port cannot be opened. The message says what to do."""


def url_of(host: str, port: int) -> str:
    """The URL of a server on this host and port. host: a name or an address, IPv6 without brackets."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host or 'localhost'}:{port}"


class _Handler(WSGIRequestHandler):
    """A connection handler without an access log."""

    timeout = 10  # seconds that a client may neither send nor receive

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as in the base
        """Log nothing."""


class _Server(ThreadingMixIn, WSGIServer):
    """A server with one thread per connection; connections beyond the limit are closed."""

    daemon_threads = True
    request_queue_size = 128  # excess connections are accepted and closed, so that clients do not time out

    def __init__(self, address: tuple[str, int], handler: type[WSGIRequestHandler]) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self._free_slots = threading.Semaphore(_CONNECTIONS)
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start a thread if the limit allows it, or close the connection."""
        if self._free_slots.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Handle the connection in its thread, then free its slot."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free_slots.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - as in the base
        """Log a client that disconnected or timed out."""
        log.debug("a connection to the metrics port failed", exc_info=True)


@contextmanager
def metrics_served(workers: int, host: str, port: int | None) -> Iterator[None]:
    """Within the block, the workers' metrics are aggregated, and served on a separate port if one is set.

    Must be entered before anything imports prometheus_client.

    Args:
        workers: The number of worker processes.
        host: The metrics port's host.
        port: The metrics port; None for no separate port.

    Raises:
        PortTaken: The port cannot be opened.
    """
    os.environ.pop(_FOLDER, None)  # an inherited folder holds the values of other processes
    if workers == 1 and port is None:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="qrerank-metrics-") as folder:
        os.environ[_FOLDER] = folder
        try:
            with _on_port(Path(folder), host, port):
                yield
        finally:
            del os.environ[_FOLDER]


@contextmanager
def _on_port(folder: Path, host: str, port: int | None) -> Iterator[None]:
    if port is None:
        yield
        return
    from prometheus_client import CollectorRegistry, make_wsgi_app

    from app.telemetry.worker_files import WorkerFiles

    registry = CollectorRegistry(support_collectors_without_names=True)
    registry.register(WorkerFiles(folder))
    try:
        server = _Server((host, port), _Handler)
    except (OSError, UnicodeError) as error:  # UnicodeError: not a valid host name
        raise PortTaken(
            f"/metrics cannot be served on {url_of(host, port)} ({getattr(error, 'strerror', error)}); set "
            "QRERANK_OPERATIONS__METRICS_HOST and __METRICS_PORT to a free address"
        ) from None
    server.set_app(make_wsgi_app(registry))
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    log.info("metrics are served on %s/metrics", url_of(host, port))
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
