"""Rehearse a rolling update on this machine: `make rollout`.

Two servers with the default model run behind haproxy, with keys in PostgreSQL, and quotas and states in Redis. Under
steady load each server is replaced by one of the next version, with one more migration and a changed setting: the new
one starts, the balancer finds it ready, the old one gets SIGTERM. Then one server is killed. Exit status 0 if every
response was correct, only requests in flight failed at the kill and succeeded on retry, and all servers shared keys and
quotas.
"""

from __future__ import annotations

import argparse
import secrets
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from loadtests.balancer import NoBalancer, balanced
from retrieval.encoder.weights import DEFAULT_MODEL
from scripts import trial
from scripts.rehearsal.driver import (
    NEXT_VERSION,
    REVOKED_WITHIN_S,
    VERSION,
    Admin,
    Commands,
    Installation,
    Key,
    Server,
    install,
    install_next,
    seconds_until,
)
from scripts.rehearsal.findings import Findings
from scripts.rehearsal.load import COHERE, LARGE, SERVED_BY, SOCKET, STREAM, TEI, Load, longest_pause

_KINDS = (COHERE, COHERE, TEI, TEI, STREAM, STREAM, LARGE, SOCKET, SOCKET)
_BEFORE, _AFTER = 1000, 200  # QRERANK_LIMITS__DOCUMENTS before and after the update
_LOAD_S = 10  # seconds of load alone: before, after, and after the kill
_ROUTED_WITHIN_S = 30
_HOURLY, _SPENT = 100, 40  # hourly quota of similarity pairs, and those spent before the update
# The balancer retries on another server only if a connection is refused, since then the request was not sent.
_OPTIONS = ("option redispatch 1", f"http-after-response set-header {SERVED_BY} %[srv_name]", "timeout tunnel 1h")


@dataclass
class Site:
    """A balancer with four backend addresses, and the servers that run on some of them."""

    findings: Findings
    url: str
    ports: Sequence[int]
    folder: Path
    stack: ExitStack
    admin: Admin
    running: dict[int, Server] = field(default_factory=dict)  # by backend slot

    def start(self, version: Installation, slot: int) -> Server:
        """Start a server on a backend address, with its own data folder."""
        place = version.with_settings(QRERANK_DATA_DIR=self.folder / f"data-{slot}")
        self.running[slot] = self.stack.enter_context(place.server(port=self.ports[slot]))
        return self.running[slot]

    def part(self, name: str, load: Load, do: Callable[[], None] = lambda: time.sleep(_LOAD_S)) -> None:
        """Run a step under load; by default only wait."""
        start, before = time.monotonic(), len(load.records)
        do()
        end = time.monotonic()
        pause = longest_pause(load.records, start, end)
        print(
            f"  ({name}: {end - start:.0f} s, {len(load.records) - before} requests, "
            f"longest time without a response {1000 * pause:.0f} ms)",
            flush=True,
        )

    def replace(self, leaving: int, coming: int, version: Installation, load: Load) -> None:
        """Start a server of the next version on a free address, then send SIGTERM to an old one."""
        old, new, name = self.running.pop(leaving), self.start(version, coming), f"replica{coming + 1}"
        seconds = seconds_until(lambda: any(record.server == name for record in load.records[-1000:]), _ROUTED_WITHIN_S)
        self.findings.check(f"{name} is ready and gets requests from the balancer", seconds < _ROUTED_WITHIN_S)
        infos = [trial.ask(server.port, "GET", "/info")[1] for server in (old, new)]
        reported = [(info["version"], info["max_client_batch_size"]) for info in infos]
        expected = [(VERSION, _BEFORE), (NEXT_VERSION, _AFTER)]
        self.findings.check("/info reports each version and its setting", reported == expected, reported)
        body = {"query": "owl", "documents": ["an owl"] * (_AFTER + 1), "top_n": 1}
        results = [trial.ask(server.port, "POST", "/rerank", body, self.admin.key.secret)[0] for server in (old, new)]
        self.findings.check(f"the setting's effect: {_AFTER + 1} documents", results == [200, 413], results)
        results = [compare(other, self.admin.create(server, "made")) for server, other in ((old, new), (new, old))]
        self.findings.check("a key created on either version is accepted by the other", results == [200, 200], results)
        status = old.stop()
        self.findings.check(f"replica{leaving + 1} drained and exited", status == 0, f"exit status {status}")

    def kill(self, slot: int, load: Load) -> None:
        """Send SIGKILL to a busy server, then wait under load."""
        start = time.monotonic()
        self.running.pop(slot).stop(signal.SIGKILL)
        end = time.monotonic()  # until now it accepted connections: the kernel frees the memory before the sockets
        time.sleep(_LOAD_S)
        load.stop()
        judge_kill(self.findings, load, start, end)


