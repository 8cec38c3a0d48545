"""Attacks of a malicious client on a server, one function each; run in a separate process.

    python -m tests.chaos.attacks NAME PORT SECONDS [KEY]

Prints the number of requests, connections or messages that were sent.
"""

from __future__ import annotations

import base64
import json
import os
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from typing import Any

import httpx

MIB = 2**20
Attack = Callable[["Target"], int]


class Target:
    """The server and the attack's end."""

    def __init__(self, port: int, seconds: float, key: str | None) -> None:
        self.port, self.end, self.key = port, time.monotonic() + seconds, key

    @property
    def left(self) -> bool:
        return time.monotonic() < self.end

    def rest(self) -> None:
        """Keep all connections open until the attack's end."""
        threading.Event().wait(max(0.0, self.end - time.monotonic()))

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=5)

    def head(self, method: str, path: str, *lines: str) -> bytes:
        key = [f"X-API-Key: {self.key}"] if self.key else []
        return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", *key, *lines, "", ""]).encode()

    def post(self, path: str, body: object) -> int:
        """Send a request; its status, or 0 if there is no response."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"X-API-Key": self.key} if self.key else {}
        with suppress(httpx.HTTPError):
            url = f"http://127.0.0.1:{self.port}{path}"
            return httpx.post(url, content=content, headers=headers, timeout=90).status_code
        return 0

    def again(self, path: str, body: object, threads: int = 2) -> int:
        """Send the same request repeatedly from several threads; the number of requests."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()

        def one(_: int) -> int:
            sent = 0
            while self.left:
                self.post(path, content)
                sent += 1
            return sent

        with ThreadPoolExecutor(threads) as pool:
            return sum(pool.map(one, range(threads)))

    def shaken(self) -> socket.socket:
        """A WebSocket connection after the handshake."""
        connection = self.connect()
        key = "Sec-WebSocket-Key: " + base64.b64encode(os.urandom(16)).decode()
        upgrade = ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", key)
        connection.sendall(self.head("GET", "/v1/ws", *upgrade))
        while b"\r\n\r\n" not in connection.recv(4096):
            pass
        return connection


def pour(connection: socket.socket, piece: bytes, limit: int, target: Target) -> int:
    """Send a piece repeatedly up to a limit in bytes or the attack's end; the number of pieces."""
    sent = 0
    with suppress(OSError):
        while sent * len(piece) < limit and target.left:
            connection.sendall(piece)
            sent += 1
    return sent


def together(target: Target, count: int, one: Callable[[socket.socket], int]) -> int:
    """Run a function on several connections concurrently, and keep them open until the attack's end."""
    with ExitStack() as stack, ThreadPoolExecutor(count) as pool:
        connections = [stack.enter_context(target.connect()) for _ in range(count)]
        total = sum(pool.map(one, connections))
        target.rest()
        return total


def frame(first: int, payload: bytes = b"", length: int | None = None) -> bytes:
    size = len(payload) if length is None else length
    head = bytes([first, 0x80 | size]) if size < 126 else bytes([first, 0xFF]) + struct.pack("!Q", size)
    return head + bytes(4) + payload


def pipelined(target: Target) -> int:
    """One connection that sends requests and reads nothing."""
    return together(target, 1, lambda connection: pour(connection, target.head("GET", "/") * 100, 20 * MIB, target))


def trailers(target: Target) -> int:
    """Eight connections that send endless trailers."""

    def one(connection: socket.socket) -> int:
        with suppress(OSError):
            connection.sendall(target.head("POST", "/rerank", "Transfer-Encoding: chunked") + b"0\r\n")
        return pour(connection, b"X-A: b\r\n" * 1000, 200 * MIB, target)

    return together(target, 8, one)


def chunks(target: Target) -> int:
    """Eight connections that send a body byte by byte."""

    def one(connection: socket.socket) -> int:
        with suppress(OSError):
            connection.sendall(target.head("POST", "/rerank", "Transfer-Encoding: chunked"))
        return pour(connection, b"1\r\n \r\n" * 1000, 100 * MIB, target)

    return together(target, 8, one)


def repeated_fields(target: Target) -> int:
    """One name 15 000 times in `rank_fields`."""
    document = {"a": "x" * 2000}
    return target.again("/rerank", {"query": "q", "documents": [document] * 20, "rank_fields": ["a"] * 15_000})


def combining_marks(target: Target) -> int:
    """Texts of combining marks in the order that takes longest to normalise."""
    marks = "a" + "\u0315\u0300" * 100_000
    return target.again("/rerank", {"query": "q", "documents": [marks]}, 3)


def large_texts(target: Target) -> int:
    """Exclusions, inputs and documents of 16 MB, as one word or as many equal words."""
    word, spaced = "x" * (15 * MIB), "word " * (3 * MIB)
    bodies: list[tuple[str, Any]] = [
        ("/rerank", {"query": "q", "documents": ["a", "b"], "exclude": [word]}),
        ("/v1/embeddings", {"input": [word]}),
        ("/v1/embeddings", {"input": spaced}),
        ("/rerank", {"query": "q", "documents": [word]}),
        ("/rerank", {"query": "q", "documents": [spaced]}),
        ("/rerank", {"query": "q", "documents": [word[: 7 * MIB], word[: 7 * MIB]]}),
        ("/v1/similarity", {"text1": "q", "text2": spaced}),
    ]
    encoded = [(path, json.dumps(body).encode()) for path, body in bodies]
    sent = 0
    while target.left:
        path, body = encoded[sent % len(encoded)]
        target.post(path, body)
        sent += 1
    return sent


