"""What every store of credentials can do, and what it finds."""

from __future__ import annotations

import math
from collections.abc import Sequence
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