def judge_kill(findings: Findings, load: Load, start: float, end: float) -> None:
    """Check that only requests in flight between these times failed, and that all succeeded on retry."""
    in_flight = [record for record in load.records if record.begun <= end and record.ended >= start]
    others = [record for record in load.records if record.failures and record not in in_flight]
    findings.check("only requests in flight failed", not others, f"{len(in_flight)} in flight, {others[:3] or load}")
    findings.check("all failed requests succeeded on retry", load.lossless())


def compare(server: Server, key: Key) -> int:
    """The status of a similarity request for one pair of texts."""
    pair = {"text1": "which bird sings", "text2": "an owl"}
    return trial.ask(server.port, "POST", "/v1/similarity", pair, key.secret)[0]


def rehearse(model: str = DEFAULT_MODEL) -> int:
    """Rehearse, printing the checks; return the exit status."""
    findings = Findings()
    with _site(findings, model) as (site, old):
        new = install_next(old.with_settings(QRERANK_LIMITS__DOCUMENTS=_AFTER), site.folder / "next")
        findings.begin(f"Two servers of version {VERSION} with {model}")
        first, second = site.start(old, 0), site.start(old, 1)
        caller, spender = site.admin.create(first, "caller"), site.admin.create(first, "spender", "standard")
        revoked = site.admin.create(first, "revoked")
        accepted = [compare(server, revoked) for server in (first, second)]
        site.admin.revoke(first, revoked)
        seconds = seconds_until(lambda: compare(second, revoked) == 401, 2 * REVOKED_WITHIN_S)
        passed = accepted == [200, 200] and seconds <= REVOKED_WITHIN_S
        findings.check("a key revoked on one server is rejected by the other", passed, f"after {seconds:.1f} s")
        spent = [compare((first, second)[at % 2], spender) for at in range(_SPENT)]
        with Load(_KINDS, caller.secret, site.url, attempts=4) as load:
            findings.begin(f"Each replaced by one of version {NEXT_VERSION}, QRERANK_LIMITS__DOCUMENTS={_AFTER}")
            site.part("before", load)
            site.part("first replaced", load, lambda: site.replace(0, 2, new, load))
            site.part("second replaced", load, lambda: site.replace(1, 3, new, load))
            site.part("after", load)
            findings.check("every response was correct without a retry", load.lossless() and not load.failed(), load)
            third, fourth = site.running.values()
            rest = [compare((third, fourth)[at % 2], spender) for at in range(_HOURLY - _SPENT + 10)]
            counts = [spent.count(200), rest.count(200), rest.count(429)]
            passed = counts == [_SPENT, _HOURLY - _SPENT, 10]
            findings.check(f"all four share the hourly quota of {_HOURLY} pairs, and reject more", passed, counts)
            findings.begin("One killed with SIGKILL")
            site.part("one killed", load, lambda: site.kill(2, load))
    return findings.verdict()


@contextmanager
def _site(findings: Findings, model: str) -> Iterator[tuple[Site, Installation]]:
    """Start the balancer, PostgreSQL and Redis; prepare this version with the settings of all replicas."""
    from tests.postgres_server import PostgresServer
    from tests.redis_server import RedisServer

    ports = [trial.free_port() for _ in range(4)]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="qrerank-rollout-")))
        url = stack.enter_context(balanced([f"http://127.0.0.1:{port}" for port in ports], _OPTIONS))
        redis, database = stack.enter_context(RedisServer()), stack.enter_context(PostgresServer())
        old = install(
            folder / "now",
            Commands(),
            QRERANK_MODEL=model,
            QRERANK_AUTH__DATABASE_URL=database.database(),
            QRERANK_AUTH__PEPPER=secrets.token_hex(32),
            QRERANK_QUOTAS__REDIS_URL=f"{redis.url}/0",
            QRERANK_QUOTAS__REDIS_TIMEOUT_S=10,
            QRERANK_QUOTAS__STANDARD__SIMILARITIES_PER_HOUR=_HOURLY,
            QRERANK_QUOTAS__PRICES__HYBRID=1,
            QRERANK_CACHE__REDIS_URL=f"{redis.url}/1",
            QRERANK_ENGINE__DRAIN_SECONDS=5,
            QRERANK_LIMITS__DOCUMENTS=_BEFORE,
        )
        yield Site(findings, url, ports, folder, stack, Admin(old)), old


def main() -> None:
    """Parse the command line and rehearse."""
    parser = argparse.ArgumentParser(description="Rehearse a rolling update with real servers under load.")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="the servers' model; hash needs no weights")
    try:
        sys.exit(rehearse(parser.parse_args().model))
    except NoBalancer as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
