"""The public keys of a token issuer (JWKS), from a file or by HTTPS."""

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

AGAIN_S = 10.0  # tokens with an unknown `kid` cause at most one refresh in this time
_TIMEOUT_S = 5
_MAX_BYTES = 2**20
_MAX_KEYS = 32
_KINDS = {"RSA": ("RS256", ("n", "e")), "EC": ("ES256", ("crv", "x", "y"))}  # algorithm, public members

Read = Callable[[], bytes]
InThread = Callable[[Callable[[], list[PyJWK]]], Awaitable[list[PyJWK]]]


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Rejects redirects: keys may come only from the URL in the settings."""

    def redirect_request(self, *args: Any) -> None:
        """Return None, which urllib turns into an error."""


_OPENER = urllib.request.build_opener(_NoRedirects)


def from_file(file: Path) -> Read:
    """A reader of a file."""
    return file.read_bytes


def from_url(url: str) -> Read:
    """A reader of a URL, with limits on time and size."""

    def read() -> bytes:
        request = urllib.request.Request(url, headers=dict(HEADERS.get()))  # noqa: S310 - the URL is from the settings
        with _OPENER.open(request, timeout=_TIMEOUT_S) as response:
            text: bytes = response.read(_MAX_BYTES + 1)
        if len(text) > _MAX_BYTES:
            raise ValueError(f"it is larger than {_MAX_BYTES} bytes")
        return text

    return read


class Jwks:
    """Public keys, read on first use, when they are old, and when a token has an unknown `kid`.

    While the issuer does not answer, tokens that are signed with a cached key remain valid.
    """

    def __init__(self, read: Read, in_thread: InThread, max_age_s: float, again_s: float = AGAIN_S) -> None:
        """Does not read yet.

        Args:
            read: Returns the JWKS document. May block; runs in a thread.
            in_thread: Runs blocking work in a thread.
            max_age_s: Age at which the keys are read again.
            again_s: Minimum time between two attempts to read.
        """
        self._read, self._in_thread = read, in_thread
        self._max_age_s, self._again_s = max_age_s, again_s
        self._keys: list[PyJWK] = []
        self._failure: str | None = "they have not been read yet"
        self.last_fault: Fault | None = None
        self._read_at = self._tried_at = float("-inf")
        self._reading: asyncio.Task[None] | None = None

    @property
    def lost(self) -> bool:
        """Whether the last attempt to read the keys failed."""
        return self._failure is not None and self.last_fault is not None

    def check(self) -> None:
        """Start a refresh if the keys are old or could not be read. Does not wait. Call it on the event loop."""
        if self._failure is not None or time.monotonic() - self._read_at > self._max_age_s:
            self._begin()

    async def matching(self, algorithm: str, kid: str | None) -> Sequence[PyJWK]:
        """The keys for an algorithm and key id, all of the algorithm without an id.

        KeysUnavailable if the keys have never been read.
        """
        if time.monotonic() - self._read_at > self._max_age_s:
            self._begin()  # in the background
        keys = self._select(algorithm, kid)
        if not keys:
            self._begin()
            if self._reading:
                await asyncio.shield(self._reading)
            keys = self._select(algorithm, kid)
        if not self._keys:
            raise KeysUnavailable(f"the keys of the tokens' issuer are not available: {self._failure}")
        return keys

    def _select(self, algorithm: str, kid: str | None) -> list[PyJWK]:
        return [key for key in self._keys if key.algorithm_name == algorithm and kid in {None, key.key_id}]

    def _begin(self) -> None:
        """Start a refresh, unless one is running or was tried less than `again_s` ago."""
        if self._reading is None and time.monotonic() - self._tried_at >= self._again_s:
            self._tried_at = time.monotonic()
            self._reading = asyncio.create_task(self._renew())

    async def _renew(self) -> None:
        try:
            self._keys = await self._in_thread(lambda: parse(self._read()))
            self._read_at, self._failure = time.monotonic(), None
        except Exception as error:  # noqa: BLE001 - the answer may be anything
            cause = str(error) or type(error).__name__
            if self._failure is None or not self._keys:
                log.warning("the keys of the tokens' issuer cannot be read: %s", cause)
            self._failure = cause
            self.last_fault = Fault.now(f"the keys of the tokens' issuer cannot be read: {cause}")
        finally:
            self._reading = None


def parse(text: bytes) -> list[PyJWK]:
    """The usable signature keys of a JWKS document; ValueError if there is none."""
    document = orjson.loads(text)
    items = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(items, list):
        raise ValueError("it is not a JWKS document: it has no list `keys`")  # noqa: TRY004 - an error of the document
    keys = [key for item in items[:_MAX_KEYS] if (key := _key(item))]
    if not keys:
        raise ValueError("it contains no RSA or P-256 key for signatures")
    return keys


def _key(item: Any) -> PyJWK | None:
    """The public key of a JWK, or None if its type, use or length is not supported."""
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
