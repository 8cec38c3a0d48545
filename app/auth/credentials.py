"""Extraction of keys and tokens from request headers."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping

_HEADERS = ("x-api-key", "api-key")


def presented(headers: Mapping[str, str]) -> list[str]:
    """The credentials in a request's headers, from every place where rerank clients put them.

    `Authorization: Bearer KEY`, `Authorization: KEY`, HTTP Basic as user or password, `X-API-Key` and `Api-Key`.
    headers: with lower-case names.
    """
    credentials = [headers[name].strip() for name in _HEADERS if name in headers]
    scheme, _, rest = headers.get("authorization", "").strip().partition(" ")
    if scheme.lower() == "basic":
        credentials += _basic(rest)
    elif rest:
        credentials += [rest.strip()] if scheme.lower() == "bearer" else []
    else:
        credentials.append(scheme)
    return [credential for credential in credentials if credential]


def _basic(encoded: str) -> list[str]:
    try:
        user, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return []
    return [user, password]
