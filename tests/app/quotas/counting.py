"""Helpers for tests of counters."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from limits import RateLimitItemPerHour, RateLimitItemPerMinute

from app.quotas.windows import Charge, Verdict

THREADS = 50


def charges(requests=60, similarities=100_000, *, cost=10):
    """The charges of one request. requests, similarities: the sizes of the quotas; cost: similarities charged."""
    return [
        Charge(RateLimitItemPerMinute(requests, namespace="requests"), 1),
        Charge(RateLimitItemPerHour(similarities, namespace="similarities"), cost),
    ]


def at_once(take: Callable[[int], Verdict]) -> list[Verdict]:
    """The verdicts of many threads that start at the same moment, with several calls each."""
    barrier = Barrier(THREADS)

    def several(thread):
        barrier.wait()
        return [take(thread) for _ in range(4)]

    with ThreadPoolExecutor(THREADS) as threads:
        return [verdict for verdicts in threads.map(several, range(THREADS)) for verdict in verdicts]


def left(verdict):
    return {standing.quota: standing.left for standing in verdict.standings}
