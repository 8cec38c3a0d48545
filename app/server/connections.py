"""The connections of a server, over HTTP and WebSockets: how many there are, and what waits to be sent on them.

A client that takes no answer costs memory until it does. So the bytes that wait are bounded, on all connections
together and in the time in which half of them must be taken; who exceeds that is cut off.
"""

from __future__ import annotations

import asyncio

from app.quotas.shares import Shares
from app.settings import LimitSettings


class Connections:
    """Those of one process. Belongs to the event loop."""

    def __init__(self, limits: LimitSettings) -> None:
        """limits: `connections`, `all_answers_bytes` and `body_seconds`."""
        self._shares = Shares(limits.connections)
        self._limits = limits
        self._unsent: set[Outgoing] = set()

    def open(self, address: str) -> bool:
        """Take one from an address; False if there are too many, of all or of its own."""
        return self._shares.take(address, 1)

    def close(self, address: str) -> None:
        """Let one go that was taken."""
        self._shares.give(address, 1)

    def hold(self, outgoing: Outgoing) -> None:
        """Bytes wait on a connection: while there are too many on all, cut off the one with the most."""
        self._unsent.add(outgoing)
        while sum(each.size for each in self._unsent) > self._limits.all_answers_bytes:
            most = max(self._unsent, key=lambda each: each.size)
            self._unsent.discard(most)
            most.cut()

    def drop(self, outgoing: Outgoing) -> None:
        """Nothing waits there any more."""
        self._unsent.discard(outgoing)

    @property
    def seconds(self) -> float:
        """In which half of what waits must be taken."""
        return self._limits.body_seconds


class Outgoing:
    """What waits to be sent on one connection."""

    def __init__(self, transport: asyncio.Transport, connections: Connections) -> None:
        """Nothing waits yet."""
        self._transport, self._connections = transport, connections
        self._timer: asyncio.TimerHandle | None = None
        self._before = 0  # bytes that waited when the timer was set

    @property
    def size(self) -> int:
        """Bytes that wait."""
        return 0 if self._transport.is_closing() else self._transport.get_write_buffer_size()

    def look(self) -> None:
        """See whether bytes wait, and watch them until they are taken. To be called whenever that may have changed."""
        size = self.size
        if not size:
            self.end()
            return
        if self._timer is None:
            self._watch(size)
        self._connections.hold(self)

    def end(self) -> None:
        """Watch no more."""
        self._connections.drop(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def cut(self) -> None:
        """Drop what waits, and the connection with it."""
        self.end()
        self._transport.abort()

    def _watch(self, size: int) -> None:
        self._before = size
        self._timer = asyncio.get_running_loop().call_later(self._connections.seconds, self._expire)

    def _expire(self) -> None:
        self._timer = None
        size = self.size
        if 2 * size > self._before:
            self.cut()
        elif size:
            self._watch(size)
        else:
            self.end()
