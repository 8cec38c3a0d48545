"""Keys from the environment variable `QRERANK_AUTH__KEYS`."""

from __future__ import annotations

import hmac
from collections.abc import Iterable

from app.auth.keys import Pepper
from app.auth.store import UNKNOWN, Grant, Refusal
from app.identity import Identity


class EnvironmentKeys:
    """Keys that are fixed when the service starts. Only their hashes are kept, and comparison takes constant time."""

    def __init__(self, keys: Iterable[str], pepper: Pepper) -> None:
        """keys: in plain text. pepper: the secret of their hashes."""
        self._hashes = [pepper.hash(key) for key in keys]

    def find(self, key: str, digest: bytes) -> Grant | Refusal:  # noqa: ARG002 - a store's
        """Check a key. A grant has the role user and the tier unlimited."""
        result: Grant | Refusal = UNKNOWN
        for stored_digest in self._hashes:  # compares with all: the time must not reveal which one matched
            if hmac.compare_digest(stored_digest, digest):
                # These keys have no prefix, so the hash gives each a stable name of its own.
                result = Grant(Identity(f"env:{digest.hex()[:8]}", "user", "unlimited"))
        return result
