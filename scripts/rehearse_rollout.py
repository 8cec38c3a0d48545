"""Rehearse a rolling update on this machine: `make rollout`.

Two servers with the default model run behind haproxy, with keys in PostgreSQL, and quotas and states in Redis. Under
steady load each server is replaced by one of the next version, with one more migration and a changed setting: the new
one starts, the balancer finds it ready, the old one gets SIGTERM. Then one server is killed. Exit status 0 if every
response was correct, only requests in flight failed at the kill and succeeded on retry, and both versions shared keys.
"""

from __future__ import annotations

import secrets
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import typer

from benchmarks.server import Server
from loadtests.balancer import balanced
from retrieval.encoder.weights import DEFAULT_MODEL
from scripts import trial
from scripts.debian import Missing
from scripts.rehearsal import driver
from scripts.rehearsal.driver import Installation, Key
from scripts.rehearsal.load import RERANK, SERVED_BY, STREAM, Load
from scripts.trial import Findings

_PATHS = (RERANK, RERANK, RERANK, STREAM, STREAM, STREAM)
_BEFORE, _AFTER = 1000, 200  # QRERANK_LIMITS__DOCUMENTS before and after the update
_LOAD_S = 10  # seconds of load alone: before, after, and after the kill
_ROUTED_WITHIN_S = 30
# The balancer retries on another server only if a connection is refused, since then the request was not sent.
_OPTIONS = ("option redispatch 1", f"http-after-response set-header {SERVED_BY} %[srv_name]")


def check_replaced(findings: Findings, old: Server, new: Server, admin: Key) -> None:
    """Check that both versions tell of themselves and share keys, and that the old one drains."""
    infos = [driver.ask(server, "GET", "/info") for server in (old, new)]
    reported = [(info["version"], info["max_client_batch_size"]) for info in infos]
    expected = [(driver.VERSION, _BEFORE), (driver.NEXT_VERSION, _AFTER)]
    findings.check("/info reports each version and its setting", reported == expected, reported)
    by_old, by_new = (driver.create_keys(server, admin, "made")[0] for server in (old, new))
    results = driver.statuses(new, by_old) + driver.statuses(old, by_new)
    findings.check("a key created on either version is accepted by the other", results == [200, 200], results)
    status = old.stop()
    findings.check("the old one drained and exited", status == 0, f"exit status {status}")


def judge_kill(findings: Findings, load: Load, failed_before: int) -> None:
    """Check that no more than the request of each client that was in flight failed, and succeeded on retry."""
    passed = load.failed - failed_before <= len(_PATHS) and load.lossless()
    findings.check("only requests in flight failed, and succeeded on retry", passed, load)


def update(findings: Findings, load: Load, running: list[Server], start: Callable[[int], Server], admin: Key) -> None:
    """Replace the servers that run, one after the other, by new ones that `start` starts on free addresses."""
    for slot in (2, 3):
        leaving, coming, name = running.pop(0), start(slot), f"replica{slot + 1}"
        running.append(coming)
        seconds = driver.seconds_until(partial(load.servers.get, name), _ROUTED_WITHIN_S)
        findings.check(f"{name} is ready and gets requests from the balancer", seconds < _ROUTED_WITHIN_S)
        check_replaced(findings, leaving, coming, admin)


def settings(model: str, database_url: str, redis_url: str) -> dict[str, str | int]:
    """What all replicas are given."""
    return {
        "QRERANK_MODEL": model,
        "QRERANK_AUTH__DATABASE_URL": database_url,
        "QRERANK_AUTH__PEPPER": secrets.token_hex(32),
        "QRERANK_QUOTAS__REDIS_URL": f"{redis_url}/0",
        "QRERANK_CACHE__REDIS_URL": f"{redis_url}/1",
        "QRERANK_ENGINE__DRAIN_SECONDS": 5,
        "QRERANK_LIMITS__DOCUMENTS": _BEFORE,
    }


def rehearse(model: str) -> int:
    """Rehearse, printing the checks; return the exit status."""
    from tests.postgres_server import PostgresServer
    from tests.redis_server import RedisServer

    findings, ports = Findings(), [trial.free_port() for _ in range(4)]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="qrerank-rollout-")))
        url = stack.enter_context(balanced([f"http://127.0.0.1:{port}" for port in ports], _OPTIONS))
        redis, database = stack.enter_context(RedisServer()), stack.enter_context(PostgresServer())
        old = driver.install(folder / "now", driver.Commands(), **settings(model, database.database(), redis.url))
        new = driver.install_next(old.with_settings(QRERANK_LIMITS__DOCUMENTS=_AFTER), folder / "next")
        admin = driver.create_admin(old)

        def start(version: Installation, slot: int) -> Server:
            place = version.with_settings(QRERANK_DATA_DIR=folder / f"data-{slot}")
            return stack.enter_context(place.server(port=ports[slot]))

        findings.begin(f"Two servers of version {driver.VERSION} with {model}")
        running = [start(old, 0), start(old, 1)]
        (caller,) = driver.create_keys(running[0], admin, "caller")
        with Load(caller["key"], url, paths=_PATHS, attempts=4) as load:
            findings.begin(f"Each replaced by one of version {driver.NEXT_VERSION}, QRERANK_LIMITS__DOCUMENTS={_AFTER}")
            time.sleep(_LOAD_S)
            update(findings, load, running, partial(start, new), admin)
            time.sleep(_LOAD_S)
            findings.check("every response was correct without a retry", load.lossless() and not load.failed, load)
            findings.begin("One killed with SIGKILL")
            failed = load.failed
            running[0].stop(signal.SIGKILL)
            time.sleep(_LOAD_S)
            load.stop()
            judge_kill(findings, load, failed)
    return findings.verdict()


def main(model: str = DEFAULT_MODEL) -> None:
    """Rehearse a rolling update."""
    try:
        sys.exit(rehearse(model))
    except Missing as error:
        sys.exit(str(error))


if __name__ == "__main__":
    typer.run(main)
