"""The public keys of a token issuer, from a file or by HTTPS."""

from __future__ import annotations

import asyncio
import logging
import time
import urllib.request
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import orjson
from jwt import PyJWK
from jwt.exceptions import PyJWTError

from app.auth.outgoing import HEADERS
from app.errors import KeysUnavailable
from retrieval.errors import Fault

log = logging.getLogger(__name__)

AGAIN_S = 10.0  # tokens that name unknown keys cause no more than one reading in this time
_TIMEOUT_S = 5
_MOST_BYTES = 2**20
_MOST_KEYS = 32
_KINDS = {"RSA": ("RS256", ("n", "e")), "EC": ("ES256", ("crv", "x", "y"))}  # algorithm, public members

Read = Callable[[], bytes]
InThread = Callable[[Callable[[], list[PyJWK]]], Awaitable[list[PyJWK]]]


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Whoever is redirected to decides who is let in, and the settings do not name them."""

    def redirect_request(self, *args: Any) -> None:
        """None: an error."""


_OPENER = urllib.request.build_opener(_NoRedirects)


def from_file(file: Path) -> Read:
    """Reads a file."""
    return file.read_bytes


def from_url(url: str) -> Read:
    """Reads a URL, within bounds."""

    def read() -> bytes:
        asked = urllib.request.Request(url, headers=dict(HEADERS.get()))  # noqa: S310 - the settings name it
        with _OPENER.open(asked, timeout=_TIMEOUT_S) as response:
            text: bytes = response.read(_MOST_BYTES + 1)
        if len(text) > _MOST_BYTES:
            raise ValueError(f"it is larger than {_MOST_BYTES} bytes")
        return text

    return read


class Jwks:
    """Public keys, read when first needed, when old, and when a token names one that is not among them.

    An issuer that does not answer costs nothing as long as tokens are signed with the keys that are known.
    """

    def __init__(self, read: Read, in_thread: InThread, max_age_s: float, again_s: float = AGAIN_S) -> None:
        """read: may block, and is called in a thread."""
        self._read, self._in_thread = read, in_thread
        self._max_age_s, self._again_s = max_age_s, again_s
        self._keys: list[PyJWK] = []
        self._failure: str | None = "they were not read yet"
        self.last_fault: Fault | None = None
        self._read_at = self._tried_at = float("-inf")
        self._reading: asyncio.Task[None] | None = None

    @property
    def lost(self) -> bool:
        """Whether they could not be read when that was last tried."""
        return self._failure is not None and self.last_fault is not None

    def check(self) -> None:
        """Begin to read them if they are old, or could not be read, without waiting for it. On the event loop."""
        if self._failure is not None or time.monotonic() - self._read_at > self._max_age_s:
            self._begin()

    async def matching(self, algorithm: str, named: str | None) -> Sequence[PyJWK]:
        """The keys that a token may be signed with; KeysUnavailable if none was ever read."""
        if time.monotonic() - self._read_at > self._max_age_s:
            self._begin()  # without waiting for it
        found = self._among(algorithm, named)
        if not found:
            self._begin()
            if self._reading:
                await asyncio.shield(self._reading)
            found = self._among(algorithm, named)
        if not self._keys:
            raise KeysUnavailable(f"the keys of the tokens' issuer cannot be had: {self._failure}")
        return found

    def _among(self, algorithm: str, named: str | None) -> list[PyJWK]:
        return [key for key in self._keys if key.algorithm_name == algorithm and named in {None, key.key_id}]

    def _begin(self) -> None:
        """Start reading, unless that is under way or was tried a moment ago."""
        if self._reading is None and time.monotonic() - self._tried_at >= self._again_s:
            self._tried_at = time.monotonic()
            self._reading = asyncio.create_task(self._renew())

    async def _renew(self) -> None:
        try:
            self._keys = await self._in_thread(lambda: parse(self._read()))
            self._read_at, self._failure = time.monotonic(), None
        except Exception as error:  # noqa: BLE001 - whoever answers for the issuer may answer anything
            why = str(error) or type(error).__name__
            if self._failure is None or not self._keys:
                log.warning("the keys of the tokens' issuer cannot be read: %s", why)
            self._failure = why
            self.last_fault = Fault.now(f"the keys of the tokens' issuer cannot be read: {why}")
        finally:
            self._reading = None


def parse(text: bytes) -> list[PyJWK]:
    """The keys of a JWKS document that tokens may be signed with; ValueError if there is none."""
    document = orjson.loads(text)
    items = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(items, list):
        raise ValueError("it is no JWKS document: there is no list `keys`")  # noqa: TRY004 - it is the document's fault
    keys = [key for item in items[:_MOST_KEYS] if (key := _key(item))]
    if not keys:
        raise ValueError("it holds no RSA or P-256 key for signatures")
    return keys


def _key(item: Any) -> PyJWK | None:
    """A key of a kind and length that is used here, without private members; others may stand beside it."""
    kind = item.get("kty") if isinstance(item, dict) else None
    if not isinstance(kind, str) or kind not in _KINDS or item.get("use", "sig") != "sig":
        return None
    algorithm, members = _KINDS[kind]
    if item.get("alg", algorithm) != algorithm or item.get("crv", "P-256") != "P-256":
        return None
    public = {name: item[name] for name in ("kty", "kid", *members) if name in item}
    if not all(isinstance(member, str) for member in public.values()):
        return None
    try:
        key = PyJWK(public, algorithm)
    except (PyJWTError, ValueError, TypeError):
        return None
    return None if key.Algorithm.check_key_length(key.key) else key
