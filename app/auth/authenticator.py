"""Authentication of a request's credentials, and a cache of the results."""

from __future__ import annotations

import asyncio
import base64
import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from app.auth import audit
from app.auth.keys import Pepper
from app.auth.store import UNKNOWN, CredentialStore, Grant, Refusal
from app.errors import KeysUnavailable, Overloaded, Unauthorized
from app.identity import Identity

if TYPE_CHECKING:
    from app.auth.tokens import Tokens

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
        user, _, password = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except ValueError:  # not base64, not UTF-8, or not even ASCII
        return []
    return [user, password]


T = TypeVar("T")

CACHED_S = 2.0  # a revoked key is accepted for at most this long
_MAX_ENTRIES = 10_000


class CredentialCache:
    """Caches grants and refusals by the credential's keyed hash, for a short time. Refusals never evict grants."""

    def __init__(self, seconds: float, most: int = _MAX_ENTRIES) -> None:
        """seconds: how long an entry is valid. most: the maximum number of grants, and of refusals."""
        self._seconds, self._max_entries = seconds, most
        self._granted: dict[bytes, tuple[Grant, float]] = {}
        self._refused: dict[bytes, tuple[Refusal, float]] = {}

    def get(self, digest: bytes) -> Grant | Refusal | None:
        """The cached result of a credential, or None."""
        entry = self._granted.get(digest) or self._refused.get(digest)
        return entry[0] if entry and time.monotonic() < entry[1] else None

    def put(self, digest: bytes, result: Grant | Refusal, since: float) -> None:
        """Cache the result of a credential.

        Args:
            digest: The credential's keyed hash.
            result: The store's answer.
            since: When the store was queried, by the monotonic clock.
        """
        self._granted.pop(digest, None)
        self._refused.pop(digest, None)
        left = result.until - time.time() if isinstance(result, Grant) else math.inf
        until = min(since + self._seconds, time.monotonic() + left)
        if isinstance(result, Grant):
            _keep(self._granted, digest, (result, until), self._max_entries)
        else:
            _keep(self._refused, digest, (result, until), self._max_entries)

    def clear(self) -> None:
        """Remove all entries."""
        self._granted.clear()
        self._refused.clear()


def _keep(entries: dict[bytes, T], digest: bytes, entry: T, most: int) -> None:
    if len(entries) >= most:
        del entries[next(iter(entries))]  # the oldest
    entries[digest] = entry


_NEEDED = "this service needs a key: send it as `Authorization: Bearer KEY` or `X-API-Key: KEY`"
_NO_TOKENS = Refusal("tokens are not taken here; ask the operator of this service for a key")
_MAX_LOOKUPS = 1000  # at the same time
_LOG_INTERVAL_S = 60  # the audit log has at most one line about the refusals of a key in this time
_MAX_LOGGED = 1000

Result = Grant | Refusal


class Authenticator:
    """Authenticates keys and tokens and caches the results briefly. Runs on the event loop and never blocks it."""

    def __init__(
        self,
        stores: Sequence[CredentialStore],
        pepper: Pepper,
        in_thread: Callable[[Callable[[], Result]], Awaitable[Result]],
        tokens: Tokens | None = None,
        remembered: CredentialCache | None = None,
    ) -> None:
        """Needs the stores to query and what hashes their keys.

        Args:
            stores: Queried in this order, in a thread.
            pepper: The secret of the key hashes.
            in_thread: Runs blocking work in a thread.
            tokens: Checks tokens; None if they are not accepted.
            remembered: The cache of results.
        """
        self._stores, self._pepper, self._in_thread, self._tokens = stores, pepper, in_thread, tokens
        self._cache = remembered or CredentialCache(CACHED_S)
        self._lookups: dict[bytes, asyncio.Task[Result]] = {}  # in progress
        self._silent_until: dict[str, float] = {}  # by prefix: until when its refusals are not logged

    async def identify(self, credentials: Sequence[str], origin: str) -> Identity:
        """The identity of the first valid credential.

        Raises:
            Unauthorized: No credential is valid.
            KeysUnavailable: No credential is known to be valid, but a store did not answer for one.
        """
        if not credentials:
            raise Unauthorized(_NEEDED)
        refusal, unavailable = UNKNOWN, None
        for credential in credentials:
            try:
                result = await self._find(credential, origin)
            except KeysUnavailable as error:
                unavailable = error
                continue
            if isinstance(result, Grant):
                return result.identity
            refusal = result if refusal is UNKNOWN else refusal
        raise unavailable or Unauthorized(refusal.reason)

    def forget(self) -> None:
        """Clear the cache, because keys have changed."""
        self._cache.clear()
        self._lookups.clear()  # running lookups still answer their requests, but are not cached

    async def _find(self, credential: str, origin: str) -> Result:
        digest = self._pepper.hash(credential)
        cached = self._cache.get(digest)
        if cached is not None:
            return cached
        lookup = self._lookups.get(digest)
        if lookup is None:
            if len(self._lookups) >= _MAX_LOOKUPS:
                raise Overloaded("too many keys are being checked at the moment; try again")
            lookup = self._lookups[digest] = asyncio.create_task(self._look_up(credential, digest, origin))
            lookup.add_done_callback(lambda task: self._remove_lookup(digest, task))
        return await asyncio.shield(lookup)  # other requests may wait for it when this one is cancelled

    def _remove_lookup(self, digest: bytes, task: asyncio.Task[Result]) -> None:
        if self._lookups.get(digest) is task:
            del self._lookups[digest]
        if not task.cancelled():
            task.exception()  # marks it as retrieved, even if no request waits any more

    async def _look_up(self, credential: str, digest: bytes, origin: str) -> Result:
        since = time.monotonic()
        result = await self._in_thread(partial(self._query_stores, credential, digest))
        if isinstance(result, Refusal) and credential.count(".") == 2:
            result = await self._tokens.check(credential) if self._tokens else _NO_TOKENS
        if self._lookups.get(digest) is asyncio.current_task():
            self._cache.put(digest, result, since)
        if isinstance(result, Refusal) and result.prefix:
            self._log_refusal(result, result.prefix, origin)
        return result

    def _query_stores(self, credential: str, digest: bytes) -> Result:
        """The first grant of a store, or the last refusal. Runs in a thread."""
        refusal = UNKNOWN
        for store in self._stores:
            result = store.find(credential, digest)
            if isinstance(result, Grant):
                return result
            refusal = result
        return refusal

    def _log_refusal(self, refusal: Refusal, prefix: str, origin: str) -> None:
        now = time.monotonic()
        if now < self._silent_until.get(prefix, 0):
            return
        if len(self._silent_until) >= _MAX_LOGGED:
            self._silent_until.clear()
        self._silent_until[prefix] = now + _LOG_INTERVAL_S
        audit.record(
            "key.refused", by=prefix, origin=origin, result="refused", prefix=prefix, about={"reason": refusal.reason}
        )
