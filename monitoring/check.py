"""Check the dashboard's queries and the alert rules with promtool and Prometheus: `make chart`.

Exit status 0: all checks passed; 1: a check failed; 77: promtool or Prometheus is missing, so checks were skipped.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import jwt
import yaml

from app.cli.index import DEMO, build_demo
from app.settings import Settings
from benchmarks.server import Server, ours, running
from monitoring.queries import ALERTS, of_the_dashboard, of_the_rules, rules
from retrieval.encoder.hash_encoder import HashEncoder
from scripts.debian import ROOT, Missing, had, run
from scripts.trial import free_port

SKIPPED = 77
TESTS = Path(__file__).with_name("alerts_test.yml")
CONFIGURATION = ROOT / "deploy" / "prometheus.yml"
_WITHIN_S = 120

SECRET = "a-secret-for-tokens-of-at-least-thirty-two-bytes"  # noqa: S105 - for tests only
# A service with quotas, an unreachable Redis and token issuer, and capacity for one large request.
SETTINGS: dict[str, object] = {
    "model": "hash",
    "auth": {"enabled": True, "jwt": {"secret": SECRET, "jwks_url": "http://127.0.0.1:9/jwks.json"}},
    "cache": {"redis_url": "redis://127.0.0.1:9"},
    "quotas": {"public": {"requests_per_minute": 2}},
    "engine": {"requests": 1, "queue_requests": 0, "drain_seconds": 0},
}

_QUERY = "which bird sings at night"
_TEXTS = [f"the nightingale number {number} sings after dusk" for number in range(120)]
_fresh = count()


def check_files(promtool: Path, tests: Path = TESTS) -> None:
    """Check rules and configuration with promtool, and run the rules' tests. Raises RuntimeError."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for path in (CONFIGURATION, ALERTS):
            shutil.copy(path, folder)
        for command in (("check", "rules", ALERTS), ("test", "rules", tests), ("check", "config", CONFIGURATION.name)):
            status, output = run(promtool, *command, folder=folder)
            if status:
                raise RuntimeError(f"promtool {' '.join(map(str, command))}:\n{output}")
    print(f"promtool: {len(rules())} rules, their tests and deploy/{CONFIGURATION.name} passed")


@contextmanager
def scraping(program: Path, service: int) -> Iterator[str]:
    """Run Prometheus with docker-compose.yml's configuration and the rules; its URL. It scrapes every second."""
    config = yaml.safe_load(CONFIGURATION.read_text(encoding="utf-8"))
    config["global"] = dict.fromkeys(config["global"], "1s")
    config["rule_files"] = [str(ALERTS.resolve())]
    config["scrape_configs"][0]["static_configs"] = [{"targets": [f"127.0.0.1:{service}"]}]
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "prometheus.yml"
        file.write_text(json.dumps(config), encoding="utf-8")  # which is YAML
        options = (f"--config.file={file}", f"--storage.tsdb.path={folder}/data")
        command = [str(program), *options, f"--web.listen-address=127.0.0.1:{port}"]
        with running(command, port, "/-/ready", {}, Path(folder)) as server:
            yield server.url


@contextmanager
def exercised() -> Iterator[Server]:
    """A service with a collection and all features that have metrics."""
    with tempfile.TemporaryDirectory() as folder:
        build_demo(Settings(**SETTINGS, data_dir=Path(folder)), HashEncoder(), lambda *_: None)  # type: ignore[arg-type]
        nested = {
            name: json.dumps(value) if isinstance(value, dict) else str(value) for name, value in SETTINGS.items()
        }
        with ours(**nested, data_dir=folder) as server:
            yield server


def token(tier: str) -> dict[str, str]:
    """The authorization header of a caller of this tier."""
    claims = {"sub": f"{tier} user", "tier": tier, "role": "user", "exp": time.time() + 3600}
    return {"Authorization": f"Bearer {jwt.encode(claims, SECRET, 'HS256')}"}


