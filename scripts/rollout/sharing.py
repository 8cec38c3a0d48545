"""Whether replicas share keys and limits, asked of each by itself, around the balancer."""

from __future__ import annotations

import http.client
import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import orjson

from app.auth.credential_cache import REMEMBERED_S
from app.quotas.settings import PriceSettings
from scripts.rehearsal.findings import Findings
from scripts.rehearsal.keys import Admin, Key

A_MINUTE = 60  # requests of the tier public
AN_HOUR, SPENT = 100, 40  # pairs of the tier standard, and those that are asked for before the rollout
_PRICE = PriceSettings().hybrid  # of a pair, in similarities: every method is told
SETTINGS = {
    "QRERANK_QUOTAS__PUBLIC__REQUESTS_PER_MINUTE": str(A_MINUTE),
    "QRERANK_QUOTAS__STANDARD__SIMILARITIES_PER_HOUR": str(AN_HOUR * _PRICE),
}
_SLACK_S = 1.0  # a busy machine's, beyond what a replica may remember of a key
_PATIENCE_S = 20
_TIMEOUT_S = 20  # of one request
_PAIR = orjson.dumps({"text1": "which bird sings at night", "text2": "an owl calls"})


@dataclass(frozen=True)
class Told:
    """What a replica said to one pair of texts."""

    status: int
    left: int | None  # of the quota of which the smallest part is left


def ask(port: int, key: Key) -> Told:
    """Have a replica compare one pair of texts."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_S)
    try:
        connection.request("POST", "/v1/similarity", _PAIR, {"Authorization": f"Bearer {key.secret}"})
        response = connection.getresponse()
        response.read()
        left = response.headers.get("x-ratelimit-remaining")
        return Told(response.status, int(left) if left is not None else None)
    finally:
        connection.close()


def statuses(ports: Sequence[int], key: Key) -> list[int]:
    """What each replica answers to a key."""
    return [ask(port, key).status for port in ports]


def in_turn(ports: Sequence[int], key: Key, count: int) -> list[Told]:
    """So many pairs, sent to the replicas in turn."""
    return [ask(port, key) for port in itertools.islice(itertools.cycle(ports), count)]


def seconds_until(port: int, key: Key, status: int) -> float:
    """How long it is until a replica answers so; infinite if it does not."""
    start = time.monotonic()
    while time.monotonic() < start + _PATIENCE_S:
        if ask(port, key).status == status:
            return time.monotonic() - start
        time.sleep(0.05)
    return float("inf")


@dataclass
class Sharing:
    """The keys that were made at one replica and tried at another, from before the rollout to after it."""

    findings: Findings
    admin: Admin
    open: list[Key] = field(default_factory=list)
    ended: list[Key] = field(default_factory=list)
    spender: Key | None = None

    def before(self, ports: Sequence[int]) -> None:
        """Two replicas of one version."""
        first, second = ports
        self.made("before the rollout", first, second)
        self._revoked(first, second)
        self._limited(ports)
        self.spender = self.admin.create(first, "spender", "standard")
        told = [each.left for each in in_turn(ports, self.spender, SPENT)[-2:]]
        left = (AN_HOUR - SPENT) * _PRICE
        self.findings.check(
            f"after {SPENT} pairs of {AN_HOUR} an hour, sent to both in turn, both say what is left",
            told == [left + _PRICE, left],
            f"{told} similarities",
        )

    def made(self, when: str, here: int, there: int) -> None:
        """A key that is made at one replica opens the other at once."""
        key = self.admin.create(here, f"made {when}")
        self.open.append(key)
        found = ask(there, key).status
        self.findings.check(f"a key made {when} at one opens the other at once", found == 200, found)

    def _revoked(self, here: int, there: int) -> None:
        key = self.admin.create(here, "revoked")
        self.ended.append(key)
        opened = statuses([here, there], key)
        self.admin.revoke(here, key)
        at_once = ask(here, key).status
        seconds = seconds_until(there, key, 401)
        self.findings.check(
            f"a key that opened both and is revoked at one opens the other for {REMEMBERED_S:g} s at most",
            opened == [200, 200] and at_once == 401 and seconds < REMEMBERED_S + _SLACK_S,
            f"{seconds:.1f} s",
        )

    def _limited(self, ports: Sequence[int]) -> None:
        key = self.admin.create(ports[0], "limited", "public")
        told = [each.status for each in in_turn(ports, key, A_MINUTE + 20)]
        passed = [told[at::2].count(200) for at in range(2)]
        right = sum(passed) == A_MINUTE and told.count(429) == 20
        self.findings.check(
            f"of {A_MINUTE + 20} requests in a minute, sent to both in turn, {A_MINUTE} pass",
            right,
            f"{passed[0]} + {passed[1]} passed, {told.count(429)} were refused",
        )

    def after(self, ports: Sequence[int]) -> None:
        """Two replicas of the new version, neither of which was there before."""
        opened = [statuses(ports, key) for key in self.open]
        right = all(told == [200, 200] for told in opened)
        self.findings.check("keys made before and during the rollout open both", right, opened)
        ended = [statuses(ports, key) for key in self.ended]
        self.findings.check("the key revoked before it opens neither", ended == [[401, 401]], ended)
        assert self.spender is not None
        told = [each.status for each in in_turn(ports, self.spender, AN_HOUR - SPENT + 10)]
        self.findings.check(
            f"of the hour's {AN_HOUR} pairs those not asked for before are left, and no more",
            told.count(200) == AN_HOUR - SPENT and told.count(429) == 10,
            f"{SPENT} before, {told.count(200)} now, {told.count(429)} refused",
        )
