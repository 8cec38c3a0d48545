"""What `qrerank serve` does for metrics: a folder where its workers bring theirs together, and a port of their own."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

log = logging.getLogger(__name__)

# prometheus_client decides when it is imported whether values are kept in memory or in this variable's folder. So it is
# not imported here, nor by the command line, until that is settled; worker processes are started anew, and import it
# then.
_FOLDER = "PROMETHEUS_MULTIPROC_DIR"


class PortTaken(Exception):
    """A port cannot be had. The message says what to do."""


def url_of(host: str, port: int) -> str:
    """The URL of a server that listens there. host: a name or an address, IPv6 without brackets."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host or 'localhost'}:{port}"


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
    from prometheus_client import CollectorRegistry, start_http_server

    from app.telemetry.worker_files import WorkerFiles

    registry = CollectorRegistry(support_collectors_without_names=True)
    registry.register(WorkerFiles(folder))
    try:
        server, _ = start_http_server(port, host, registry)
    except (OSError, UnicodeError) as error:  # the latter for what could not be a host's name
        raise PortTaken(
            f"/metrics cannot be served on {url_of(host, port)} ({getattr(error, 'strerror', error)}); set "
            "QRERANK_OPERATIONS__METRICS_HOST and __METRICS_PORT to an address that is free"
        ) from None
    log.info("metrics are on %s/metrics", url_of(host, port))
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
