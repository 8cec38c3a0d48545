"""Clients that send too much, too slowly, or not HTTP, on a real socket of a real server."""

import http.client
import json
import select
import socket
import time
import urllib.error
import urllib.request
from contextlib import contextmanager

import httpx
import pytest

from app.settings import Settings
from tests.app.live import live
from tests.waiting import PATIENT_S, eventually

BODY = json.dumps({"query": "owl", "documents": ["an owl"]}).encode()
LARGE = b"x" * 14_000_000
KEY = "0123456789abcdef"


@contextmanager
def bounded(folder, **limits):
    limits |= {"head_bytes": 4096, "body_bytes": 2**20, "all_bodies_bytes": 3 * 2**20}
    settings = Settings(data_dir=folder, limits=limits, auth={"enabled": True, "keys": (KEY,)})
    with pytest.MonkeyPatch.context() as patch, live(settings, patch) as here:
        yield here


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    with bounded(tmp_path_factory.mktemp("data")) as here:
        yield here.port


@pytest.fixture(scope="module")
def hasty(tmp_path_factory):
    """A server with a timeout of 1 s for headers and bodies, and of 2 s for the next request."""
    with bounded(tmp_path_factory.mktemp("data"), head_seconds=1, body_seconds=1, keep_alive_seconds=2) as here:
        yield here


def head(*lines: bytes, to: bytes = b"POST /rerank") -> bytes:
    return b"\r\n".join((to + b" HTTP/1.1", b"Host: x", b"X-API-Key: " + KEY.encode(), *lines, b"", b""))


def talk(port: int, *pieces: bytes, pause: float = 0) -> bytes:
    """Send the pieces; all that the server sends until it closes the connection or stops reading."""
    received, unsent = b"", list(pieces)
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENT_S) as connection:
        while True:
            readable, _, _ = select.select([connection], [], [], pause if unsent else PATIENT_S)
            try:
                if readable:
                    data = connection.recv(65536)
                    received += data
                    if not data:
                        return received
                elif unsent:
                    connection.sendall(unsent.pop(0))
                else:
                    raise TimeoutError("the server neither responds nor closes the connection")
            except ConnectionError:
                if not unsent:
                    return received
                unsent.clear()  # what the server said before it closed is still to be read


def refused(received: bytes, status: int, detail: str) -> None:
    first, _, body = received.partition(b"\r\n\r\n")
    assert first.startswith(b"HTTP/1.1 %d " % status), received
    assert detail in json.loads(body)["message"]


@pytest.mark.parametrize("fill", [3900, 4100])
def test_the_size_of_headers_is_limited(port, fill):
    received = talk(port, head(b"Connection: close", b"X-Fill: " + b"x" * fill, to=b"GET /health"))
    if fill < 4096:
        assert received.startswith(b"HTTP/1.1 200")
    else:
        refused(received, 431, "more than 4096 bytes")


def test_headers_that_never_end_are_refused(port):
    received = talk(port, b"GET / HTTP/1.1\r\nHost: x\r\nX-Fill: ", *[b"x" * 500] * 20, pause=0.01)
    refused(received, 431, "more than 4096 bytes")


def test_the_number_of_headers_is_limited(port):
    lines = [b"A: b"] * 197
    assert talk(port, head(b"Connection: close", *lines, to=b"GET /health")).startswith(b"HTTP/1.1 200")
    refused(talk(port, head(b"Connection: close", *lines, b"A: b", to=b"GET /health")), 431, "more than 200")


def test_a_long_target_is_refused(port):
    refused(talk(port, b"GET /" + b"x" * 5000 + b" HTTP/1.1\r\nHost: x\r\n\r\n"), 431, "more than 4096 bytes")


def test_slow_headers_time_out_on_a_new_and_on_a_kept_connection(hasty):
    first = head(to=b"GET /health")
    for before in (b"", first):
        start = time.monotonic()
        received = talk(hasty.port, before, *[b"G", b"E", b"T", *[b" "] * 2000], pause=0.05)
        assert time.monotonic() - start < 50  # all pieces would take 100 s
        assert received.count(b"HTTP/1.1 200") == bool(before)
        refused(received[received.index(b"HTTP/1.1 4") :], 408, "1 seconds")


def test_a_connection_without_a_request_is_closed(hasty):
    assert talk(hasty.port) == b""
    assert talk(hasty.port, *[b"\r\n"] * 60, pause=0.05) == b""


def test_a_slow_body_times_out(hasty):
    received = talk(hasty.port, head(b"Content-Length: 1000"), *[b" "] * 60, pause=0.05)
    refused(received, 408, "1 seconds")
    assert b"connection: close" in received


