"""Where requests meet the processor: loads the reranker, bounds what waits, and computes off the event loop."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar

import orjson

from app.engine.admission import Admission, size_of
from app.engine.self_test import check_order, check_pairs
from app.errors import NotReady
from app.quotas.quotas import Cost
from app.ranking.job import Stopwatch
from app.ranking.methods import CROSS_METHOD, RankMethod, split_method
from app.ranking.reranker import Reranker
from retrieval.circuit_breaker import CircuitBreaker
from retrieval.deadline import Deadline
from retrieval.encoder.batching import EncoderCounts
from retrieval.encoder.chunks import USUAL
from retrieval.errors import EncoderUnavailable
from retrieval.states.cache import CacheCounts

if TYPE_CHECKING:  # redis-py takes 0.3 s of a start, and many do without
    from retrieval.states.redis import RedisStates, ReplicaCounts


@dataclass(frozen=True)
class Choice:
    """What a request's `model` means."""

    name: str  # to be echoed: as the client called it, or ours where it did not
    reranker: Reranker
    method: RankMethod | None  # that the name asks for, as in "all-MiniLM-L6-v2:quantum"
    is_chosen: bool = True  # whether the name is a served model's: else it is the default


class ModelRegistry:
    """The served rerankers. A request whose `model` none of them has gets the default: clients hard-code names."""

    def __init__(self, served: Mapping[str, Reranker], aliases: Mapping[str, str] | None = None) -> None:
        """served: by configured name, the default first. aliases: other names for them, with or without a ":method"."""
        self.served = {reranker.encoder.name: reranker for reranker in served.values()}
        self.aliases = dict(aliases or {})
        self._by_name = dict(served) | self.served
        self.default = next(iter(self.served.values()))  # serves requests that choose none

    def choose(self, asked: object) -> Choice:
        """The reranker and method that a request's `model` means: any JSON value, None among them."""
        if not isinstance(asked, str):
            name = self.default.encoder.name if asked is None else orjson.dumps(asked).decode()
            return Choice(name, self.default, None, is_chosen=False)
        base, method = split_method(self.aliases.get(asked, asked))
        reranker = self._by_name.get(base) or self._by_name.get(base.rsplit("/", 1)[-1])
        name = asked or (reranker or self.default).encoder.name
        return Choice(name, reranker or self.default, method, is_chosen=reranker is not None)

    def by_digest(self, digest: str) -> Reranker | None:
        """The reranker with these weights, if it is served."""
        return next((each for each in self.served.values() if each.encoder.digest == digest), None)

    def choose_for(self, choice: Choice, digest: str) -> Choice:
        """A choice for a collection of the model with these weights: its own, unless the client chose a model."""
        own = self.by_digest(digest)
        if choice.is_chosen or own is None or own is choice.reranker:
            return choice
        name = own.encoder.name if choice.name == choice.reranker.encoder.name else choice.name
        return Choice(name, own, choice.method, is_chosen=False)

    def names(self) -> list[str]:
        """Every name that chooses one: the models', with a cross-encoder where there is one, then the aliases."""
        crossed = [f"{name}:{CROSS_METHOD}" for name, reranker in self.served.items() if reranker.cross]
        return [*self.served, *crossed, *self.aliases]


T = TypeVar("T")
log = logging.getLogger(__name__)

_AGAIN_S = 2.0  # between two looks for the server of a remote model
_INLINE_CHARACTERS = 2**17  # looked up in 0.3 ms; to look up more would hold up the event loop


@dataclass(frozen=True)
class State:
    """Whether requests can be served, and if not, why."""

    phase: Literal["loading", "ready", "draining", "failed", "closed"]
    reason: str
    since: float = field(default_factory=time.time)  # seconds since the epoch


@dataclass(frozen=True)
class EngineCounts:
    """The counts since the start."""

    admitted: int  # requests in work or waiting now
    running: int  # of them, those in work
    encoders: Mapping[str, EncoderCounts]  # by model
    cache: CacheCounts  # which all models share
    replicas: Mapping[str, ReplicaCounts]  # by model; empty without Redis
    encoder_lost: bool | None  # whether the breaker of a remote encoder is open; None without one


class Request(Protocol):
    """What the engine reads of a request."""

    @property
    def choice(self) -> Choice:
        """The model that it is for."""

    @property
    def texts(self) -> Sequence[str]:
        """The texts that the model must read, unless they are cached."""

    @property
    def deadline(self) -> Deadline:
        """When its result is due, and whose it is."""

    @property
    def cost(self) -> Cost:
        """Its cost."""


