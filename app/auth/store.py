"""What every store of credentials and of usage can do, and what it holds."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from app.identity import Identity, Role, Tier


@dataclass(frozen=True)
class Grant:
    """Whoever offered the credential is let in."""

    identity: Identity
    until: float = math.inf  # seconds since the epoch: when it ends by itself


@dataclass(frozen=True)
class Refusal:
    """Whoever offered the credential is not let in."""

    reason: str  # for the client: what to do
    prefix: str | None = None  # of a key that exists or existed


UNKNOWN = Refusal("this key is not known here; ask whoever runs the service for one")


class CredentialStore(Protocol):
    """Where keys are kept."""

    def find(self, key: str, digest: bytes) -> Grant | Refusal:
        """What a key gives. digest: its keyed hash. May block; KeysUnavailable where the store does not answer."""


@dataclass(frozen=True)
class Secret:
    """What is kept of something that opens, besides its hash."""

    prefix: str
    created: float
    expires: float | None


@dataclass(frozen=True)
class Key:
    """Whom a key was given to, and what for. Times are seconds since the epoch."""

    id: str
    name: str
    role: Role
    tier: Tier
    created: float
    expires: float | None
    revoked: float | None
    last_used: float | None
    secrets: Sequence[Secret]  # newest first

    @property
    def prefix(self) -> str:
        """Of the newest secret."""
        return self.secrets[0].prefix


@dataclass
class Counts:
    """What was used."""

    requests: int = 0
    documents: int = 0
    tokens: int = 0
    rejected: int = 0

    def add(self, other: Counts) -> None:
        """Add another's."""
        self.requests += other.requests
        self.documents += other.documents
        self.tokens += other.tokens
        self.rejected += other.rejected


@dataclass(frozen=True)
class Day:
    """What one caller used on one day."""

    day: str
    who: str
    requests: int
    documents: int
    tokens: int
    rejected: int


def day_of(seconds: float) -> str:
    """The day in UTC."""
    return time.strftime("%Y-%m-%d", time.gmtime(seconds))


class UsageStore(Protocol):
    """Where usage is kept."""

    def add(self, counts: Mapping[tuple[str, str], Counts], seen: Mapping[str, float]) -> None:
        """Add to the sums by day and caller, and note when keys were last used, in seconds since the epoch.

        KeysUnavailable where nothing can be written now; any other error means that a row is refused.
        """
        ...

    def read(self, days: int, who: str | None = None) -> Sequence[Day]:
        """The last days of one caller or of all, newest first."""
        ...