def test_the_memory_of_all_bodies_is_limited(port):
    def half_sent() -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", port))
        connection.sendall(head(b"Content-Length: 1000000") + b" " * 900_000)
        return connection

    with half_sent(), half_sent():
        eventually(lambda: by_httpx(port, b" " * 600_000, **{"X-API-Key": KEY}) == 503)  # once both are received
        assert by_httpx(port, BODY, **{"X-API-Key": KEY}) == 200
    eventually(lambda: by_httpx(port, b" " * 600_000, **{"X-API-Key": KEY}) == 400)  # read, but not JSON


def test_a_client_that_does_not_read_its_response_is_disconnected(hasty):
    body = json.dumps({"query": "owl", "documents": ["owl " * 200_000], "return_documents": True}).encode()
    connections = hasty.server.server_state.connections
    with hasty.narrow() as connection:
        connection.sendall(head(b"Content-Length: %d" % len(body)) + body)
        eventually(lambda: connections)
        eventually(lambda: not connections)


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "illegal request line"),
        (head(b"Content-Length: 99999999999999999999999"), "bad Content-Length"),
        (head(b"Content-Length: -1"), "bad Content-Length"),
        (head(b"Content-Length: 1", b"Content-Length: 2"), "conflicting Content-Length headers"),
        (head(b"Host: y"), "multiple Host: headers"),
        (b"GET /health HTTP/1.1\r\n\r\n", "Missing mandatory Host: header"),
        (head(b"A secret: b"), "illegal header line"),
        (head(b"Transfer-Encoding: chunked") + b"zz\r\n", "illegal chunk header"),
    ],
)
def test_invalid_http_gets_an_error_in_json_that_says_what_is_wrong(port, sent, reason):
    answer = talk(port, sent)
    refused(answer, 400, reason)
    assert b"secret" not in answer
    assert b"bytearray" not in answer


def test_pipelined_requests_are_answered(port):
    one = head(b"Content-Length: %d" % len(BODY)) + BODY
    last = head(b"Connection: close", b"Content-Length: %d" % len(BODY)) + BODY
    assert talk(port, one + one + last).count(b"HTTP/1.1 200") == 3


def by_urllib(port, body, **headers):
    request = urllib.request.Request(f"http://127.0.0.1:{port}/rerank", body, headers)
    try:
        with urllib.request.urlopen(request, timeout=PATIENT_S) as response:  # noqa: S310 - our own server
            return response.status
    except urllib.error.HTTPError as error:
        return error.status


def by_http_client(port, body, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENT_S)
    connection.request("POST", "/rerank", body, headers)
    return connection.getresponse().status


def by_httpx(port, body, **headers):
    return httpx.post(f"http://127.0.0.1:{port}/rerank", content=body, headers=headers, timeout=PATIENT_S).status_code


def by_httpx_in_chunks(port, body, **headers):
    content = (body[at : at + 2**16] for at in range(0, len(body), 2**16))
    return httpx.post(
        f"http://127.0.0.1:{port}/rerank", content=content, headers=headers, timeout=PATIENT_S
    ).status_code


@pytest.mark.parametrize("send", [by_urllib, by_http_client, by_httpx, by_httpx_in_chunks])
def test_a_client_that_sends_the_whole_body_first_gets_the_error(port, send):
    assert send(port, LARGE) == 401
    key = {"X-API-Key": KEY}
    assert send(port, LARGE, **key) == 413
    assert send(port, BODY, **key) == 200


@pytest.mark.parametrize("headers", [(), (b"X-API-Key: wrong",)])
def test_a_client_that_expects_100_continue_gets_the_error_without_sending_the_body(port, headers):
    request = head(b"Content-Length: 14000000", b"Expect: 100-continue", *headers)
    received = talk(port, request)
    refused(received, 413, "larger")
    assert b"100 Continue" not in received
    assert b"connection: close" in received


def test_a_body_without_end_is_not_read_to_its_end(port):
    received = talk(port, head(b"Content-Length: 999999999999"), *[b"x" * 10**6] * 100)
    assert received == b"" or b" 413 " in received


def test_compressed_bodies_are_not_unpacked(port):
    assert by_httpx(port, BODY, **{"X-API-Key": KEY, "Content-Encoding": "gzip"}) == 400
    assert by_httpx(port, BODY, **{"X-API-Key": KEY, "Content-Encoding": "identity"}) == 200


