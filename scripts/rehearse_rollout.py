"""Rehearse a rolling update on this machine: `make rollout`.

Two servers with the default model are behind haproxy, keys are in a real PostgreSQL, limits and states in a real Redis.
Under steady load each server is replaced by one of the next version, with one migration more and a changed setting: the
new one starts, the balancer finds it ready, the old one gets SIGTERM. Then one is killed. Exit status 0 if every answer
was right at once, at the kill only requests in flight failed and were answered again, and keys and limits were shared.
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
_BEFORE, _AFTER = 1000, 200  # documents that a request may have: the setting that changes
_QUIET_S = 10  # of load alone: before, after, and after the kill
_SEEN_WITHIN_S = 30
_HOURLY, _SPENT = 100, 40  # pairs of the tier standard, and those that are asked for before the update
# A server that refuses connections has not taken the request, so it is sent to another one. Nothing else is sent twice.
_OPTIONS = ("option redispatch 1", f"http-after-response set-header {SERVED_BY} %[srv_name]", "timeout tunnel 1h")


@dataclass
class Site:
    """A balancer before four addresses, and the servers on some of them."""

    findings: Findings
    url: str
    ports: Sequence[int]
    folder: Path
    stack: ExitStack
    admin: Admin
    running: dict[int, Server] = field(default_factory=dict)  # by their places at the balancer

    def start(self, version: Installation, slot: int) -> Server:
        """Start a server on an address of the balancer; it has a data folder of its own."""
        place = version.with_settings(QRERANK_DATA_DIR=self.folder / f"data-{slot}")
        self.running[slot] = self.stack.enter_context(place.server(port=self.ports[slot]))
        return self.running[slot]

    def part(self, name: str, load: Load, do: Callable[[], None] = lambda: time.sleep(_QUIET_S)) -> None:
        """Do something under load; by default nothing, for a while."""
        begun, before = time.monotonic(), len(load.records)
        do()
        end = time.monotonic()
        pause = longest_pause(load.records, begun, end)
        print(
            f"  ({name}: {end - begun:.0f} s, {len(load.records) - before} requests, "
            f"{1000 * pause:.0f} ms without an answer at the most)",
            flush=True,
        )

    def replace(self, leaving: int, coming: int, version: Installation, load: Load) -> None:
        """A server of the next version at a free address, then SIGTERM for an old one."""
        old, new, name = self.running.pop(leaving), self.start(version, coming), f"replica{coming + 1}"
        seen = seconds_until(lambda: any(one.server == name for one in load.records[-1000:]), _SEEN_WITHIN_S)
        self.findings.check(f"{name} is ready, and the balancer sends it requests", seen < _SEEN_WITHIN_S)
        infos = [trial.ask(server.port, "GET", "/info")[1] for server in (old, new)]
        said = [(info["version"], info["max_client_batch_size"]) for info in infos]
        expected = [(VERSION, _BEFORE), (NEXT_VERSION, _AFTER)]
        self.findings.check("old and new say their version and the changed setting", said == expected, said)
        body = {"query": "owl", "documents": ["an owl"] * (_AFTER + 1), "top_n": 1}
        taken = [trial.ask(server.port, "POST", "/rerank", body, self.admin.key.secret)[0] for server in (old, new)]
        self.findings.check(f"the setting's effect: {_AFTER + 1} documents", taken == [200, 413], taken)
        opened = [compare(there, self.admin.create(here, "made")) for here, there in ((old, new), (new, old))]
        self.findings.check("a key made at either version opens the other at once", opened == [200, 200], opened)
        status = old.stop()
        self.findings.check(f"replica{leaving + 1} drained and exited", status == 0, f"exit status {status}")

    def kill(self, slot: int, load: Load) -> None:
        """SIGKILL for a server that is at work, then load alone."""
        begun = time.monotonic()
        self.running.pop(slot).stop(signal.SIGKILL)
        over = time.monotonic()  # until now it took connections: the system closes them after it took back the memory
        time.sleep(_QUIET_S)
        load.stop()
        judge_kill(self.findings, load, begun, over)


def judge_kill(findings: Findings, load: Load, begun: float, over: float) -> None:
    """Only requests that were in flight between these times may have failed, and none may be lost."""
    flying = [record for record in load.records if record.begun <= over and record.ended >= begun]
    strays = [record for record in load.records if record.failures and record not in flying]
    findings.check("only requests in flight failed", not strays, f"{len(flying)} in flight, {strays[:3] or load}")
    findings.check("all that failed were answered when they were sent again", load.lossless())


def compare(server: Server, key: Key) -> int:
    """The status that a server gives to one pair of texts."""
    pair = {"text1": "which bird sings", "text2": "an owl"}
    return trial.ask(server.port, "POST", "/v1/similarity", pair, key.secret)[0]


def rehearse(model: str = DEFAULT_MODEL) -> int:
    """Rehearse, printing as it goes; the exit status."""
    findings = Findings()
    with _site(findings, model) as (site, old):
        new = install_next(old.with_settings(QRERANK_LIMITS__DOCUMENTS=_AFTER), site.folder / "next")
        findings.begin(f"Two servers of version {VERSION} with {model}")
        first, second = site.start(old, 0), site.start(old, 1)
        caller, spender = site.admin.create(first, "caller"), site.admin.create(first, "spender", "standard")
        revoked = site.admin.create(first, "revoked")
        opened = [compare(server, revoked) for server in (first, second)]
        site.admin.revoke(first, revoked)
        seconds = seconds_until(lambda: compare(second, revoked) == 401, 2 * REVOKED_WITHIN_S)
        held = opened == [200, 200] and seconds <= REVOKED_WITHIN_S
        findings.check("a key revoked at one server is refused by the other", held, f"after {seconds:.1f} s")
        spent = [compare((first, second)[at % 2], spender) for at in range(_SPENT)]
        with Load(_KINDS, caller.secret, site.url, attempts=4) as load:
            findings.begin(f"Each replaced by one of version {NEXT_VERSION}, QRERANK_LIMITS__DOCUMENTS={_AFTER}")
            site.part("before", load)
            site.part("first replaced", load, lambda: site.replace(0, 2, new, load))
            site.part("second replaced", load, lambda: site.replace(1, 3, new, load))
            site.part("after", load)
            findings.check("every answer was right at once", load.lossless() and not load.failed(), load)
            third, fourth = site.running.values()
            rest = [compare((third, fourth)[at % 2], spender) for at in range(_HOURLY - _SPENT + 10)]
            counts = [spent.count(200), rest.count(200), rest.count(429)]
            held = counts == [_SPENT, _HOURLY - _SPENT, 10]
            findings.check(f"all four together let the hour's {_HOURLY} pairs pass, and refuse more", held, counts)
            findings.begin("One killed with SIGKILL")
            site.part("one killed", load, lambda: site.kill(2, load))
    return findings.verdict()


@contextmanager
def _site(findings: Findings, model: str) -> Iterator[tuple[Site, Installation]]:
    """The balancer, PostgreSQL, Redis, and this version with the settings of all replicas."""
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
    """Read the command line and rehearse."""
    parser = argparse.ArgumentParser(description="Rehearse a rolling update with real servers under load.")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="what the servers rank with; hash needs no weights")
    try:
        sys.exit(rehearse(parser.parse_args().model))
    except NoBalancer as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
