"""WebSockets as uvicorn speaks them, except that a server which stops hangs up on no request in flight."""

from __future__ import annotations

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

SERVICE_RESTART = 1012  # RFC 6455's registry of close codes


class PatientSocketProtocol(WebSocketsSansIOProtocol):
    """One connection."""

    def shutdown(self) -> None:
        """Tell the application that the server stops. It answers what it has in hand, and closes the connection.

        uvicorn's own says goodbye to the client at once, and every frame that follows is lost. How long the
        application may take is bounded by uvicorn's `timeout_graceful_shutdown`.
        """
        if self.close_sent or not self.handshake_complete:
            super().shutdown()
        else:
            self.stop_keepalive()
            self.queue.put_nowait({"type": "websocket.disconnect", "code": SERVICE_RESTART})