class Engine:
    """Owns the models and a bounded number of threads that use them."""

    def __init__(self, load: Callable[[], ModelRegistry], threads: int, queue: int, least: float = 0.5) -> None:
        """Take a function that loads the models, which `start` runs in a worker, and the bounds of `Admission`."""
        self._load = load
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="rerank")
        self._admission = Admission(threads, queue, least)
        self.models: ModelRegistry | None = None  # until they are loaded, and after the end
        self.state = State("loading", "the model is being loaded")

    async def start(self) -> None:
        """Load the models and rerank a probe with each; on failure the engine says why and serves nothing.

        The server of a remote model is waited for.
        """
        try:
            while (models := await self._compute(self._load_and_probe)) is None:  # noqa: ASYNC110 - nothing tells when
                await asyncio.sleep(_AGAIN_S)
        except Exception as error:  # whatever it was, the readiness probe must say so
            self.state = State("failed", f"{type(error).__name__}: {error}")
            log.exception("the model could not be loaded")
            raise
        self.models = models
        if self.state.phase == "loading":
            self.state = State("ready", "the model is loaded and reranked a probe")
            log.info("ready: %s", self.state.reason)

    def _load_and_probe(self) -> ModelRegistry | None:
        """The models, each of which reranked a probe; None if a remote one's server does not answer yet."""
        try:
            models = self._load()
            for reranker in models.served.values():
                reranker.warm_up()
                check_order(reranker.isolated_copy(), 0)  # of the model, not of what caches or Redis hold
            if cross := models.default.cross:
                cross.encoder.warm_up()
                check_pairs(cross.encoder)
        except EncoderUnavailable as error:
            if self.state.reason != str(error):
                log.warning("%s; it is asked again every %g s", error, _AGAIN_S)
            if self.state.phase == "loading":
                self.state = State("loading", str(error))
            return None
        return models

    async def run(self, work: Callable[[], T], request: Request, watch: Stopwatch | None = None) -> T:
        """Do the work of a request in a worker thread.

        watch: counts the time until it begins, as the stage `queue`.
        NotReady before the models are loaded; Overloaded where too little would get done.
        """
        self.ready_models()
        begun, source, texts = time.perf_counter(), request.choice.reranker.source, request.texts
        small = sum(map(len, texts)) <= _INLINE_CHARACTERS
        missing = source.uncached(texts) if small else await asyncio.to_thread(source.uncached, texts)
        place = self._admission.enter(size_of(missing, request.cost.units, USUAL.max_chunks), request.deadline)

        def admitted() -> T:
            self._admission.check(place)
            if watch:
                watch.since("queue", begun)
            before = time.thread_time()
            try:
                result = work()
            except Exception:
                raise
            except BaseException as error:  # worker boundary: it would end the event loop, and all requests
                raise RuntimeError("the worker died") from error
            place.spent = (time.thread_time() - before) / source.encoder.streams
            return result

        try:
            await self._admission.wait(place)
            return await self._compute(admitted)
        finally:
            self._admission.leave(place, self._wanted_s())

    async def _compute(self, work: Callable[[], T]) -> T:
        context = copy_context()  # by which lines of a log are a request's
        return await asyncio.get_running_loop().run_in_executor(self._executor, context.run, work)

    def ready_models(self) -> ModelRegistry:
        """The models; NotReady before they are loaded and after the end."""
        if self.models is None:
            raise NotReady(f"not ready: {self.state.reason}")
        return self.models

    def _wanted_s(self) -> float:
        """The encoder seconds that all requests so far asked for."""
        served = self.models.served.values() if self.models else ()
        return sum(reranker.source.shared_encoder.wanted_s for reranker in served)

    def counts(self) -> EngineCounts | None:
        """The counts since the start; None until the models are loaded."""
        if self.models is None:
            return None
        sources = {name: reranker.source for name, reranker in self.models.served.items()}
        cross = self.models.default.cross
        crossed = {cross.encoder.name: cross.encoder.counts()[0]} if cross else {}
        return EngineCounts(
            len(self._admission),
            self._admission.running,
            {name: source.shared_encoder.counts() for name, source in sources.items()} | crossed,
            self.models.default.source.cache.counts(),
            {name: source.replicas.counts() for name, source in sources.items() if source.replicas},
            not all(breaker.available for breaker in breakers) if (breakers := self.breakers()) else None,
        )

    def breakers(self) -> list[CircuitBreaker]:
        """The circuit breakers of remote encoders."""
        served = self.models.served.values() if self.models else ()
        return [reranker.encoder.breaker for reranker in served if reranker.encoder.breaker]

    def replicas(self) -> list[RedisStates]:
        """The models' shared Redis caches; none without Redis."""
        served = self.models.served.values() if self.models else ()
        return [reranker.source.replicas for reranker in served if reranker.source.replicas]

    @property
    def stops(self) -> bool:
        """Whether requests should be sent elsewhere."""
        return self.state.phase == "draining"

    def drain(self) -> None:
        """Report that requests should be sent elsewhere, and go on serving those that come."""
        self.state = State("draining", "the service is about to stop")

    def close(self) -> None:
        """Finish what runs, reject what waits, and take no more."""
        replicas, breakers, self.models = self.replicas(), self.breakers(), None
        self.state = State("closed", "the service is shutting down")
        self._admission.close()
        self._executor.shutdown(wait=True, cancel_futures=True)
        for cache in replicas:
            cache.close()
        for breaker in breakers:
            breaker.close()
