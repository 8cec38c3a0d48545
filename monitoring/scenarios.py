"""What is tried of each alert: just above its threshold and just below, and what looks alike and is not."""

from __future__ import annotations

from monitoring.cases import ONE, Fires, Rests, Scenario
from monitoring.limits import WAITING
from monitoring.promql import UP, Metric
from monitoring.registry import metrics
from monitoring.series import Series, growing, series, spread, steady

_SECONDS, _SIMILARITY = metrics.request_seconds, "/v1/similarity"

# Ten times as often as anything is asked in the tests: they must not make failures look few.
_PROBES = {
    **series(metrics.requests_total, growing(100_000), route="/health/ready"),
    **series(_SECONDS.count, growing(100_000), route="/health/ready"),
}


def _requests(good: str, bad: str, status: str = "503", route: str = "/v1/rerank") -> Series:
    total = metrics.requests_total
    return {**series(total, good), **series(total, bad, status=status, route=route)}


def _outcomes(good: float, bad: float, outcome: str = "failed", route: str = "/v1/rerank") -> Series:
    count = _SECONDS.count
    return {**series(count, growing(good)), **series(count, growing(bad), outcome=outcome, route=route)}


def _rejected(reason: str, refused: float, asked: float) -> Series:
    rejections = series(metrics.rejections_total, growing(refused), reason=reason)
    return {**rejections, **series(metrics.requests_total, growing(asked))}


def _of_two_workers(metric: Metric, values: str) -> Series:
    return {**series(metric, values), **series(metrics.workers, steady(2))}


def _looked_up(before: int, after: int, per_minute: int = 100) -> Series:
    """Of 100 texts a minute so many are hits for six hours, and then of so many texts per cent."""
    hit, miss = after * per_minute / 100, (100 - after) * per_minute / 100
    hits = f"0+{before}x360 {360 * before + hit:g}+{hit:g}x200"
    misses = f"0+{100 - before}x360 {360 * (100 - before) + miss:g}+{miss:g}x200"
    return {**series(metrics.cache_hits_total, hits), **series(metrics.cache_misses_total, misses)}


def _breaker(name: str, another: str) -> Scenario:
    def is_open(values: str, dependency: str = name) -> Series:
        return series(metrics.breaker_open, values, dependency=dependency)

    return Scenario(
        [Fires("it is open", is_open(steady(1)), labels=ONE)],
        [
            Rests("it is closed", is_open(steady(0))),
            Rests("another one is open", {**is_open(steady(0)), **is_open(steady(1), another)}),
            Rests("it closes at once", is_open("0 0 1 0+0x600")),
        ],
    )


_SERVICE = {
    "QrerankDown": Scenario(
        [
            Fires("a process does not answer", series(UP, steady(0)), labels=ONE),
            Fires("nothing is scraped at all", {}, labels={"instance": "anywhere"}),
        ],
        [Rests("it answers", series(UP, steady(1))), Rests("one scrape fails", series(UP, "1 1 0 1+0x600"))],
    ),
    "QrerankNotReady": Scenario(
        [Fires("one of two workers is not ready", _of_two_workers(metrics.ready, steady(1)), "1", labels=ONE)],
        [
            Rests("both are", _of_two_workers(metrics.ready, steady(2))),
            Rests("one loads for four minutes", _of_two_workers(metrics.ready, "2 1 1 1 1 2+0x600")),
        ],
    ),
    "QrerankAvailability": Scenario(
        [
            Fires("1.1 % are 5xx", _requests(growing(989), growing(11)), "1.1%", begins=1),
            Fires("and probes are many", {**_requests(growing(989), growing(11)), **_PROBES}, "1.1%", begins=1),
        ],
        [
            Rests("0.9 % are", _requests(growing(991), growing(9))),
            Rests("many are 4xx", _requests(growing(500), growing(500), status="429")),
            Rests("readiness says 503", _requests(growing(500), growing(500), route="/health/ready")),
            Rests(
                "5.5 % for ten minutes, 0.9 % of the hour", _requests(growing(1000), "0+0x60 55+55x9 550+0x600"), 120
            ),
            Rests("a bad minute, and 0.9 % since", _requests(growing(1000), "0+0x60 2000+9x600"), 120),
        ],
    ),
    "QrerankErrors": Scenario(
        [
            Fires("0.11 % fail", _outcomes(9989, 11), "0.11%", begins=1),
            Fires("and probes are many", {**_outcomes(9989, 11), **_PROBES}, "0.11%", begins=1),
        ],
        [
            Rests("0.09 % fail", _outcomes(9991, 9)),
            Rests("half are refused", _outcomes(500, 500, "refused")),
            Rests("a probe fails", _outcomes(500, 500, route="/health/detailed")),
        ],
    ),
}

_SLOW, _IN_TIME = {"0.5": 94.0, "0.75": 6.0}, {"0.5": 95.0, "0.75": 5.0}
_SLOW_PAIR, _PAIR_IN_TIME = {"0.1": 94.0, "0.2": 6.0}, {"0.1": 95.0, "0.2": 5.0}