ROUTES = ["/rerank", "/v1/rerank/stream", "/v1/similarity", "/v1/batch-similarity", "/v1/embeddings"]
BODIES = {
    "/v1/similarity": {"text1": "owl", "text2": "an owl"},
    "/v1/batch-similarity": {"queries": ["owl"], "documents": ["an owl"]},
    "/v1/embeddings": {"input": "owl"},
}
H2C = (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAEAAEAAAAIAAAAB")  # Java's client
SOCKET = (b"Connection: Upgrade", b"Upgrade: websocket")  # some proxies send it with all requests
KEYED = (*SOCKET, b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==")


def body_of(route: str) -> bytes:
    return json.dumps(BODIES.get(route, {"query": "owl", "documents": ["an owl"]})).encode()


def whole(body: bytes) -> tuple[list[bytes], bytes]:
    return [b"Content-Length: %d" % len(body)], body


def in_chunks(body: bytes) -> tuple[list[bytes], bytes]:
    pieces = [body[at : at + 7] for at in range(0, len(body), 7)]
    return [b"Transfer-Encoding: chunked"], b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in [*pieces, b""])


@pytest.mark.parametrize("sent", [whole, in_chunks])
@pytest.mark.parametrize("offered", [H2C, (b"Connection: upgrade", b"Upgrade: TLS/1.0"), (b"Upgrade: foo",), SOCKET])
@pytest.mark.parametrize("route", ROUTES)
def test_an_upgrade_to_an_unsupported_protocol_is_ignored(port, route, offered, sent):
    lines, body = sent(body_of(route))
    first = head(*offered, *lines, to=b"POST " + route.encode()) + body
    last = head(b"Connection: close", *lines, to=b"POST " + route.encode()) + body
    assert talk(port, first + last).count(b"HTTP/1.1 200") == 2  # the connection stays open


def test_a_body_may_not_come_in_too_many_small_chunks(port):
    chunks = b"1\r\n \r\n" * 4000
    body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
    chunked = head(b"Transfer-Encoding: chunked", b"Connection: close")
    assert talk(port, chunked + chunks + body).startswith(b"HTTP/1.1 200")
    refused(talk(port, chunked + chunks * 2 + body), 400, "send larger ones")
    line = b"10\r\n" + b" " * 16 + b"\r\n"  # as long as the shortest documents
    assert talk(port, chunked + line * 50_000 + body).startswith(b"HTTP/1.1 200")


def test_a_body_has_one_length(port):
    both = head(b"Transfer-Encoding: chunked", b"Content-Length: 4") + b"0\r\n\r\n"
    answer = talk(port, both + head(b"Content-Length: %d" % len(BODY)) + BODY)
    refused(answer, 400, "both Content-Length and Transfer-Encoding")
    assert answer.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize("trailer", [b"X-A: b\r\n", b"X-A: " + b"b" * 1000 + b"\r\n"])
def test_trailers_that_never_end_are_refused(port, trailer):
    received = talk(port, head(b"Transfer-Encoding: chunked") + b"0\r\n", *[trailer * 100] * 20)
    refused(received, 431, "more than 4096 bytes")


@pytest.mark.parametrize(
    ("offered", "body"),
    [
        (H2C, b""),
        (SOCKET, b""),
        ((*KEYED, b"Content-Length: 2"), b"{}"),
        ((*KEYED, b"Transfer-Encoding: chunked"), b"0\r\n\r\n"),
    ],
)
def test_an_upgrade_is_ignored_on_get_too(port, offered, body):
    last = head(b"Connection: close", to=b"GET /health")
    assert talk(port, head(*offered, to=b"GET /health") + body + last).count(b"alive") == 2


def test_a_handshake_that_a_proxy_cut_short_is_told_so(port):
    refused(talk(port, head(b"Connection: close", to=b"GET /v1/ws")), 404, "must pass `Upgrade` and `Connection` on")


@pytest.mark.parametrize("route", ROUTES)
def test_http_1_0_gets_an_answer_that_ends_with_the_connection(port, route):
    lines, body = whole(body_of(route))
    received = talk(port, head(*lines, to=b"POST " + route.encode()).replace(b"HTTP/1.1", b"HTTP/1.0") + body)
    answer, _, content = received.partition(b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"transfer-encoding" not in answer.lower()
    assert content.startswith((b"{", b"event: "))
    assert content.endswith((b"}", b"\n\n"))


def test_an_idle_connection_is_kept_for_the_configured_time(hasty):
    start = time.monotonic()
    assert talk(hasty.port, head(to=b"GET /health")).count(b"HTTP/1.1 200") == 1
    assert time.monotonic() - start >= 2  # the server closes it


def test_a_client_that_disconnects_within_its_body_logs_one_line(hasty, caplog):
    records = []
    hasty.app.state.dependencies.watchers.append(records.append)
    with caplog.at_level("INFO"), socket.create_connection(("127.0.0.1", hasty.port)) as connection:
        connection.sendall(head(b"Content-Length: 99") + b"{")
        eventually(lambda: hasty.server.server_state.tasks)
        connection.close()
        eventually(lambda: records)
    hasty.app.state.dependencies.watchers.remove(records.append)
    assert records[0].status == 499
    assert [(line.levelname, line.exc_info) for line in caplog.records] == [("INFO", None)]