def long_words(target: Target) -> int:
    """Bodies of distinct long words."""
    sent = 0
    while target.left:
        words = [f"{sent}{number}" + "y" * 3000 for number in range(1000)]
        documents = [" ".join(words[at : at + 10]) for at in range(0, 1000, 10)]
        target.post("/rerank", {"query": "q", "documents": documents})
        sent += 1
    return sent


def endless_work(target: Target) -> int:
    """Sixteen concurrent requests with a thousand new documents each and no deadline."""

    def one(number: int) -> int:
        sent = 0
        while target.left:
            documents = [f"{number} {sent} {at} " + "word " * 200 for at in range(1000)]
            target.post("/rerank", {"query": "q", "documents": documents, "deadline_ms": 0})
            sent += 1
        return sent

    with ThreadPoolExecutor(16) as pool:
        return sum(pool.map(one, range(16)))


def unfinished_bodies(target: Target) -> int:
    """Sixteen bodies of 16 MB that lack one byte."""
    size = 16 * MIB

    def one(connection: socket.socket) -> int:
        with suppress(OSError):
            connection.sendall(target.head("POST", "/rerank", f"Content-Length: {size}"))
            connection.sendall(b" " * (size - 1))
        return 1

    return together(target, 16, one)


def unread_streams(target: Target) -> int:
    """Large streams that the client does not read."""
    body = json.dumps({"query": "owl", "documents": [f"{at} an owl " * 20 for at in range(1000)]}).encode()
    request = target.head("POST", "/v1/rerank/stream", f"Content-Length: {len(body)}") + body
    return together(target, 30, lambda connection: pour(connection, request, 10 * MIB, target))


def unread_answers(target: Target) -> int:
    """Forty responses of about 25 MB that the client does not read."""
    fields = {"query": "owl", "documents": ["owl " * (3 * MIB)], "return_documents": True, "deadline_ms": 50}
    body = json.dumps(fields).encode()
    request = target.head("POST", "/v1/rerank", f"Content-Length: {len(body)}") + body
    return together(target, 40, lambda connection: pour(connection, request, len(request), target))


def pings(target: Target) -> int:
    """WebSockets that ping and read nothing."""

    def one(number: int) -> int:
        with target.shaken() as connection:
            done = pour(connection, frame(0x89, b"x" * 125) * 100, 200 * MIB, target)
            target.rest()
            return done

    with ThreadPoolExecutor(8) as pool:
        return sum(pool.map(one, range(8)))


def unfinished_messages(target: Target) -> int:
    """Thirty WebSocket messages of 15 MB that lack one byte."""
    size = 15 * MIB

    def one(number: int) -> int:
        with suppress(OSError), target.shaken() as connection:
            connection.sendall(frame(0x81, b" " * (size - 1), size))
            target.rest()
        return 1

    with ThreadPoolExecutor(30) as pool:
        return sum(pool.map(one, range(30)))


def fragments(target: Target) -> int:
    """WebSocket messages in fragments of one byte."""

    def one(number: int) -> int:
        sent = 0
        while target.left:
            with suppress(OSError), target.shaken() as connection:
                connection.sendall(frame(0x01, b"x"))
                sent += pour(connection, frame(0x00, b"x") * 1000, 28 * MIB, target)
        return sent

    with ThreadPoolExecutor(8) as pool:
        return sum(pool.map(one, range(8)))


def many_objects(target: Target) -> int:
    """16 MB of minimal objects, and of empty lists."""
    objects = b'{"query": "q", "documents": [' + b",".join([b'{"a":1}'] * (2 * MIB)) + b"]}"
    lists = b'{"query": "q", "documents": [' + b",".join([b"[]"] * (5 * MIB)) + b"]}"
    sent = 0
    while target.left:
        target.post("/rerank", objects if sent % 2 else lists)
        sent += 1
    return sent


def dots(target: Target) -> int:
    """A thousand documents of dots, with relevant spans requested."""
    return target.again("/rerank", {"query": "q", "documents": ["." * 4050] * 1000, "relevant_spans": {}})


def chunked_similarities(target: Target) -> int:
    """Queries against long documents, which are encoded in chunks."""
    documents, queries = [f"{at} " + "word " * 4000 for at in range(20)], [f"query {at}" for at in range(20)]
    return target.again("/v1/batch-similarity", {"queries": queries, "documents": documents})


def idle_connections(target: Target) -> int:
    """More connections than the limit."""
    with ExitStack() as stack:
        opened = 0
        for _ in range(1500):
            with suppress(OSError):
                stack.enter_context(target.connect())
                opened += 1
        target.rest()
        return opened


ATTACKS: dict[str, Attack] = {
    attack.__name__: attack
    for attack in (
        *(pipelined, trailers, chunks, repeated_fields, combining_marks, large_texts, long_words, endless_work),
        *(unfinished_bodies, unread_streams, unread_answers, pings, unfinished_messages, fragments, many_objects, dots),
        *(chunked_similarities, idle_connections),
    )
}


def main() -> None:
    """Parse the command line and run the attack."""
    name, port, seconds, *key = sys.argv[1:]
    sys.stdout.write(str(ATTACKS[name](Target(int(port), float(seconds), key[0] if key else None))))


if __name__ == "__main__":
    main()
