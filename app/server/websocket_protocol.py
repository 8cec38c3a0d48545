"""uvicorn's WebSocket protocol, with limits that uvicorn does not have.

The limits: rate of frames, time and memory of an unfinished message (memory is shared with HTTP bodies), and unsent
bytes as over HTTP. A server that shuts down finishes the requests in flight before it closes their connections.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn._types import ASGISendEvent
from uvicorn.config import Config
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.exceptions import ProtocolError
from websockets.frames import CloseCode, Frame
from websockets.server import ServerProtocol

from app.quotas.fair_share import Shares, address_of
from app.server.connections import Connections, WriteBuffer
from app.settings import LimitSettings

_FRAMES = 4096  # size of the token bucket, for pings, messages and fragments
_FRAMES_PER_S = 500  # its refill rate


class _FrameRateLimit(ServerProtocol):
    """The state of one connection, which limits the rate of frames: each costs time and memory."""

    def __init__(self, max_size: int | None, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(max_size=max_size)
        self._clock, self._tokens, self._refilled_at = loop.time, float(_FRAMES), loop.time()

    def recv_frame(self, frame: Frame) -> None:
        now = self._clock()
        self._tokens = min(_FRAMES, self._tokens + _FRAMES_PER_S * (now - self._refilled_at)) - 1
        self._refilled_at = now
        if self._tokens < 0:
            raise ProtocolError(f"more than {_FRAMES} frames at once, or more than {_FRAMES_PER_S} per second")
        super().recv_frame(frame)


class BoundedSocketProtocol(WebSocketsSansIOProtocol):
    """One WebSocket connection."""

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
        """Take uvicorn's arguments, and the limits. connections: all of this server."""
        super().__init__(config, server_state, app_state, _loop)
        self.conn = _FrameRateLimit(config.ws_max_size, self.loop)
        self._limits, self._connections = limits, connections
        self._bodies: Shares = app_state["bodies"]
        self._unfinished_bytes = 0  # size of the unfinished message
        self._timer: asyncio.TimerHandle | None = None  # its time limit

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection over from the HTTP protocol, and count it."""
        super().connection_made(transport)
        self._write_buffer = WriteBuffer(self.transport, self._connections)
        self._address = address_of(self.client)
        self._is_counted = self._connections.open(self._address)

    def connection_lost(self, exc: Exception | None) -> None:
        """Release the memory of an unfinished message: else it stays until the garbage collector runs."""
        self._reserve(0)
        self.frames = []
        self.conn.reader.discard()
        self._write_buffer.stop()
        if self._is_counted:
            self._connections.close(self._address)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Process received bytes; limit the memory and the time of an unfinished message."""
        super().data_received(data)
        size = len(self.conn.reader.buffer) + sum(map(len, self.frames))
        if not self._reserve(0 if self.close_sent else size):
            self._fail(CloseCode.TRY_AGAIN_LATER, "the requests that are being served are too large together")

    def send_receive_event_to_app(self) -> None:
        """Pass a message on. A text that is not UTF-8 ends the connection, as RFC 6455, section 8.1, demands.

        uvicorn would do so as well, and log a traceback: a stranger could fill the log.
        """
        if self.curr_msg_data_type == "text":
            self.frames = [b"".join(self.frames)]
            try:
                self.frames[0].decode()
            except UnicodeDecodeError as error:
                self._fail(CloseCode.INVALID_DATA, f"byte {error.start} of the text is not UTF-8")
                return
        super().send_receive_event_to_app()

    async def send(self, message: ASGISendEvent) -> None:
        """Send what the application says. A refused handshake is complete, too: uvicorn would log an error for it."""
        await super().send(message)
        self.handshake_complete = self.handshake_complete or self.close_sent

    def pause_writing(self) -> None:
        """Stop reading while the transport's write buffer is above its high-water mark."""
        super().pause_writing()
        self._write_buffer.check()
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        """Read again: the transport's write buffer is below its low-water mark."""
        super().resume_writing()
        self._write_buffer.stop()
        if not self.read_paused:
            self.transport.resume_reading()

    def shutdown(self) -> None:
        """Notify the application of the shutdown; it answers the requests in flight, then closes the connection.

        uvicorn's own method closes the connection at once, and later frames are lost. uvicorn's
        `timeout_graceful_shutdown` limits the time that the application may take.
        """
        if self.close_sent or not self.handshake_complete:
            super().shutdown()
        else:
            self.stop_keepalive()
            # A client may close with this code, too, so the message says that the server does.
            disconnect: Any = {"type": "websocket.disconnect", "code": CloseCode.SERVICE_RESTART, "is_shutdown": True}
            self.queue.put_nowait(disconnect)

    def _reserve(self, size: int) -> bool:
        """Reserve `size` bytes in all for the unfinished message (0: there is none); False if too little is left."""
        if not size and self._timer:
            self._timer.cancel()
            self._timer = None
        elif size and not self._timer:
            self._timer = self.loop.call_later(self._limits.body_seconds, self._on_timeout)
        caller = f"address:{self._address}"
        self._bodies.give(caller, self._unfinished_bytes)
        self._unfinished_bytes = size if self._bodies.take(caller, size) else 0
        return self._unfinished_bytes == size

    def _on_timeout(self) -> None:
        self._fail(CloseCode.POLICY_VIOLATION, f"the message did not arrive within {self._limits.body_seconds} seconds")

    def _fail(self, code: int, reason: str) -> None:
        """Close the connection with a code and a reason."""
        self._reserve(0)
        self.frames = []
        if not self.close_sent:
            self.conn.fail(code, reason)
            self.handle_parser_exception()
