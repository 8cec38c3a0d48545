"""From what a request offers to who is calling."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from app.auth import audit
from app.auth.credential_cache import REMEMBERED_S, Remembered
from app.auth.keys import Pepper
from app.auth.store import UNKNOWN, CredentialStore, Grant, Refusal
from app.errors import KeysUnavailable, Overloaded, Unauthorized
from app.identity import Identity

if TYPE_CHECKING:
    from app.auth.tokens import Tokens

_NEEDED = "this service needs a key: send it as `Authorization: Bearer KEY` or `X-API-Key: KEY`"
_NO_TOKENS = Refusal("tokens are not taken here; ask whoever runs the service for a key")
_MOST_AT_ONCE = 1000  # credentials that are looked up
_TELL_AGAIN_S = 60  # the audit log tells of a key that is refused this often at most
_MOST_TOLD = 1000

Found = Grant | Refusal


class Authenticator:
    """Finds out who offers a key or token, and remembers it for a moment. For the event loop; it never blocks it."""

    def __init__(
        self,
        stores: Sequence[CredentialStore],
        pepper: Pepper,
        in_thread: Callable[[Callable[[], Found]], Awaitable[Found]],
        tokens: Tokens | None = None,
        remembered: Remembered | None = None,
    ) -> None:
        """stores: asked in this order, in a thread."""
        self._stores, self._pepper, self._in_thread, self._tokens = stores, pepper, in_thread, tokens
        self._remembered = remembered or Remembered(REMEMBERED_S)
        self._asking: dict[bytes, asyncio.Task[Found]] = {}
        self._told: dict[str, float] = {}  # by prefix: until when nothing is told of its refusals

    async def identify(self, offered: Sequence[str], origin: str) -> Identity:
        """Who offers these; Unauthorized, or KeysUnavailable if that might yet prove wrong. origin: for the log."""
        if not offered:
            raise Unauthorized(_NEEDED)
        refusal, lost = UNKNOWN, None
        for credential in offered:
            try:
                found = await self._find(credential, origin)
            except KeysUnavailable as error:
                lost = error
                continue
            if isinstance(found, Grant):
                return found.identity
            refusal = found if refusal is UNKNOWN else refusal
        raise lost or Unauthorized(refusal.reason)

    def forget(self) -> None:
        """Ask anew from now on, since keys have changed."""
        self._remembered.clear()
        self._asking.clear()  # what is under way is heard by those who wait for it, and not remembered

    async def _find(self, credential: str, origin: str) -> Found:
        digest = self._pepper.hash(credential)
        found = self._remembered.get(digest)
        if found is not None:
            return found
        asking = self._asking.get(digest)
        if asking is None:
            if len(self._asking) >= _MOST_AT_ONCE:
                raise Overloaded("more keys are being checked than can be; try again")
            asking = self._asking[digest] = asyncio.create_task(self._ask(credential, digest, origin))
            asking.add_done_callback(lambda task: self._heard(digest, task))
        return await asyncio.shield(asking)  # others may wait for it when this request's client leaves

    def _heard(self, digest: bytes, task: asyncio.Task[Found]) -> None:
        if self._asking.get(digest) is task:
            del self._asking[digest]
        if not task.cancelled():
            task.exception()  # has been seen, even if nobody waits any more

    async def _ask(self, credential: str, digest: bytes, origin: str) -> Found:
        since = time.monotonic()
        found = await self._in_thread(partial(self._search, credential, digest))
        if isinstance(found, Refusal) and credential.count(".") == 2:
            found = await self._tokens.check(credential) if self._tokens else _NO_TOKENS
        if self._asking.get(digest) is asyncio.current_task():
            self._remembered.put(digest, found, since)
        if isinstance(found, Refusal) and found.prefix:
            self._tell(found, found.prefix, origin)
        return found

    def _search(self, credential: str, digest: bytes) -> Found:
        """What the stores find. Runs in a thread."""
        refusal = UNKNOWN
        for store in self._stores:
            found = store.find(credential, digest)
            if isinstance(found, Grant):
                return found
            refusal = found
        return refusal

    def _tell(self, refusal: Refusal, prefix: str, origin: str) -> None:
        now = time.monotonic()
        if now < self._told.get(prefix, 0):
            return
        if len(self._told) >= _MOST_TOLD:
            self._told.clear()
        self._told[prefix] = now + _TELL_AGAIN_S
        audit.record(
            "key.refused", by=prefix, origin=origin, result="refused", prefix=prefix, about={"reason": refusal.reason}
        )
