"""Partial rankings as server-sent events."""

import json
import socket
import threading
from itertools import pairwise

import httpx
import pytest

from app.api.dialects.cohere import RerankResponse
from app.api.dialects.events import Order
from app.settings import Settings
from retrieval.encoder.hash_encoder import HashEncoder
from retrieval.store.indexer import build
from retrieval.text.passages import Passage
from tests.app.live import live
from tests.app.problems import problem
from tests.conftest import serving
from tests.waiting import PATIENT_S, eventually

PATH = "/v1/rerank/stream"
DOCUMENTS = [f"{i} an owl " + "song " * (i % 7) for i in range(150)]
BODY = {"query": "owl song", "documents": DOCUMENTS, "deadline_ms": 0}
SAME_ID = {"x-request-id": "the-same"}


@pytest.fixture
def client(shared_client):
    return shared_client


def events(text: str) -> list[tuple[str, int, dict]]:
    """Kind, id and data of each event, in the order of its lines."""
    read = []
    for block in text.removesuffix("\n\n").split("\n\n"):
        kind, data, number = (line.partition(": ") for line in block.split("\n"))
        assert (kind[0], data[0], number[0]) == ("event", "data", "id")
        read.append((kind[2], int(number[2]), json.loads(data[2])))
    return read


def streamed(client, body=BODY, **options) -> list[tuple[str, int, dict]]:
    response = client.post(PATH, json=body, **options)
    assert response.status_code == 200, response.text
    return events(response.text)


def test_partial_rankings_come_before_the_final_one(client):
    events = streamed(client)
    kinds = [kind for kind, _, _ in events]
    assert kinds == ["order"] * (len(events) - 1) + ["final"]
    orders = [Order.model_validate(data) for _, _, data in events[:-1]]
    assert [order.stage for order in orders] == ["prescore"] + ["refined"] * (len(orders) - 1)
    assert all(a.encoded < b.encoded for a, b in pairwise(orders))
    assert orders[0].encoded == 0
    for order in orders:
        assert sorted(place.index for place in order.results) == list(range(len(DOCUMENTS)))
        scores = [place.relevance_score for place in order.results]
        assert scores == sorted(scores, reverse=True)
    numbers = [number for _, number, _ in events]
    assert numbers == sorted(set(numbers))
    assert numbers[0] == 1
    RerankResponse.model_validate(events[-1][2])


@pytest.mark.parametrize(
    "options", [{}, {"top_n": 3, "return_documents": True}, {"raw_scores": True, "explain": True, "model": "any"}]
)
def test_the_last_event_is_the_response_of_rerank(client, options):
    events = streamed(client, BODY | options, headers=SAME_ID)
    answer = client.post("/rerank", json=BODY | options, headers=SAME_ID).json()
    for envelope in (events[-1][2], answer):
        del envelope["meta"]["timings_ms"]
    assert events[-1][2] == answer
    assert {len(data["results"]) for _, _, data in events} == {len(answer["results"])}


def test_every_dialect_is_accepted_and_answered_in_the_standard_one(client):
    events = streamed(client, {"query": "owl song", "texts": ["market prices", "an owl song"], "return_text": True})
    final = RerankResponse.model_validate(events[-1][2])
    assert [result.index for result in final.results] == [1, 0]


def test_a_collections_passages_are_streamed(hash_settings):
    passages = [Passage("a", "", "market prices"), Passage("b", "Owls", "an owl song")]
    build(hash_settings.collections_dir / "birds", passages, HashEncoder(), lambda *_: None)
    with serving(hash_settings) as client:
        events = streamed(client, {"query": "owl", "collection": "birds"})
    assert events[0][0] == "order"
    assert events[0][2]["stage"] == "prescore"
    assert events[-1][2]["results"][0]["document"]["id"] == "b"


def test_headers_disable_caches_and_buffering(client):
    response = client.post(PATH, json=BODY, headers=SAME_ID)
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert response.headers["cache-control"] == "no-cache"
    assert response.headers["x-accel-buffering"] == "no"
    assert response.headers["x-request-id"] == "the-same"


@pytest.mark.parametrize(
    ("content", "status", "detail"),
    [
        (b"{", 400, "not JSON"),
        (b"[]", 422, "must be a JSON object"),
        (b'{"query": "", "documents": ["secret"]}', 422, "query: must not be empty"),
        (b'{"query": "owl"}', 422, "send `documents`"),
        (b'{"query": "owl", "collection": "fish"}', 404, "no collection 'fish'"),
        (b'{"query": "owl", "documents": ["secret", "b", "c", "d"]}', 413, "4 documents were sent and at most 3"),
        (b" " * 1025, 413, "larger than the 1024 bytes"),
    ],
)
def test_an_error_before_the_first_event_is_a_response(tmp_path, content, status, detail):
    with serving(Settings(model="hash", data_dir=tmp_path, limits={"documents": 3, "body_bytes": 1024})) as client:
        problem(client.post(PATH, content=content), status, detail)


def test_authentication_is_required_if_enabled(tmp_path):
    key = "k" * 16
    with serving(Settings(model="hash", data_dir=tmp_path, auth={"enabled": True, "keys": [key]})) as client:
        problem(client.post(PATH, json=BODY), 401, "needs a key")
        assert streamed(client, headers={"authorization": f"Bearer {key}"})[-1][0] == "final"


