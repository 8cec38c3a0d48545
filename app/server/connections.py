"""Limits of the server's connections, HTTP and WebSocket: their number, and the unsent bytes in their write buffers.

A client that does not read its responses costs memory. So the unsent bytes of all connections together are limited, and
half of a connection's unsent bytes must be sent within a time limit. A connection that exceeds a limit is aborted.
"""

from __future__ import annotations

import asyncio

from app.quotas.fair_share import Shares
from app.settings import LimitSettings


class Connections:
    """The open connections of one process. Use it on the event loop only."""

    def __init__(self, limits: LimitSettings) -> None:
        """limits: of which it uses `connections`, `all_answers_bytes` and `body_seconds`."""
        self._shares = Shares(limits.connections)
        self._limits = limits
        self._with_unsent_bytes: set[WriteBuffer] = set()

    def open(self, address: str) -> bool:
        """Count a connection of an address; False if all addresses or this one have too many."""
        return self._shares.take(address, 1)

    def close(self, address: str) -> None:
        """Stop counting a connection that `open` counted."""
        self._shares.give(address, 1)

    def add_unsent(self, buffer: WriteBuffer) -> None:
        """Count a buffer that has unsent bytes. While all together have too many, abort the fullest connection."""
        self._with_unsent_bytes.add(buffer)
        while sum(each.size for each in self._with_unsent_bytes) > self._limits.all_answers_bytes:
            fullest = max(self._with_unsent_bytes, key=lambda each: each.size)
            self._with_unsent_bytes.discard(fullest)
            fullest.abort()

    def remove_unsent(self, buffer: WriteBuffer) -> None:
        """Stop counting a buffer."""
        self._with_unsent_bytes.discard(buffer)

    @property
    def send_seconds(self) -> float:
        """The time in which half of a connection's unsent bytes must be sent."""
        return self._limits.body_seconds


class WriteBuffer:
    """The unsent bytes of one connection, and the time limit for sending them."""

    def __init__(self, transport: asyncio.Transport, connections: Connections) -> None:
        """connections: all of this server."""
        self._transport, self._connections = transport, connections
        self._timer: asyncio.TimerHandle | None = None
        self._size_at_start = 0  # unsent bytes when the timer was set

    @property
    def size(self) -> int:
        """Number of unsent bytes."""
        return 0 if self._transport.is_closing() else self._transport.get_write_buffer_size()

    def check(self) -> None:
        """Start the time limit if there are unsent bytes, else stop it. Call it when their number may have changed."""
        size = self.size
        if not size:
            self.stop()
            return
        if self._timer is None:
            self._start_timer(size)
        self._connections.add_unsent(self)

    def stop(self) -> None:
        """Stop the time limit."""
        self._connections.remove_unsent(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def abort(self) -> None:
        """Drop the unsent bytes and abort the connection."""
        self.stop()
        self._transport.abort()

    def _start_timer(self, size: int) -> None:
        self._size_at_start = size
        self._timer = asyncio.get_running_loop().call_later(self._connections.send_seconds, self._expire)

    def _expire(self) -> None:
        self._timer = None
        size = self.size
        if 2 * size > self._size_at_start:
            self.abort()
        elif size:
            self._start_timer(size)
        else:
            self.stop()
