"""Keys of the environment: `QRERANK_AUTH__KEYS`."""

from __future__ import annotations

import hmac
from collections.abc import Iterable

from app.auth.keys import Pepper
from app.auth.store import UNKNOWN, Grant, Refusal
from app.identity import Identity


class EnvironmentKeys:
    """Keys that are fixed when the service starts. Only their hashes are kept, and compared in constant time."""

    def __init__(self, keys: Iterable[str], pepper: Pepper) -> None:
        """Take the keys in plain text."""
        self._hashes = [pepper.hash(key) for key in keys]

    def find(self, key: str, digest: bytes) -> Grant | Refusal:  # noqa: ARG002 - a store's
        """What a key gives: role user, tier unlimited."""
        found: Grant | Refusal = UNKNOWN
        for known in self._hashes:  # all of them: the time must not tell which one it was
            if hmac.compare_digest(known, digest):
                # A name that tells these keys apart and stays theirs, since they have no prefix that might be shown.
                found = Grant(Identity(f"env:{digest.hex()[:8]}", "user", "unlimited"))
        return found
