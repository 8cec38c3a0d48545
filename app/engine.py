"""Where requests meet the processor: loads the reranker, bounds what waits, and computes off the event loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal, TypeVar

from app.errors import NotReady, Overloaded
from app.reranker import Reranker
from retrieval.redis_states import ReplicaCounts
from retrieval.shared_encoder import EncoderCounts
from retrieval.state_cache import CacheCounts

T = TypeVar("T")
log = logging.getLogger(__name__)

_PROBE = ("which bird sings at night", ["the nightingale sings after dusk", "stock prices fell sharply"])


@dataclass(frozen=True)
class State:
    """Whether requests can be served, and if not, why."""

    phase: Literal["loading", "ready", "failed", "closed"]
    reason: str


@dataclass(frozen=True)
class EngineCounts:
    """What the engine did since it started."""

    admitted: int  # requests in work or waiting now
    encoder: EncoderCounts
    cache: CacheCounts
    replicas: ReplicaCounts | None


class Engine:
    """Owns the reranker and a bounded number of threads that use it."""

    def __init__(self, load: Callable[[], Reranker], threads: int, queue: int) -> None:
        """`load` makes the reranker; it runs in a worker once `start` is awaited."""
        self._load = load
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="rerank")
        self._room = threads + queue
        self._admitted = 0
        self._reranker: Reranker | None = None
        self.state = State("loading", "the model is being loaded")

    async def start(self) -> None:
        """Load the reranker and rerank a probe; on failure the engine says why and serves nothing."""
        try:
            reranker = await self._compute(self._load_and_probe)
        except Exception as error:  # whatever it was, the readiness probe must say so
            self.state = State("failed", f"{type(error).__name__}: {error}")
            log.exception("the model could not be loaded")
            raise
        self._reranker = reranker
        self.state = State("ready", "the model is loaded and reranked a probe")

    def _load_and_probe(self) -> Reranker:
        reranker = self._load()
        query, documents = _PROBE
        reranker.warm_up()
        best = reranker.rerank(query, documents).order[0]
        if best != 0:
            raise NotReady("the model put a probe's answer below a text about something else; its files may be damaged")
        return reranker

    async def run(self, work: Callable[[Reranker], T]) -> T:
        """Do work in a worker thread; NotReady before the model is loaded, Overloaded when too many wait already."""
        reranker = self._reranker
        if reranker is None:
            raise NotReady(f"not ready: {self.state.reason}")
        if self._admitted >= self._room:
            raise Overloaded(f"{self._admitted} requests are being served or wait; try again shortly")
        self._admitted += 1
        try:
            return await self._compute(lambda: work(reranker))
        finally:
            self._admitted -= 1

    async def _compute(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)

    def counts(self) -> EngineCounts | None:
        """What was done since the start; None until the reranker is there."""
        source = self._reranker.source if self._reranker else None
        if source is None:
            return None
        replicas = source.replicas.counts() if source.replicas else None
        return EngineCounts(self._admitted, source.shared_encoder.counts(), source.cache.counts(), replicas)

    def close(self) -> None:
        """Finish what runs, drop what waits, take no more."""
        reranker, self._reranker = self._reranker, None
        self.state = State("closed", "the service is shutting down")
        self._executor.shutdown(wait=True, cancel_futures=True)
        if reranker is not None and reranker.source.replicas is not None:
            reranker.source.replicas.close()
