"""Who is calling, and what they may do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Role = Literal["read-only", "user", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)  # each may do what those before it may
RANK = {role: rank for rank, role in enumerate(ROLES)}

Tier = Literal["public", "standard", "premium", "unlimited"]
TIERS: tuple[Tier, ...] = get_args(Tier)


@dataclass(frozen=True)
class Identity:
    """A caller that was let in."""

    name: str  # that logs may show: a key's prefix, a token's subject; never a secret
    role: Role
    tier: Tier
    key_id: str | None = None  # in the store of keys


ANONYMOUS = Identity("anonymous", "user", "unlimited")  # everybody, where authentication is off
