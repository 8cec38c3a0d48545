"""WebSockets as uvicorn speaks them, with bounds that uvicorn does not have.

Frames are bounded in number and time, unfinished messages in time and in the memory of all bodies, and what waits to be
sent as it is over HTTP. And a server that stops hangs up on no request in flight.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.exceptions import ProtocolError
from websockets.frames import CloseCode, Frame
from websockets.server import ServerProtocol

from app.quotas.shares import Shares, address_of
from app.server.connections import Connections, Outgoing
from app.settings import LimitSettings

SPARE_BYTES = 2**16

_FRAMES = 4096  # at once, of pings, messages and fragments
_FRAMES_PER_S = 500


class _FewFrames(ServerProtocol):
    """The state of one connection, which refuses frames that come faster than they may: each costs time and memory."""

    def __init__(self, max_size: int | None, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(max_size=max_size)
        self._clock, self._left, self._at = loop.time, float(_FRAMES), loop.time()

    def recv_frame(self, frame: Frame) -> None:
        now = self._clock()
        self._left = min(_FRAMES, self._left + _FRAMES_PER_S * (now - self._at)) - 1
        self._at = now
        if self._left < 0:
            raise ProtocolError(f"more than {_FRAMES} frames at once, or than {_FRAMES_PER_S} a second")
        super().recv_frame(frame)


class BoundedSocketProtocol(WebSocketsSansIOProtocol):
    """One connection."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        limits: LimitSettings,
        connections: Connections,
    ) -> None:
        """As uvicorn makes it, with the limits. connections: all of this server."""
        super().__init__(config, server_state, app_state, _loop)
        self.conn = _FewFrames(config.ws_max_size, self.loop)
        self._limits, self._all = limits, connections
        self._bodies: Shares = app_state["bodies"]
        self._held = 0  # bytes of an unfinished message
        self._timer: asyncio.TimerHandle | None = None  # of one

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take over a connection, for which the other protocol made room."""
        super().connection_made(transport)
        self._outgoing = Outgoing(self.transport, self._all)
        self._address = address_of(self.client)
        self._opened = self._all.open(self._address)

    def connection_lost(self, exc: Exception | None) -> None:
        """Hold nothing any more: what is left of a message would stay until Python looks for cycles."""
        self._hold(0)
        self.frames = []
        self.conn.reader.discard()
        self._outgoing.end()
        if self._opened:
            self._all.close(self._address)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take some bytes; those of an unfinished message must find room, and their end in time."""
        super().data_received(data)
        held = len(self.conn.reader.buffer) + sum(map(len, self.frames))
        if not self._hold(0 if self.close_sent else held):
            self._fail(CloseCode.TRY_AGAIN_LATER, "the requests that are being served are too large together")

    def pause_writing(self) -> None:
        """More waits to be sent than should: read no more that would have to be answered."""
        super().pause_writing()
        self._outgoing.look()
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        """Most of it was sent."""
        super().resume_writing()
        self._outgoing.end()
        if not self.read_paused:
            self.transport.resume_reading()

    def shutdown(self) -> None:
        """Tell the application that the server stops. It answers what it has in hand, and closes the connection.

        uvicorn's own says goodbye to the client at once, and every frame that follows is lost. How long the
        application may take is bounded by uvicorn's `timeout_graceful_shutdown`.
        """
        if self.close_sent or not self.handshake_complete:
            super().shutdown()
        else:
            self.stop_keepalive()
            self.queue.put_nowait({"type": "websocket.disconnect", "code": CloseCode.SERVICE_RESTART})

    def _hold(self, held: int) -> bool:
        """Hold so many bytes of an unfinished message from now on, 0 if there is none; False where there is no room."""
        if not held and self._timer:
            self._timer.cancel()
            self._timer = None
        elif held and not self._timer:
            self._timer = self.loop.call_later(self._limits.body_seconds, self._is_late)
        caller = f"address:{self._address}"
        self._bodies.give(caller, self._held)
        self._held = held if self._bodies.take(caller, held) else 0
        return self._held == held

    def _is_late(self) -> None:
        self._fail(CloseCode.POLICY_VIOLATION, f"the message was not there after {self._limits.body_seconds} seconds")

    def _fail(self, code: int, reason: str) -> None:
        """Close the connection on a client that is at fault, or that there is no room for."""
        self._hold(0)
        self.frames = []
        if not self.close_sent:
            self.conn.fail(code, reason)
            self.handle_parser_exception()
