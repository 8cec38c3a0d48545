"""Feedback of one process: it remembers rankings, takes judgements of them, and knows the weights that follow."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from app.auth.database import Database
from app.errors import FeedbackUnavailable, InvalidRequest, KeysUnavailable, UnknownRequest
from app.feedback.judgements import Judgement, Label, Ranked, Scope, Standing, digest
from app.feedback.learner import EXPERTS, Evidence, click_weight, losses_of, probabilities, weights
from app.feedback.settings import FeedbackSettings
from app.feedback.store import FeedbackStore

T = TypeVar("T")
log = logging.getLogger(__name__)

WRITE_EVERY_S = 1.0
_DAY_S = 86_400
_THREADS = 2


class Feedback:
    """Safe to use from any thread. Rankings are written every second: a killed process forgets the last ones."""

    def __init__(self, database: Database, settings: FeedbackSettings, clock: Callable[[], float] = time.time) -> None:
        """Does not connect yet. database: that of the keys. clock: seconds since the epoch."""
        self._store, self._clock = FeedbackStore(database), clock
        self._keep_s, self._rankings = settings.keep_days * _DAY_S, settings.rankings
        self._limit = settings.caller_judgements
        self._pending: deque[Ranked] = deque(maxlen=settings.rankings)
        self._writing = threading.Lock()
        self._learned: Mapping[Scope, NDArray[np.float64]] = {}
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="feedback")

    def weights(self, scope: Scope, defaults: NDArray[np.float64]) -> NDArray[np.float64]:
        """The (3,) weights of `RANKERS` in a scope, with the sum 1. defaults: (3,) those without feedback."""
        learned = self._learned.get(scope)
        return defaults / defaults.sum() if learned is None else weights(learned, defaults)

    def remember(self, ranking: Ranked) -> None:
        """Keep a ranking, so that it can be judged. Does not block."""
        self._pending.append(ranking)

    async def judge(self, who: str, request_id: str, judgements: Sequence[Judgement]) -> int:
        """Learn from what was said of a ranking, and return how many judgements count.

        Each document counts once: what is said of it later is ignored. An unknown ranking is looked for once more when
        all processes have written theirs.

        Raises:
            UnknownRequest: The caller has no ranking of this id, or it is forgotten.
            InvalidRequest: The ranking has no such document.
            FeedbackUnavailable: The database does not answer, or takes no writes.
        """

        def learn(ranking: Ranked) -> tuple[Mapping[str, str], Evidence]:
            owners: list[int] = ranking.owners.tolist()
            judged = {owners[int(at)] for at in ranking.judged}
            new: dict[int, tuple[int, Label]] = {}  # by document: the passage that was named, and the label
            for judgement in judgements:
                at = _find(ranking, judgement)
                if owners[at] not in judged:
                    new.setdefault(owners[at], (at, judgement.label))
            labels = {str(document): label for document, (_, label) in new.items()}
            return labels, _evidence(ranking, dict(new.values()))

        def work() -> int:
            self.write()  # the ranking may be waiting here
            labels = self._store.judge(who, request_id, learn)
            self._read()
            return len(labels)

        try:
            return await self._in_thread(work)
        except UnknownRequest:
            await asyncio.sleep(1.5 * WRITE_EVERY_S)  # the process that ranked may not have written it yet
            return await self._in_thread(work)

    async def standings(self) -> list[Standing]:
        """What was learned, by scope."""
        found = await self._in_thread(self._store.evidence)
        return [
            Standing(scope, sum(of.judged for of in callers), len(callers), probabilities(callers, self._limit))
            for scope, callers in found.items()
        ]

    async def forget(self, collection: str | None, key_group: str | None) -> int:
        """Forget what was learned: of a collection, a group of keys, or of all. Returns of how many callers."""

        def work() -> int:
            forgotten = self._store.forget(collection, key_group)
            self._read()
            return forgotten

        return await self._in_thread(work)

    def write(self) -> None:
        """Store the rankings that wait. KeysUnavailable if that is not possible now; they wait on."""
        with self._writing:
            waiting = []
            while self._pending:
                waiting.append(self._pending.popleft())
            try:
                if waiting:
                    self._store.remember(waiting, self._clock() - self._keep_s, self._rankings)
            except KeysUnavailable:
                self._pending.extendleft(reversed(waiting))  # of too many the newest are forgotten
                raise

    def _read(self) -> None:
        """Learn what other processes took."""
        found = self._store.evidence()
        self._learned = {scope: probabilities(callers, self._limit) for scope, callers in found.items()}

    async def run(self) -> None:
        """Write and read every second, until cancelled."""
        while True:
            try:
                await self._in_thread(self._exchange)
            except FeedbackUnavailable:
                pass  # the database logged it
            except Exception:  # worker boundary: the next attempt may succeed
                log.exception("feedback could not be stored")
            await asyncio.sleep(WRITE_EVERY_S)

    def _exchange(self) -> None:
        self.write()
        self._read()

    async def close(self) -> None:
        """Write what waits."""
        try:
            await self._in_thread(self.write)
        except FeedbackUnavailable as error:
            log.warning("%d rankings can no longer be judged: %s", len(self._pending), error)
        finally:
            self._threads.shutdown()

    async def _in_thread(self, work: Callable[[], T]) -> T:
        """The result of blocking work; FeedbackUnavailable where the database does not take it."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except KeysUnavailable as error:
            raise FeedbackUnavailable(error.reason) from error


def _find(ranking: Ranked, judgement: Judgement) -> int:
    """The index of the judged passage: of a document that is named by its id, that which stands highest."""
    documents, count = ranking.documents, ranking.scores.shape[1]
    if isinstance(judgement.document, int):
        if judgement.document < count:
            return judgement.document
        raise InvalidRequest(f"index: {count} documents were ranked; the index counts from 0", ("index",))
    if documents is None:
        raise InvalidRequest("id: these documents came with the request and have no ids; send their `index`", ("id",))
    wanted = digest(judgement.document)
    found = [at for at, document in enumerate(documents) if document == wanted]
    if not found:
        raise InvalidRequest("id: no document of this id is among those that were ranked", ("id",))
    return min(found, key=lambda at: (ranking.positions[at] == 0, ranking.positions[at]))


def _evidence(ranking: Ranked, labels: Mapping[int, Label]) -> Evidence:
    """What judgements say, by the index of a passage of each document."""
    judged, losses, owners = 0.0, np.zeros(EXPERTS), ranking.owners
    for at, label in labels.items():
        weight = click_weight(int(ranking.positions[at]) or 1) if label == "clicked" else 1.0
        judged += weight
        losses += weight * losses_of(ranking.scores, ranking.defaults, at, relevant=label != "not", owners=owners)
    return Evidence(judged, losses)
