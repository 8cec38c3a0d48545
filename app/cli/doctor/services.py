"""Servers: those that the settings name, the ports to listen on, and whether others may reach us."""

from __future__ import annotations

import http.client
import json
import logging
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from urllib.parse import urlsplit

from app.cli.doctor.finding import Check, Finding, judged
from app.errors import KeysUnavailable
from app.server.startup_checks import Exposed, bare, check_exposure, free_port
from app.settings import Settings
from app.telemetry.metrics_port import PortTaken
from retrieval.errors import RetrievalError

_PATIENCE_S = 2.0
_MOST_SKEW_S = 5.0
_METRICS = b"# HELP qrerank_"
_OFF = "not configured"
_PORTS = {"http": 80, "https": 443}


def listening(host: str, port: int) -> Check:
    """The check of the address that `serve` would listen on: who may reach it, and whether it is free."""

    def check(settings: Settings) -> Iterator[Finding]:
        try:
            check_exposure(settings, bare(host))
            who = "keys are needed" if settings.auth.enabled else "no key is needed"
            yield Finding("access", "ok", f"{host}: {who}")
        except (Exposed, RetrievalError, PortTaken) as error:
            yield _fault("access", error)
        yield _port("port", bare(host), port)
        if (metrics_port := settings.operations.metrics_port) is None:
            return
        metrics_host = bare(settings.operations.metrics_host or host)
        if (metrics_host, metrics_port) == (bare(host), port):
            yield Finding("metrics port", "error", f"{port} is the service's own", "choose another one")
        else:
            yield _port("metrics port", metrics_host, metrics_port)

    return check


def _port(check: str, host: str, port: int) -> Finding:
    try:
        free_port(host, port)
    except PortTaken as error:
        if _is_alive(host, port):
            return Finding(check, "ok", f"{port}: quantum-rerank serves there")
        return _fault(check, error)
    return Finding(check, "ok", f"{port} is free")


def _is_alive(host: str, port: int) -> bool:
    """Whether what listens there is this service, or its metrics, which are the answer to any path."""
    with closing(http.client.HTTPConnection(host, port, timeout=_PATIENCE_S)) as connection:
        try:
            connection.request("GET", "/health")
            answer = connection.getresponse().read(100)
            return answer.startswith(_METRICS) or bool(json.loads(answer) == {"status": "alive"})
        except (OSError, http.client.HTTPException, ValueError):
            return False


def redis(settings: Settings) -> Iterator[Finding]:
    """Whether the Redis of states and that of quotas answer, and whether their clocks agree with ours."""
    states, quotas = settings.cache.redis_url, settings.quotas.redis_url
    yield _redis("Redis of states", states.get_secret_value()) if states else Finding("Redis of states", "off", _OFF)
    if quotas:
        yield _redis("Redis of quotas", quotas.get_secret_value())
    else:
        yield Finding("Redis of quotas", "off", "that of the states" if states else _OFF)


def _redis(check: str, url: str) -> Finding:
    from retrieval.states.redis_client import FAILURES, RedisUrlError, address, connect  # redis-py takes 0.3 s

    try:
        client = connect(url, _PATIENCE_S)
    except RedisUrlError as error:
        return _fault(check, error)
    with closing(client):
        try:
            client.ping()
            begun = time.perf_counter()
            seconds, microseconds = client.time()
        except FAILURES as error:
            remedy = "start it, or correct the URL; requests are served meanwhile, slower"
            return Finding(check, "error", f"{address(client)} does not answer: {type(error).__name__}", remedy)
        took, skew = time.perf_counter() - begun, abs(time.time() - seconds - microseconds / 1e6)
        fault = f"its clock is {skew:.0f} s off" if skew > _MOST_SKEW_S else None
        return judged(check, f"{address(client)} answers in {1e3 * took:.1f} ms", fault, "keep both clocks by NTP")


def keys(settings: Settings) -> Iterator[Finding]:
    """Whether the database of keys answers and is of this version. It is not migrated."""
    auth = settings.auth
    if not (auth.enabled or auth.database_url or settings.feedback.enabled):
        yield Finding("keys", "off", "authentication is off")
        return
    from app.auth.stores import open_records  # imported on use: SQLAlchemy takes memory

    logging.getLogger("app.auth").setLevel(logging.ERROR)  # a failure is a finding anyway
    name = "PostgreSQL" if auth.database_url else "SQLite"
    if not auth.database_url and not (settings.data_dir / "auth.sqlite3").exists():
        yield Finding("keys", "warning", "there is no key yet", "`qrerank keys create`")
        return
    try:
        stores = open_records(auth, settings.data_dir)
        with closing(stores.database):
            if not stores.database.is_current():
                remedy = "the next start brings them up to date; make a backup first"
                yield Finding("keys", "warning", f"{name}: the tables are of another version", remedy)
                return
            count = len(stores.keys.all())
    except KeysUnavailable as error:
        yield Finding("keys", "error", f"{name}: {error.reason}", "correct QRERANK_AUTH__DATABASE_URL, or start it")
        return
    has_some = count or auth.keys or auth.jwt.taken
    yield judged("keys", f"{name}: {count} keys", None if has_some else "nobody can call", "`qrerank keys create`")


def milvus(settings: Settings) -> Iterator[Finding]:
    """Whether the Milvus of collections answers."""
    server = settings.index.open(1)
    if server is None:
        yield Finding("Milvus", "off", _OFF)
        return
    with closing(server):
        begun = time.perf_counter()
        try:
            server.check()
        except RetrievalError as error:
            remedy = "start it, or correct QRERANK_INDEX__URL; no restart is needed"
            yield Finding("Milvus", "error", f"{server.address}: {error}", remedy)
        else:
            yield Finding("Milvus", "ok", f"{server.address} answers in {1e3 * (time.perf_counter() - begun):.1f} ms")


def addresses(settings: Settings) -> Iterator[Finding]:
    """Whether something listens at the other URLs of the settings. Nothing is sent: a model's server costs money."""
    urls = {
        "QRERANK_ENCODER__REMOTE__URL": settings.encoder.remote.url,
        "QRERANK_AUTH__JWT__JWKS_URL": settings.auth.jwt.jwks_url,
        "QRERANK_TRACING__ENDPOINT": settings.tracing.endpoint,
    }
    for variable, url in urls.items():
        if url is None:
            continue
        parts = urlsplit(str(url))
        host, port = parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 443)
        try:
            socket.create_connection((host, port), timeout=_PATIENCE_S).close()
        except OSError as error:
            found = f"{host}:{port} cannot be reached: {error.strerror or error}"
            yield Finding(variable, "error", found, f"start that server, or correct {variable}")
        else:
            yield Finding(variable, "ok", f"{host}:{port} accepts connections")


def _fault(check: str, error: Exception) -> Finding:
    """The finding of an error whose message says what is wrong, and then what to do."""
    wrong, _, remedy = str(error).partition(": " if isinstance(error, Exposed) else "; ")
    return Finding(check, "error", wrong, remedy or "correct it, or the setting that names it")
