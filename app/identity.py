"""The caller's identity: role, tier, and which collections it may see and change."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, get_args

Role = Literal["read-only", "user", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)  # in ascending order: each role includes the permissions of those before it
RANK = {role: rank for rank, role in enumerate(ROLES)}

Tier = Literal["public", "standard", "premium", "unlimited"]
TIERS: tuple[Tier, ...] = get_args(Tier)

MAX_COLLECTIONS = 64  # that one key names
COLLECTION_PATTERN = r"^([\w.-]{1,64}\*?|\*)$"  # a name, or the beginning of names and `*`
_PATTERN = re.compile(COLLECTION_PATTERN)


def is_collection_pattern(text: str) -> bool:
    """Whether a key may be limited to this: a collection's name, or `team-a-*` for all that begin so."""
    return _PATTERN.fullmatch(text) is not None


@dataclass(frozen=True)
class Identity:
    """An authenticated caller."""

    name: str  # safe to log: a key's prefix or a token's subject, never a secret
    role: Role
    tier: Tier
    key_id: str | None = None  # id in the key store; None for tokens and keys of the environment
    collections: tuple[str, ...] | None = None  # that it may see: names, and beginnings with `*`; None: all
    can_write: bool = True  # may change the collections that it sees

    def may_see(self, collection: str) -> bool:
        """Whether the caller may see a collection of this name, whether there is one or not."""
        return self.collections is None or any(_matches(pattern, collection) for pattern in self.collections)


def _matches(pattern: str, name: str) -> bool:
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern


ANONYMOUS = Identity("anonymous", "user", "unlimited")  # every caller when authentication is off