def test_an_error_after_the_first_event_is_the_last_event(client):
    events = streamed(client, BODY | {"exclude": ["owl song"]}, headers=SAME_ID)
    assert [kind for kind, _, _ in events] == ["order", "error"]
    assert events[-1][2]["status"] == 422
    assert events[-1][2]["error_type"] == "invalid-vector"
    assert events[-1][2]["request_id"] == "the-same"


def test_an_unexpected_error_is_logged_and_its_message_not_sent(client, monkeypatch, caplog):
    def crash(*_):
        raise ZeroDivisionError("secret")

    monkeypatch.setattr("app.ranking.reranker.Reranker._rank", crash)
    response = client.post(PATH, json=BODY, headers=SAME_ID)
    assert [kind for kind, _, _ in events(response.text)] == ["order", "error"]
    assert events(response.text)[-1][2]["status"] == 500
    assert "secret" not in response.text
    assert "the-same" in caplog.text
    assert "in crash" in caplog.text


def test_an_overload_is_a_response_with_a_status(tmp_path, monkeypatch):
    go = threading.Event()
    settings = Settings(data_dir=tmp_path, engine={"requests": 1, "queue_requests": 0})
    with live(settings, monkeypatch, lambda _: go.wait(PATIENT_S)) as here:
        url = f"http://127.0.0.1:{here.port}{PATH}"
        with httpx.stream("POST", url, json=BODY, timeout=PATIENT_S) as first:
            lines = first.iter_lines()
            assert next(lines) == "event: order"
            second = httpx.post(url, json=BODY, timeout=PATIENT_S)
            problem(second, 503, "try again")
            assert second.headers["retry-after"] == "1"
            go.set()
            assert "event: final" in list(lines)


def test_the_first_ranking_is_sent_before_anything_is_encoded(tmp_path, monkeypatch):
    go, encoded = threading.Event(), []

    def hold(batch):
        go.wait(PATIENT_S)
        encoded.extend(batch)

    with live(Settings(data_dir=tmp_path), monkeypatch, hold) as here:
        with httpx.stream("POST", f"http://127.0.0.1:{here.port}{PATH}", json=BODY, timeout=PATIENT_S) as response:
            lines = response.iter_lines()
            assert next(lines) == "event: order"
            assert json.loads(next(lines).removeprefix("data: "))["stage"] == "prescore"
            assert not encoded
            go.set()
            assert [line for line in lines if line.startswith("event: ")][-1] == "event: final"
        assert len(encoded) == len(DOCUMENTS) + 1


def post(connection, body):
    content = json.dumps(body).encode()
    head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(content)}\r\n\r\n"
    connection.sendall(head.encode() + content)


def test_work_stops_when_the_client_disconnects(tmp_path, monkeypatch):
    go, encoded = threading.Event(), []

    def hold(batch):
        encoded.extend(batch)
        assert go.wait(PATIENT_S)

    with live(Settings(data_dir=tmp_path), monkeypatch, hold) as here:
        with socket.create_connection(("127.0.0.1", here.port)) as leaving:
            post(leaving, BODY)
            assert leaving.recv(4096).startswith(b"HTTP/1.1 200")
            eventually(lambda: encoded)
        eventually(here.called_off)
        go.set()
        assert here.is_free()
        assert len(encoded) < len(DOCUMENTS)


MANY = BODY | {"documents": [f"{i} an owl " + "song " * (i % 7) for i in range(1000)]}


def test_a_slow_reader_misses_partial_rankings_only(tmp_path, monkeypatch):
    with live(Settings(data_dir=tmp_path), monkeypatch) as here, here.narrow() as connection:
        post(connection, MANY)
        read = connection.recv(4096)
        assert here.is_free()
        while chunk := connection.recv(2**16):
            read += chunk
    numbers = [int(line.split()[1]) for line in read.decode().split("\n") if line.startswith("id: ")]
    assert numbers == sorted(numbers)
    assert numbers[0] == 1
    assert 2 <= len(numbers) < numbers[-1] - 5
    assert b"event: final" in read


@pytest.mark.parametrize("leaves", [True, False])
def test_a_client_that_stops_reading_does_not_block_the_shutdown(tmp_path, monkeypatch, leaves):
    with live(Settings(data_dir=tmp_path), monkeypatch, timeout_graceful_shutdown=1) as here:
        connection = here.narrow()
        post(connection, MANY)
        assert connection.recv(4096)
        assert here.is_free()
        if leaves:
            connection.close()
    connection.close()


def test_openapi_describes_the_events(client):
    description = client.get("/openapi.json").json()
    post = description["paths"][PATH]["post"]
    assert "oneOf" in post["requestBody"]["content"]["application/json"]["schema"]
    (kind, stream) = next(iter(post["responses"]["200"]["content"].items()))
    assert kind == "text/event-stream"
    assert stream["itemSchema"]["properties"]["event"]["enum"] == ["order", "final", "error"]
    assert {"order", "final"} == {
        line.removeprefix("event: ") for line in stream["example"].split("\n") if "event" in line
    }
    assert "Order" in description["components"]["schemas"]
    assert set(post["responses"]) >= {"200", "400", "401", "404", "408", "413", "422", "503"}
