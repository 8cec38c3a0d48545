"""The service under load: started with keys of every tier, warmed, and loaded by Locust."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import orjson

from app.auth.settings import AuthSettings
from app.auth.stores import open_records
from app.identity import Tier
from benchmarks.server import answers, running
from loadtests.pool import TOP_N, Traffic
from scripts.trial import free_port

LOCUSTFILE = Path(__file__).with_name("locustfile.py")
KEYS: Mapping[Tier, int] = {"public": 500, "standard": 300, "premium": 200, "unlimited": 1}  # as many as users at once
_ENOUGH = 10**9  # similarities an hour: the real budgets are for days of use, not for a load without a pause
_BATCH = 50  # passages of one request of the warm-up
_READY_WITHIN_S = 180.0
_PATIENCE = 30  # seconds, with a server that is not ready or has too much to do


@dataclass(frozen=True)
class Target:
    """Where requests go."""

    url: str
    key: str | None  # for the warm-up
    keys: Path | None  # every tier's, as a JSON file
    pids: Sequence[int]  # the servers' processes; none of a service elsewhere


def environment(data: Path, settings: Mapping[str, str] | None = None) -> dict[str, str]:
    """Environment of a server that asks for keys and has the usual limits, but for similarities an hour."""
    passed = ("QRERANK_MODEL_DIR", "QRERANK_MODEL")
    kept = {name: value for name, value in os.environ.items() if name in passed or not name.startswith("QRERANK_")}
    usual = {"QRERANK_DATA_DIR": str(data), "QRERANK_AUTH__ENABLED": "true", "QRERANK_ENGINE__DRAIN_SECONDS": "0"}
    for tier in ("PUBLIC", "STANDARD", "PREMIUM"):
        usual[f"QRERANK_QUOTAS__{tier}__SIMILARITIES_PER_HOUR"] = str(_ENOUGH)
    return kept | usual | dict(settings or {})


@contextmanager
def started(workers: int = 1, instances: int = 1, settings: Mapping[str, str] | None = None) -> Iterator[list[Target]]:
    """So many servers with so many worker processes each, ready, with the same keys; all end in the end."""
    with ExitStack() as stack:
        data = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="loadtests-")))
        keys = create_keys(data)
        path = data / "load-keys.json"
        path.write_bytes(orjson.dumps(keys))
        targets = []
        for _ in range(instances):
            port = free_port()
            command = [str(Path(sys.executable).parent / "qrerank"), "serve", "--port", str(port)]
            server = stack.enter_context(
                running([*command, "--workers", str(workers)], port, "/health/ready", environment(data, settings))
            )
            targets.append(Target(f"http://127.0.0.1:{port}", keys["unlimited"][0], path, [server.pid]))
        yield targets


def create_keys(folder: Path) -> dict[str, list[str]]:
    """New keys of every tier in the data folder's database."""
    records = open_records(AuthSettings(enabled=True), folder)
    keys: dict[str, list[str]] = {
        tier: [records.keys.create(f"load {number}", "user", tier, None)[1] for number in range(count)]
        for tier, count in KEYS.items()
    }
    records.database.close()
    return keys


def wait_until_ready(url: str) -> None:
    """Wait for a service that somebody else started; RuntimeError if it does not get ready."""
    end = time.monotonic() + _READY_WITHIN_S
    while not answers(f"{url}/health/ready"):
        if time.monotonic() > end:
            raise RuntimeError(f"{url} did not get ready within {_READY_WITHIN_S:.0f} s; is the address right?")
        time.sleep(0.5)


def warm(target: Target, traffic: Traffic, step: Callable[[int, int], object] = lambda *_: None) -> None:
    """Have the service read every passage of the pool and every query, one request at a time over one connection.

    step: gets how much is done, and of how much. RuntimeError for a request that is not answered.
    """
    texts, query = traffic.passages, traffic.queries[0]
    batches = [texts[at : at + _BATCH] for at in range(0, len(texts), _BATCH)]
    bodies = [{"query": query, "documents": batch, "top_n": TOP_N, "deadline_ms": 0} for batch in batches]
    requests = [("/rerank", body) for body in (*map(orjson.dumps, bodies), *traffic.bodies["large"])]
    requests += [("/v1/similarity", body) for body in traffic.bodies["similarity"]]
    headers = {"content-type": "application/json"}
    headers |= {"authorization": f"Bearer {target.key}"} if target.key else {}
    with httpx.Client(base_url=target.url, headers=headers, timeout=60) as client:
        for done, (path, body) in enumerate(requests, 1):
            _post(client, path, body)
            step(done, len(requests))


def warm_workers(target: Target, traffic: Traffic, workers: int) -> None:
    """Warm every process of a server: which one answers a connection is the kernel's choice, so many are made."""
    for _ in range(6 * workers):
        warm(target, traffic)


def load(
    target: Target, shape: str, options: Sequence[str], longest_s: float, variables: Mapping[str, str] | None = None
) -> int:
    """Let Locust load a service in a process of its own, without its page; its exit status.

    Args:
        target: where to.
        shape: how many users there are and when, for `loadtests/locustfile.py`.
        options: Locust's, beyond the usual ones.
        longest_s: how long it takes at most; RuntimeError if it is not done within a minute after that.
        variables: the environment variables that the locustfile reads, beyond keys and shape.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LOADTESTS_")}
    kept |= {"LOADTESTS_SHAPE": shape, "LOADTESTS_PIDS": " ".join(map(str, target.pids))}
    if target.keys:
        kept["LOADTESTS_KEYS"] = str(target.keys)
    elif target.key:
        kept["LOADTESTS_KEY"] = target.key
    usual = ["--headless", "--only-summary", "--stop-timeout", "10", "--host", target.url, "--loglevel", "WARNING"]
    # 0 for failed requests, too: the thresholds judge.
    command = [sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), *usual, "--exit-code-on-error", "0", *options]
    try:
        done = subprocess.run(command, env=kept | dict(variables or {}), timeout=longest_s + 60, check=False)  # noqa: S603 - ours
    except subprocess.TimeoutExpired as error:
        raise RuntimeError(f"Locust took longer than {longest_s:.0f} s") from error
    return done.returncode


def _post(client: httpx.Client, path: str, body: bytes) -> None:
    for _ in range(_PATIENCE):
        response = client.post(path, content=body)
        if response.status_code != 503:
            break
        time.sleep(1)  # one of several processes may not be ready yet
    if response.status_code != 200:
        raise RuntimeError(f"the warm-up was answered {response.status_code}: {response.text[:300]}")
