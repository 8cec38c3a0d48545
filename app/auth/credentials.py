"""Keys: where clients put them, and whether one is known."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable, Mapping

_HEADERS = ("x-api-key", "api-key")


def presented(headers: Mapping[str, str]) -> list[str]:
    """What a request's headers (lower-case names) offer as keys, in every place where rerank clients put them.

    `Authorization: Bearer KEY`, `Authorization: KEY`, HTTP Basic as user or password, `X-API-Key` and `Api-Key`.
    """
    offered = [headers[name].strip() for name in _HEADERS if name in headers]
    scheme, _, rest = headers.get("authorization", "").strip().partition(" ")
    if scheme.lower() == "basic":
        offered += _basic(rest)
    elif rest:
        offered += [rest.strip()] if scheme.lower() == "bearer" else []
    else:
        offered.append(scheme)
    return [key for key in offered if key]


def _basic(encoded: str) -> list[str]:
    try:
        user, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return []
    return [user, password]


class Keys:
    """The known keys. Only their hashes are kept, and compared in constant time."""

    def __init__(self, keys: Iterable[str]) -> None:
        """Take the keys in plain text."""
        self._hashes = [_hash(key) for key in keys]

    def know(self, offered: Iterable[str]) -> bool:
        """Whether one of the offered keys is known."""
        known = False
        for key in offered:
            digest = _hash(key)
            for other in self._hashes:  # all of them: the time must not tell which one came close
                known |= hmac.compare_digest(digest, other)
        return known


def _hash(key: str) -> bytes:
    # Keys are long and random, so a fast hash is as good as a slow one.
    return hashlib.sha256(key.encode()).digest()