_LATENCY = {
    "QrerankSlow": Scenario(
        [Fires("6 % take longer than 500 ms", spread(_SECONDS, _SLOW), "541.7ms", begins=1)],
        [
            Rests("5 % do", spread(_SECONDS, _IN_TIME)),
            Rests("those of more than 100 documents do", spread(_SECONDS, _SLOW, documents="101+")),
            Rests("refusals do", {**spread(_SECONDS, _IN_TIME), **spread(_SECONDS, _SLOW, outcome="refused")}),
            Rests("streams do", spread(_SECONDS, _SLOW, route="/v1/rerank/stream")),
            Rests("nobody asks", spread(_SECONDS, {"0.5": 0.0})),
        ],
    ),
    "QrerankSimilaritySlow": Scenario(
        [Fires("6 % take longer than 100 ms", spread(_SECONDS, _SLOW_PAIR, route=_SIMILARITY), "116.7ms", begins=1)],
        [
            Rests("5 % do", spread(_SECONDS, _PAIR_IN_TIME, route=_SIMILARITY)),
            Rests("batches of pairs do", spread(_SECONDS, _SLOW_PAIR, route="/v1/batch-similarity")),
        ],
    ),
}

_waiting, _memory, _lag = metrics.requests_waiting, metrics.process_memory_bytes, metrics.event_loop_lag_seconds

_LOAD = {
    "QrerankWaiting": Scenario(
        [Fires("17 wait in each worker", _of_two_workers(_waiting, steady(2 * WAITING + 2)), "17", labels=ONE)],
        [
            Rests("16 do", _of_two_workers(_waiting, steady(2 * WAITING))),
            Rests("many do for a minute", _of_two_workers(_waiting, "0 0 90 0+0x600")),
        ],
    ),
    "QrerankOverloaded": Scenario(
        [Fires("1.1 % are refused", {**_rejected("overloaded", 11, 1000), **_PROBES}, "1.1%", begins=1)],
        [
            Rests("0.9 % are", _rejected("overloaded", 9, 1000)),
            Rests("they are refused for quotas", _rejected("too-many-requests", 500, 1000)),
        ],
    ),
    "QrerankQuotaExhausted": Scenario(
        [Fires("11 % are refused", {**_rejected("too-many-requests", 11, 100), **_PROBES}, "11%", begins=1)],
        [
            Rests("9 % are", _rejected("too-many-requests", 9, 100)),
            Rests("they are refused for overload", _rejected("overloaded", 50, 100)),
        ],
    ),
    "QrerankLoopLag": Scenario(
        [Fires("1.1 % are later than 100 ms", spread(_lag, {"0.1": 98.9, "0.25": 1.1}), "113.6ms", 1, ONE)],
        [Rests("1 % are", spread(_lag, {"0.1": 99.0, "0.25": 1.0}))],
    ),
    "QrerankMemory": Scenario(
        [Fires("2.1 GB in each worker", _of_two_workers(_memory, steady(4.2e9)), "2.1G", labels=ONE)],
        [Rests("2 GB in each", _of_two_workers(_memory, steady(4e9)))],
    ),
    "QrerankCacheCollapse": Scenario(
        # x minutes after six hours of 100 texts a minute, with 70 since, the last 15 minutes remember a part of
        # (1350 - 83 x) / (1500 - 30 x), six hours (32400 - 83 x) / (36000 - 30 x): less than half of it from x = 10 on.
        # It fires 15 minutes later, when there is only the new ratio.
        [
            Fires("from 90 % to 10 %", _looked_up(90, 10, 70), "10%", begins=370),
            Fires("from 22 % to 5 %", _looked_up(22, 5), "5%", begins=370),
        ],
        [
            Rests("from 90 % to 60 %", _looked_up(90, 60), 385),
            Rests("from 19 % to nothing", _looked_up(19, 0), 385),
            Rests("less than one a second is asked about", _looked_up(90, 10, 54), 385),
        ],
    ),
}

_CERTIFIED, _MANUAL = metrics.index_certified, ONE | {"collection": "manual"}

_DEPENDENCIES = {
    "QrerankKeysLost": _breaker("keys", "issuer"),
    "QrerankIssuerLost": _breaker("issuer", "keys"),
    "QrerankCacheRedisLost": _breaker("cache_redis", "quota_redis"),
    "QrerankQuotaRedisLost": _breaker("quota_redis", "cache_redis"),
    "QrerankIndexUncertified": Scenario(
        [Fires("its self-check fails", series(_CERTIFIED, steady(0)), labels=_MANUAL)],
        [Rests("it holds", series(_CERTIFIED, steady(1))), Rests("it holds again", series(_CERTIFIED, "1 0 1+0x600"))],
    ),
}

# By the alerts' names.
SCENARIOS = _SERVICE | _LATENCY | _LOAD | _DEPENDENCIES
