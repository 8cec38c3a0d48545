"""A reverse proxy that serves the service below a path, and that can fail as networks do."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PREFIX = "/qr"
_HOPS = {"connection", "transfer-encoding", "keep-alive"}


class Proxy(ThreadingHTTPServer):
    """Passes requests below `PREFIX` on to a port."""

    daemon_threads = True

    def __init__(self, port: int) -> None:
        """port: the service's."""
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target = port
        self.broken = False  # whether it answers 502 to what is posted
        self.cut_after: int | None = None  # bytes of a stream, after which it closes the connection
        self.held: threading.Event | None = None  # what a stream waits for after its first event
        self.paths = list[str]()  # that were asked for

    @property
    def url(self) -> str:
        """Where the service is below the path."""
        return f"http://127.0.0.1:{self.server_address[1]}{PREFIX}/"


class _Handler(BaseHTTPRequestHandler):
    server: Proxy

    def _pass_on(self) -> None:
        self.server.paths.append(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if not self.path.startswith(PREFIX + "/"):
            self.send_error(404)
        elif self.server.broken and self.command == "POST":
            self.send_error(502)
        else:
            self._forward(body)
        self.close_connection = True

    do_GET = do_POST = do_DELETE = do_PUT = _pass_on  # noqa: N815 - the names that the library calls

    def _forward(self, body: bytes) -> None:
        connection = HTTPConnection("127.0.0.1", self.server.target)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOPS}
        connection.request(self.command, self.path.removeprefix(PREFIX), body or None, headers)
        response = connection.getresponse()
        self.send_response(response.status)
        for name, value in response.getheaders():
            if name.lower() not in _HOPS:
                self.send_header(name, value)
        self.send_header("Connection", "close")
        self.end_headers()
        left = self.server.cut_after if self.path.endswith("/stream") else None
        while data := response.read1(1024):
            self.wfile.write(data if left is None else data[:left])
            self.wfile.flush()
            if self.server.held and self.path.endswith("/stream"):
                self.server.held.wait(30)
            if left is not None and (left := left - len(data)) <= 0:
                break
        connection.close()

    def log_message(self, *_: object) -> None:
        """Keep the tests' output clean."""


@contextmanager
def proxied(port: int) -> Iterator[Proxy]:
    """A proxy before a port, within the block."""
    proxy = Proxy(port)
    thread = threading.Thread(target=proxy.serve_forever)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.shutdown()
        thread.join()
        proxy.server_close()
