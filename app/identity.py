"""The caller's identity: role and tier."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Role = Literal["read-only", "user", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)  # in ascending order: each role includes the permissions of those before it
RANK = {role: rank for rank, role in enumerate(ROLES)}

Tier = Literal["public", "standard", "premium", "unlimited"]
TIERS: tuple[Tier, ...] = get_args(Tier)


@dataclass(frozen=True)
class Identity:
    """An authenticated caller."""

    name: str  # safe to log: a key's prefix or a token's subject, never a secret
    role: Role
    tier: Tier
    key_id: str | None = None  # id in the key store; None for tokens and keys of the environment


ANONYMOUS = Identity("anonymous", "user", "unlimited")  # every caller when authentication is off
