"""Reranking over a WebSocket, on a real socket of a real server."""

import json
import threading
from collections import Counter

import pytest

from app.api.dialects.cohere import RerankResponse
from app.api.dialects.events import Order
from app.settings import Settings
from tests.app.live import live
from tests.app.talking import ASKED, DOCUMENTS, SMALL, talking
from tests.waiting import PATIENT_S


@pytest.fixture
def port(tmp_path, monkeypatch):
    with live(Settings(data_dir=tmp_path, limits={"documents": 200, "body_bytes": 2**18}), monkeypatch) as here:
        yield here.port


@pytest.fixture
def client(port):
    with talking(port) as client:
        yield client


@pytest.fixture
def held(tmp_path, monkeypatch):
    """A client of a server that encodes nothing until the event is set, the event, and the server."""
    go = threading.Event()
    settings = Settings(data_dir=tmp_path, limits={"socket_requests": 3}, engine={"requests": 8})
    with live(settings, monkeypatch, lambda _: go.wait(PATIENT_S)) as here:
        with talking(here.port) as client:
            yield client, go, here
        go.set()


def test_orders_come_by_words_then_refined_then_the_answer(client):
    client.send(ASKED | {"id": "a"})
    frames = client.until("a", "final")
    assert {frame.pop("id") for frame in frames} == {"a"}
    assert [frame.pop("type") for frame in frames] == ["order"] * (len(frames) - 1) + ["final"]
    orders = [Order.model_validate(frame) for frame in frames[:-1]]
    assert [order.stage for order in orders] == ["prescore"] + ["refined"] * (len(orders) - 1)
    assert orders[0].encoded == 0
    assert len(orders[0].results) == len(DOCUMENTS)
    final = RerankResponse.model_validate(frames[-1] | {"id": "a"})
    assert final.meta.encoded == len(final.results) == len(DOCUMENTS)


@pytest.mark.parametrize("named", ["a", "é \n", "x" * 128, 7, -1.5, 0])
def test_an_id_is_what_the_client_likes(client, named):
    final = client.ask(SMALL | {"id": named})
    assert (final["type"], final["id"]) == ("final", named)
    assert client.ask(SMALL | {"id": named})["type"] == "final"  # free again once answered


def test_requests_run_side_by_side_and_answers_come_as_they_come(held):
    client, go, _ = held
    for named in "abc":
        client.send(ASKED | {"id": named})
    begun = [client.receive() for _ in range(3)]
    assert {(frame["id"], frame["stage"]) for frame in begun} == {(named, "prescore") for named in "abc"}
    go.set()
    ended = Counter()
    while sum(ended.values()) < 3:
        frame = client.receive()
        ended[frame["id"]] += frame["type"] == "final"
    assert ended == Counter("abc")


def test_every_dialect_is_taken(client):
    final = client.ask({"type": "rerank", "id": 1, "query": "owl", "texts": ["market prices", "an owl"]})
    assert [row["index"] for row in final["results"]] == [1, 0]


def test_a_byte_order_mark_before_a_frame_is_skipped(client):
    for frame in ("\ufeff" + json.dumps(SMALL | {"id": 1}), b"\xef\xbb\xbf" + json.dumps(SMALL | {"id": 1}).encode()):
        client.connection.send(frame)
        assert client.until(1, "final", "error")[-1]["type"] == "final"


def test_frames_of_bytes_are_read_too(client):
    client.connection.send(json.dumps(SMALL | {"id": 1}).encode())
    assert client.until(1, "final")


def test_ping(client):
    client.send({"type": "ping"})
    assert client.receive() == {"type": "pong", "id": None}


