"""The interfaces of credential and usage stores, and their records."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from app.identity import Identity, Role, Tier


@dataclass(frozen=True)
class Grant:
    """The credential is valid."""

    identity: Identity
    until: float = math.inf  # when it expires, in seconds since the epoch


@dataclass(frozen=True)
class Refusal:
    """The credential is not valid."""

    reason: str  # for the client; says what to do
    prefix: str | None = None  # of the key, if it is in the store


UNKNOWN = Refusal("this key is not known here; ask the operator of this service for one")


class CredentialStore(Protocol):
    """A store of keys."""

    def find(self, key: str, digest: bytes) -> Grant | Refusal:
        """Check a key. digest: its keyed hash. May block; KeysUnavailable if the store does not answer."""


@dataclass(frozen=True)
class Secret:
    """One secret of a key, without its hash. Times are seconds since the epoch."""

    prefix: str
    created: float
    expires: float | None


@dataclass(frozen=True)
class Key:
    """A key's record. Times are seconds since the epoch."""

    id: str
    name: str
    role: Role
    tier: Tier
    created: float
    expires: float | None
    revoked: float | None
    last_used: float | None
    collections: Sequence[str] | None  # that it may see: names, and beginnings with `*`; None: all
    can_write: bool
    secrets: Sequence[Secret]  # newest first

    @property
    def prefix(self) -> str:
        """The prefix of the newest secret."""
        return self.secrets[0].prefix


@dataclass
class Counts:
    """Usage counters."""

    requests: int = 0
    documents: int = 0
    tokens: int = 0
    rejected: int = 0

    def add(self, other: Counts) -> None:
        """Add the counters of another one to these."""
        self.requests += other.requests
        self.documents += other.documents
        self.tokens += other.tokens
        self.rejected += other.rejected


@dataclass(frozen=True)
class Day:
    """The usage of one caller on one day."""

    day: str  # 2026-01-31, UTC
    who: str
    requests: int
    documents: int
    tokens: int
    rejected: int


def day_of(seconds: float) -> str:
    """The day in UTC of seconds since the epoch, as 2026-01-31."""
    return time.strftime("%Y-%m-%d", time.gmtime(seconds))


class UsageStore(Protocol):
    """A store of usage."""

    def add(self, counts: Mapping[tuple[str, str], Counts], seen: Mapping[str, float]) -> None:
        """Add to the sums by day and caller, and set when keys were last used, in seconds since the epoch by key id.

        KeysUnavailable if nothing can be written at the moment. Any other error means that a row was rejected.
        """
        ...

    def read(self, days: int, who: str | None = None) -> Sequence[Day]:
        """The usage of the last days, of one caller or of all, newest first."""
        ...
