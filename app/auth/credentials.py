"""Where clients put their keys and tokens."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping

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