@pytest.mark.parametrize(
    ("frame", "named", "status", "detail"),
    [
        ("{", None, 400, "not JSON"),
        ("[]", None, 422, "the frame must be a JSON object"),
        (
            r'{"type": "rerank", "id": 1, "query": "q", "documents": ["a", "secret\ud800"]}',
            None,
            400,
            "document 1 holds",
        ),
        ('{"type": "rerank", "id": 1, "query": "owl", "docs": ["secret"]}', 1, 422, "`docs` holds texts"),
        ('{"type": "rerank", "query": "owl", "documents": ["secret"]}', None, 422, "id: must be"),
        ('{"type": "rerank", "id": "", "query": "owl"}', None, 422, "id: must be"),
        ('{"type": "rerank", "id": true, "query": "owl"}', None, 422, "id: must be"),
        ('{"type": "rerank", "id": "%s", "query": "owl"}' % ("x" * 129), None, 422, "id: must be"),
        ('{"type": "cancel"}', None, 422, "id: must be"),
        ('{"type": "sing", "id": 1}', None, 422, "type: must be"),
        ('{"id": 1, "query": "owl", "documents": ["secret"]}', None, 422, "type: must be"),
        ('{"type": "rerank", "id": 1, "documents": ["secret"]}', 1, 422, "query: is required"),
        ('{"type": "rerank", "id": 1, "query": "owl"}', 1, 422, "send `documents`"),
        ('{"type": "rerank", "id": 1, "query": "owl", "collection": "fish"}', 1, 404, "no collection 'fish'"),
        (json.dumps(SMALL | {"id": 1, "documents": ["secret"] * 201}), 1, 413, "201 documents were sent and at most"),
        (json.dumps(SMALL | {"id": 1, "exclude": "owl"}), 1, 422, "parallel to the query"),
        (json.dumps(SMALL | {"id": 1}).ljust(2**18 + 1), None, 413, "larger than the 262144 bytes"),
    ],
)
def test_what_is_wrong_with_a_frame_is_said_and_the_connection_stays(client, frame, named, status, detail):
    client.connection.send(frame)
    error = client.until(named, "error")[-1]
    assert error["status"] == status
    assert detail in error["message"]
    assert "secret" not in json.dumps(error)
    assert client.ask(SMALL | {"id": 1})["type"] == "final"


def test_a_frame_as_large_as_may_be_is_read(client):
    client.connection.send(json.dumps(SMALL | {"id": 1}).ljust(2**18))
    assert client.until(1, "final")


def test_an_id_in_flight_is_refused_and_its_request_goes_on(held):
    client, go, _ = held
    client.send(ASKED | {"id": "a"})
    assert client.receive()["stage"] == "prescore"
    client.send(SMALL | {"id": "a"})
    error = client.receive()
    assert (error["type"], error["id"], error["status"]) == ("error", None, 422)
    go.set()
    assert len(client.until("a", "final")[-1]["results"]) == len(DOCUMENTS)


def test_one_request_too_many_is_refused_and_the_connection_stays(held):
    client, go, here = held
    for named in range(4):
        client.send(ASKED | {"id": named})
    (error,) = [frame for frame in (client.receive() for _ in range(4)) if frame["type"] == "error"]
    assert (error["id"], error["status"], error["error_type"]) == (3, 503, "overloaded")
    go.set()
    ended = [client.receive() for _ in range(3)]
    while [frame["type"] for frame in ended].count("final") < 3:
        ended.append(client.receive())
    assert here.is_free()
    assert client.ask(SMALL | {"id": 3})["type"] == "final"


def test_cancelling_ends_a_request_at_once_and_frees_its_work(held):
    client, go, here = held
    for named in "ab":
        client.send(ASKED | {"id": named})
        assert client.until(named, "order")
    client.send({"type": "cancel", "id": "a"})
    assert client.receive() == {"type": "cancelled", "id": "a"}  # while the encoder is still held
    go.set()
    assert {frame["id"] for frame in client.until("b", "final")} == {"b"}
    assert here.is_free()
    assert client.ask(SMALL | {"id": "a"})["type"] == "final"


def test_cancelling_what_is_no_longer_there_is_no_error(client):
    assert client.ask(SMALL | {"id": "a"})["type"] == "final"
    client.send({"type": "cancel", "id": "a"})
    assert client.receive() == {"type": "cancelled", "id": "a"}


def test_leaving_frees_all_work(held):
    client, go, here = held
    for named in "abc":
        client.send(ASKED | {"id": named})
        client.until(named, "order")
    assert here.admitted == 3
    client.connection.close()
    go.set()
    assert here.is_free()


def test_an_unforeseen_error_ends_one_request_and_tells_nothing(client, monkeypatch, caplog):
    def crash(*_):
        raise ZeroDivisionError("secret")

    with monkeypatch.context() as broken:
        broken.setattr("app.ranking.reranker.Reranker._rank", crash)
        error = client.ask(SMALL | {"id": "a\nb"})
    assert (error["type"], error["status"]) == ("error", 500)
    assert "secret" not in json.dumps(error)
    connection = client.connection.response.headers["x-request-id"]
    assert error["request_id"] == rf"{connection}/a\nb"
    assert error["request_id"] in caplog.text
    assert client.ask(SMALL | {"id": "a"})["type"] == "final"
