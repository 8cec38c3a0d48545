"""Sends requests of every kind, so that every metric has values."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import httpx
import jwt

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
_DONE_WITHIN_S = 30
_fresh = count()


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
    end = time.monotonic() + _DONE_WITHIN_S
    while time.monotonic() < end:
        if status in ask():
            return
    raise RuntimeError(f"{what} did not occur within {_DONE_WITHIN_S} s")