def exercise(client: httpx.Client, collection: str) -> None:
    """Send requests of every kind. RuntimeError if a valid one fails, or overload or quotas cannot be provoked."""
    known = token("standard")
    for path, body in _answered(collection):
        answer = client.request("POST", path, json=body, headers=token("unlimited"))
        if answer.status_code != 200:
            raise RuntimeError(f"{path} answered {answer.status_code} to {body}")
    for method, path, body in _refused():
        client.request(method, path, json=body, headers=known)
    for path in ("/health", "/health/ready", "/metrics", "/docs", "/v1/models"):
        client.request("GET", path, headers=known)
    client.request("POST", "/rerank", json={"query": _QUERY, "documents": _TEXTS[:3]}, headers={})
    _until(429, lambda: [_rerank(client, _TEXTS[:3], "public")], "a quota")
    with ThreadPoolExecutor(8) as threads:
        _until(503, lambda: list(threads.map(lambda _: _rerank(client, _many(), "unlimited"), range(8))), "overload")


def _answered(collection: str) -> Iterator[tuple[str, object]]:
    for method in ("classical", "quantum", "hybrid"):
        for number in (3, 30, 100, 120):
            yield "/v1/rerank", {"query": _QUERY, "documents": _TEXTS[:number], "method": method, "deadline_ms": 60_000}
    yield "/rerank", {"query": _QUERY, "texts": _TEXTS[:5]}  # TEI's
    yield "/v1/rerank", {"query": _QUERY, "documents": _TEXTS[:5], "top_k": 2, "model": "rerank-2.5"}  # Voyage's
    yield "/v1/rerank/stream", {"query": _QUERY, "documents": _TEXTS[:5]}
    yield "/rerank", {"query": _QUERY, "documents": _many(), "deadline_ms": 1}  # most are left unread
    yield "/rerank", {"query": _QUERY, "collection": collection}
    yield "/v1/similarity", {"text1": _TEXTS[0], "text2": _TEXTS[1]}
    yield "/v1/embeddings", {"input": _TEXTS[:2]}


def _refused() -> Iterator[tuple[str, str, object]]:
    yield "POST", "/rerank", {"query": _QUERY}  # no collection is the default one
    yield "POST", "/rerank", {"query": _QUERY, "collection": "unknown"}
    yield "POST", "/rerank", {"documents": 1}
    yield "POST", "/rerank", {"query": _QUERY, "documents": _TEXTS}  # too many for the tier
    yield "GET", "/nowhere", None


def _many() -> list[str]:
    """New documents, which no cache contains."""
    return [f"{text} {next(_fresh)}" for text in _TEXTS * 8]


def _rerank(client: httpx.Client, documents: list[str], tier: str) -> int:
    return client.post("/rerank", json={"query": _QUERY, "documents": documents}, headers=token(tier)).status_code


def _until(status: int, ask: Callable[[], list[int]], what: str) -> None:
    end = time.monotonic() + _WITHIN_S
    while time.monotonic() < end:
        if status in ask():
            return
    raise RuntimeError(f"{what} did not occur within {_WITHIN_S} s")


def check_queries(program: Path) -> None:
    """Run every query on a Prometheus that scrapes a real service. RuntimeError if one stays empty without `idle`."""
    queries, end = [*of_the_dashboard("30s"), *of_the_rules()], time.monotonic() + _WITHIN_S
    with exercised() as service, scraping(program, service.port) as url:
        while True:
            with httpx.Client(base_url=service.url, timeout=60) as client:
                exercise(client, DEMO)
            empty = [query for query in queries if not series(url, query.text)]
            missing = [f"{query.owner} is empty: {query.text}" for query in empty if not query.idle]
            if not missing:
                break
            if time.monotonic() > end:
                raise RuntimeError("\n".join(missing))
    print(f"prometheus: {len(queries)} queries answered, {len(queries) - len(empty)} of them with series")


def series(prometheus: str, query: str) -> list[Any]:
    """The result of an instant query. RuntimeError with Prometheus' message if the query is invalid."""
    answer = httpx.get(f"{prometheus}/api/v1/query", params={"query": query}).json()
    if answer["status"] != "success":
        raise RuntimeError(answer["error"])
    return list(answer["data"]["result"])


def main() -> int:
    """Run all checks and print their results; return the exit status."""
    try:
        check_files(had("promtool", "prometheus"))
        check_queries(had("prometheus", "prometheus"))
    except RuntimeError as error:
        print(f"FAILED: {error}", file=sys.stderr)
        return 1
    except Missing as error:
        print(f"SKIPPED: the rules and queries were not checked: {error}", file=sys.stderr)
        return SKIPPED
    return 0


if __name__ == "__main__":
    sys.exit(main())
