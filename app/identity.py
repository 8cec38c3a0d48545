"""Who is calling, and what they may do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

Role = Literal["read-only", "user", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)  # each may do what those before it may

Tier = Literal["public", "standard", "premium", "unlimited"]
TIERS: tuple[Tier, ...] = get_args(Tier)


@dataclass(frozen=True)
class Identity:
    """A caller that was let in."""

    name: str  # that logs may show: a key's prefix, a token's subject; never a secret
    role: Role
    tier: Tier
    key_id: str | None = None  # in the store of keys

    def may(self, role: Role) -> bool:
        """Whether they may do what this role may."""
        return ROLES.index(self.role) >= ROLES.index(role)


def address_of(client: Sequence[Any] | None) -> str:
    """Where a connection comes from, as servers tell it: a host and a port."""
    return str(client[0]) if client else "unknown"


def caller_of(identity: Identity | None, address: str) -> str:
    """What shares are counted by: the key or token, or where there is none the address.

    By key, not by address: callers behind one proxy are several, and one with many addresses is one.
    """
    if identity is None or identity is ANONYMOUS:
        return f"address:{address}"
    return f"name:{identity.name}" if identity.key_id is None else f"key:{identity.key_id}"


ANONYMOUS = Identity("anonymous", "user", "unlimited")  # everybody, where authentication is off
