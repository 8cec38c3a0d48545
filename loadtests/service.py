"""The service under load: started with keys of every tier, warmed, and loaded by Locust."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import orjson

from app.auth.settings import AuthSettings
from app.auth.stores import open_records
from app.identity import Tier
from benchmarks.server import ours
from loadtests.mix import TIERS, TOP_N, Traffic

LOCUSTFILE = Path(__file__).with_name("locustfile.py")
KEYS: Mapping[Tier, int] = {"public": 500, "standard": 300, "premium": 200, "unlimited": 1}  # as many as users at once
_ENOUGH = 10**9  # similarities an hour: the real budgets are for days of use, not for a load without a pause
_BATCH = 50  # passages of one request of the warm-up
_PATIENCE = 30  # seconds, with a server that is not ready or has too much to do


@dataclass(frozen=True)
class Target:
    """Where requests go."""

    url: str
    key: str | None  # for the warm-up
    keys: Path | None  # every tier's, as a JSON file
    pids: Sequence[int]  # the servers' processes; none of a service elsewhere


@contextmanager
def started(instances: int = 1, **settings: Any) -> Iterator[list[Target]]:
    """Servers that ask for the same keys, ready, with the usual limits but for similarities an hour.

    settings: as of `benchmarks.server.ours`. QRERANK_MODEL is passed on.
    """
    with ExitStack() as stack:
        data = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="loadtests-")))
        records, path = open_records(AuthSettings(enabled=True), data), data / "load-keys.json"
        keys = {
            tier: [records.keys.create(f"load {number}", "user", tier, None)[1] for number in range(count)]
            for tier, count in KEYS.items()
        }
        records.database.close()
        path.write_bytes(orjson.dumps(keys))
        given: dict[str, Any] = {"data_dir": data, "auth__enabled": "true"}
        given |= {f"quotas__{tier}__similarities_per_hour": _ENOUGH for tier in TIERS}
        given |= {"model": os.environ["QRERANK_MODEL"]} if "QRERANK_MODEL" in os.environ else {}
        servers = [stack.enter_context(ours(**given | settings)) for _ in range(instances)]
        yield [Target(each.url, keys["unlimited"][0], path, [each.pid]) for each in servers]


def warm(target: Target, traffic: Traffic) -> None:
    """Have the service read all passages and queries, one request at a time; RuntimeError if one is not answered."""
    texts, query = traffic.passages, traffic.queries[0]
    batches = [texts[at : at + _BATCH] for at in range(0, len(texts), _BATCH)]
    bodies = [{"query": query, "documents": batch, "top_n": TOP_N, "deadline_ms": 0} for batch in batches]
    requests = [("/rerank", body) for body in (*map(orjson.dumps, bodies), *traffic.bodies["large"])]
    requests += [("/v1/similarity", body) for body in traffic.bodies["similarity"]]
    headers = {"content-type": "application/json"}
    headers |= {"authorization": f"Bearer {target.key}"} if target.key else {}
    with httpx.Client(base_url=target.url, headers=headers, timeout=60) as client:
        for path, body in requests:
            _post(client, path, body)


def _post(client: httpx.Client, path: str, body: bytes) -> None:
    for _ in range(_PATIENCE):
        response = client.post(path, content=body)
        if response.status_code != 503:
            break
        time.sleep(1)  # one of several processes may not be ready yet
    if response.status_code != 200:
        raise RuntimeError(f"the warm-up was answered {response.status_code}: {response.text[:300]}")


def load(target: Target, shape: str, options: Sequence[str], seconds: float, **variables: str) -> int:
    """Let Locust load a service in a process of its own, without its page; its exit status.

    Args:
        target: where to.
        shape: how many users there are and when, for `loadtests/locustfile.py`.
        options: Locust's, beyond the usual ones.
        seconds: how long it takes; RuntimeError if it is not done a minute after that.
        variables: the environment variables that the locustfile reads, beyond keys and shape.
    """
    given = {name: value for name, value in os.environ.items() if not name.startswith("LOADTESTS_")}
    given |= {"LOADTESTS_SHAPE": shape, "LOADTESTS_PIDS": " ".join(map(str, target.pids))}
    given |= {"LOADTESTS_KEYS": str(target.keys)} if target.keys else {}
    given |= {"LOADTESTS_KEY": target.key} if target.key and not target.keys else {}
    usual = ["--headless", "--only-summary", "--stop-timeout", "10", "--host", target.url, "--loglevel", "ERROR"]
    # 0 for failed requests, too: the thresholds judge.
    command = [sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), *usual, "--exit-code-on-error", "0", *options]
    try:
        done = subprocess.run(command, env=given | variables, timeout=seconds + 60, check=False)  # noqa: S603 - ours
    except subprocess.TimeoutExpired as error:
        raise RuntimeError(f"Locust took longer than {seconds:.0f} s") from error
    return done.returncode
