"""A real service to which everything happens that there are metrics of."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import jwt
import pytest

from app.cli.index import DEMO, build_demo
from app.settings import IndexSettings, Settings
from retrieval.encoder.hash_encoder import HashEncoder
from tests.conftest import quiet, serving
from tests.embeddings_peer import as_second_model, serving_peer
from tests.monitoring.asked import SECRET, SETTINGS, Sample, samples
from tests.waiting import eventually

QUERY, FRESH = "which bird sings at night", count()
TEXTS = [f"the nightingale number {number} sings after dusk" for number in range(120)]
ANSWERED = [
    *(
        ("/v1/rerank", {"query": QUERY, "documents": TEXTS[:number], "method": method, "deadline_ms": 60_000})
        for method in ("classical", "quantum", "hybrid")
        for number in (3, 30, 100, 120)
    ),
    ("/rerank", {"query": QUERY, "texts": TEXTS[:5]}),  # TEI's
    ("/v1/rerank", {"query": QUERY, "documents": TEXTS[:5], "top_k": 2, "model": "rerank-2.5"}),  # Voyage's
    ("/v1/rerank/stream", {"query": QUERY, "documents": TEXTS[:5]}),
    ("/rerank", {"query": QUERY, "collection": DEMO}),
    ("/v1/similarity", {"text1": TEXTS[0], "text2": TEXTS[1]}),
    ("/v1/embeddings", {"input": TEXTS[:2]}),
]
REFUSED = [
    ("POST", "/rerank", {"query": QUERY}),  # no collection is the default one
    ("POST", "/rerank", {"query": QUERY, "collection": "unknown"}),
    ("POST", "/rerank", {"documents": 1}),
    ("POST", "/rerank", {"query": QUERY, "documents": TEXTS}),  # too many for the tier
    *(("GET", path, None) for path in ("/nowhere", "/health", "/health/ready", "/metrics", "/docs", "/v1/models")),
]


def token(tier):
    claims = {"sub": f"{tier} user", "tier": tier, "role": "user", "exp": time.time() + 3600}
    return {"Authorization": f"Bearer {jwt.encode(claims, SECRET, 'HS256')}"}


def new_texts():
    """Many documents, which no cache contains."""
    return [f"{text} {next(FRESH)}" for text in TEXTS * 8]


def fail():
    raise RuntimeError("a fault, on purpose")


@pytest.fixture(scope="session")
def exercised(tmp_path_factory) -> Iterator[list[Sample]]:
    """/metrics of a real service after requests of every kind and one fault."""
    with serving_peer(tmp_path_factory.mktemp("peer"), {"hash": HashEncoder()}) as peer:
        yield _exercised(Settings(**SETTINGS, **as_second_model(peer), data_dir=tmp_path_factory.mktemp("data")))


def _exercised(settings: Settings) -> list[Sample]:
    build_demo(settings.model_copy(update={"index": IndexSettings()}), HashEncoder(), quiet)  # not in Milvus
    with serving(settings) as client:

        def rerank(documents, tier, **fields):
            body = {"query": QUERY, "documents": documents, **fields}
            return client.post("/rerank", json=body, headers=token(tier)).status_code

        for path, body in ANSWERED:
            assert client.post(path, json=body, headers=token("unlimited")).status_code == 200, (path, body)
        assert rerank(new_texts(), "unlimited", deadline_ms=1) == 200  # most are left unread
        for method, path, body in REFUSED:
            client.request(method, path, json=body, headers=token("standard"))
        assert client.post("/rerank", json={"query": QUERY, "documents": TEXTS[:3]}).status_code == 401
        eventually(lambda: rerank(TEXTS[:3], "public") == 429)
        with ThreadPoolExecutor(8) as threads:
            eventually(lambda: 503 in list(threads.map(lambda _: rerank(new_texts(), "unlimited"), range(8))))
        client.app.add_api_route("/fault", fail)
        assert client.get("/fault").status_code == 500
        return samples(client.get("/metrics").text)
