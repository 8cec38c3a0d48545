"""What it costs to hand work from the event loop to a worker and to take the result back."""

from __future__ import annotations

from time import perf_counter

from app.engine.engine import Engine
from app.engine.model_registry import ModelRegistry
from app.ranking.reranker import Reranker
from app.service.request import RerankRequest, resolve
from app.settings import Settings
from benchmarks.wire import run
from retrieval.encoder.hash_encoder import HashEncoder

CALLS = 2000
_WARM_UP = 200


def handover() -> list[float]:
    """Microseconds of each of CALLS runs of work that does nothing, one after the other."""
    return run(_handover(Engine(lambda: ModelRegistry({"hash": Reranker(HashEncoder())}), threads=2, queue=64)))[
        _WARM_UP:
    ]


async def _handover(engine: Engine) -> list[float]:
    await engine.start()
    asked = RerankRequest("owl", [])
    request = resolve(asked, engine.ready_models(), Settings(default_collection="none"), "")
    times = []
    for _ in range(_WARM_UP + CALLS):
        start = perf_counter()
        await engine.run(lambda: None, request)
        times.append(1e6 * (perf_counter() - start))
    engine.close()
    return times
