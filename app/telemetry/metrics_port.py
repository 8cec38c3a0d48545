"""What `qrerank serve` does for metrics: a folder where its workers bring theirs together, and a port of their own."""

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

# prometheus_client decides when it is imported whether values are kept in memory or in this variable's folder. So it is
# not imported here, nor by the command line, until that is settled; worker processes are started anew, and import it
# then.
_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
_CONNECTIONS = 16  # to the port, at once


class PortTaken(Exception):
    """A port cannot be had. The message says what to do."""


def url_of(host: str, port: int) -> str:
    """The URL of a server that listens there. host: a name or an address, IPv6 without brackets."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host or 'localhost'}:{port}"


class _Handler(WSGIRequestHandler):
    """One connection, of which nothing is logged."""

    timeout = 10  # seconds that a client may say nothing, or take nothing

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as in the base
        """Say nothing."""


class _Server(ThreadingMixIn, WSGIServer):
    """A thread for each connection, and so many at once: whoever connects beyond that is dropped."""

    daemon_threads = True
    request_queue_size = 128  # who finds no room is to be told at once, and not by a timeout

    def __init__(self, address: tuple[str, int], handler: type[WSGIRequestHandler]) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self._room = threading.Semaphore(_CONNECTIONS)
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Begin a thread, if there is room."""
        if self._room.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """What the thread does."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - as in the base
        """A client that left, or said nothing in time."""
        log.debug("a connection to the metrics' port failed", exc_info=True)


@contextmanager
def metrics_served(workers: int, host: str, port: int | None) -> Iterator[None]:
    """Within the block, several workers' metrics are one service's, and on a port of their own if there is to be one.

    PortTaken if it cannot be had. Call it before anything imports prometheus_client.
    """
    os.environ.pop(_FOLDER, None)  # a folder that somebody else set holds somebody else's values
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
    except (OSError, UnicodeError) as error:  # the latter for what could not be a host's name
        raise PortTaken(
            f"/metrics cannot be served on {url_of(host, port)} ({getattr(error, 'strerror', error)}); set "
            "QRERANK_OPERATIONS__METRICS_HOST and __METRICS_PORT to an address that is free"
        ) from None
    server.set_app(make_wsgi_app(registry))
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    log.info("metrics are on %s/metrics", url_of(host, port))
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
