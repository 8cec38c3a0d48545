"""An embeddings server for a remote encoder: the real application, behind a proxy that fails on demand."""

import json
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import uvicorn

from app.main import create_app
from app.settings import Settings
from retrieval.encoder.embeddings_client import Endpoint
from retrieval.encoder.protocol import Encoder
from retrieval.encoder.remote import Reach, RemoteEncoder, connect
from tests.waiting import PATIENT_S, eventually

Document = dict[str, Any]


class Answer:
    """What the proxy sends in place of the server's answer."""

    def __init__(
        self, status: int = 200, headers: Mapping[str, str] | None = None, body: bytes = b"{}", cut: int = 0
    ) -> None:
        """cut: bytes of the announced body that are never sent."""
        self.status, self.headers, self.body, self.cut = status, dict(headers or {}), body, cut


DROP = Answer(0)  # the connection is closed without an answer
Fault = Callable[[Document, "Answer"], Answer]  # what was sent and the server's answer; what is answered


def status(code: int, **headers: str) -> Fault:
    """Always this status."""
    return lambda *_: Answer(code, {name.replace("_", "-"): value for name, value in headers.items()})


def drop(sent: Document, answer: Answer) -> Answer:
    """No answer at all."""
    return DROP


def truncate(sent: Document, answer: Answer) -> Answer:
    """Half of the answer."""
    answer.cut = len(answer.body) // 2
    return answer


def edit(change: Callable[[list[Document]], list[Document]]) -> Fault:
    """Another list of vectors."""

    def edited(sent: Document, answer: Answer) -> Answer:
        document = json.loads(answer.body)
        answer.body = json.dumps(document | {"data": change(document["data"])}).encode()
        return answer

    return edited


def at_most(texts: int, code: int = 422) -> Fault:
    """More texts are refused."""
    return lambda sent, answer: Answer(code) if len(sent["input"]) > texts else answer


def poison(code: int, word: str = "poison") -> Fault:
    """A text with this word makes the whole request fail."""
    return lambda sent, answer: Answer(code) if any(word in text for text in sent["input"]) else answer


class Proxy:
    """Stands before a server on 127.0.0.1, records what it is sent, and fails on demand."""

    def __init__(self, target: int) -> None:
        """target: the server's port."""
        self.target = target
        self.next: deque[Fault] = deque()  # of the next requests, one each
        self.always: Fault | None = None
        self.sent: list[Document] = []
        self.keys: list[str | None] = []
        self.connections = 0
        self.open = threading.Event()  # requests wait for it
        self.open.set()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                proxy.connections += 1
                super().setup()

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                proxy.sent.append(json.loads(body))
                proxy.keys.append(self.headers["Authorization"])
                answer = proxy._answer(self.path, body)
                if answer is DROP:
                    self.close_connection = True
                    return
                self.send_response(answer.status)
                for name, value in (answer.headers | {"Content-Length": str(len(answer.body))}).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(answer.body[: len(answer.body) - answer.cut])
                self.close_connection |= answer.cut > 0

            def log_message(self, *_: object) -> None:
                """Nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1/embeddings"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def sizes(self) -> list[int]:
        """The number of texts in each request."""
        return [len(sent["input"]) for sent in self.sent]

    def reset(self) -> None:
        """Let everything through, and forget what was sent."""
        self.next.clear()
        self.always = None
        self.open.set()
        self.sent.clear()
        self.keys.clear()

    def close(self) -> None:
        self.open.set()
        self.server.shutdown()
        self.server.server_close()

    def _answer(self, path: str, body: bytes) -> Answer:
        assert self.open.wait(PATIENT_S)
        fault = self.next.popleft() if self.next else self.always
        connection = HTTPConnection("127.0.0.1", self.target, timeout=PATIENT_S)
        try:
            connection.request("POST", path, body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            answer = Answer(response.status, {}, response.read())
        finally:
            connection.close()
        return fault(json.loads(body), answer) if fault else answer


@contextmanager
def serving_peer(folder: Path, encoders: Mapping[str, Encoder]) -> Iterator[Proxy]:
    """The application with these models on a socket, and the proxy before it."""
    first, *others = encoders
    app = create_app(Settings(model=first, models=tuple(others), data_dir=folder), encoders)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    eventually(lambda: server.started and app.state.dependencies.engine.state.phase == "ready")
    proxy = Proxy(server.servers[0].sockets[0].getsockname()[1])
    try:
        yield proxy
    finally:
        proxy.close()
        server.should_exit = True
        thread.join(PATIENT_S)


def as_second_model(proxy: Proxy) -> dict[str, Any]:
    """Settings that add a remote model to a service."""
    return {"models": ("remote",), "encoder": {"remote": {"url": proxy.url, "model": "remote"}}}


def connected(proxy: Proxy, memory: Path, model: str = "hash", **options: Any) -> tuple[RemoteEncoder, list[float]]:
    """A remote encoder, and the pauses that it makes between tries, which take no time."""
    pauses: list[float] = []
    endpoint = Endpoint(proxy.url, model, options.pop("api_key", None), 4, options.pop("timeout_s", 10.0))
    reach = Reach(options.pop("batch", 32), options.pop("max_tokens", 512), options.pop("prompts", {}))
    encoder = connect(endpoint, reach, memory, sleep=pauses.append, **options)
    return encoder, pauses
