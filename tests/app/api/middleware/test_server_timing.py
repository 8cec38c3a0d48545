import pytest

from app.settings import Settings
from tests.conftest import serving

BODY = {"query": "owl song", "documents": ["market prices", "an owl song"]}
STAGES = {"queue", "wait", "prescore", "encode_query", "encode", "join", "classical", "quantum", "fuse", "serialise"}


def timing(answer) -> dict[str, float]:
    """Server-Timing's milliseconds by name."""
    parts = [part.split(";dur=") for part in answer.headers["server-timing"].split(", ")]
    return {name: float(ms) for name, ms in parts}


def test_an_answer_tells_every_stage_and_the_total_last(client):
    answer = client.post("/v1/rerank", json=BODY)
    told = timing(answer)
    assert set(told) == STAGES | {"total"}
    assert list(told)[-1] == "total"
    assert sum(told.values()) - told["total"] <= told["total"] + 0.01  # one after the other, and nothing twice
    inside = answer.json()["meta"]["timings_ms"]
    assert told["encode"] == pytest.approx(inside["encode"], abs=0.002)


def test_what_text_embeddings_inference_tells_is_told_in_whole_milliseconds(client):
    texts = {"query": "owl song", "texts": ["market prices", "an owl song"]}
    headers = client.post("/rerank", json=texts).headers
    told = {name: headers[name] for name in headers if name.startswith(("x-compute", "x-total", "x-queue", "x-inf"))}
    assert told.pop("x-compute-type") == "cpu"
    assert told.pop("x-compute-tokens") == "7"
    assert told.keys() == {"x-total-time", "x-queue-time", "x-inference-time", "x-compute-time"}
    assert all(value.isdigit() for value in told.values())
    assert int(told["x-queue-time"]) + int(told["x-inference-time"]) <= int(told["x-total-time"]) < 10_000


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/similarity", {"text1": "owl song", "text2": "an owl song"}),
        ("/v1/batch-similarity", {"queries": ["owl"], "documents": ["an owl"]}),
        ("/v1/embeddings", {"input": ["owl"]}),
    ],
)
def test_every_other_post_tells_as_well(client, path, body):
    answer = client.post(path, json=body)
    assert answer.status_code == 200
    assert {"queue", "encode", "serialise", "total"} <= timing(answer).keys()


def test_a_stream_tells_what_is_known_when_it_begins(client):
    answer = client.post("/v1/rerank/stream", json=BODY)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert {"queue", "total"} <= timing(answer).keys()  # and more, where the work is quicker than the head


@pytest.mark.parametrize(
    ("path", "body", "status"), [("/rerank", {}, 422), ("/rerank", b"{", 400), ("/health", {}, 405)]
)
def test_an_error_tells_the_total_alone(client, path, body, status):
    answer = client.post(path, content=body) if isinstance(body, bytes) else client.post(path, json=body)
    assert answer.status_code == status
    assert list(timing(answer)) == ["total"]
    assert answer.headers["x-total-time"].isdigit()
    assert not {"x-queue-time", "x-compute-type"} & answer.headers.keys()


def test_so_does_what_nobody_foresaw(client, monkeypatch):
    monkeypatch.setattr("app.api.routes.rerank.answer", lambda *_: 1 / 0)
    answer = client.post("/rerank", json=BODY)
    assert answer.status_code == 500
    assert list(timing(answer)) == ["total"]


def test_a_get_tells_nothing(client):
    assert not {"server-timing", "x-total-time"} & client.get("/health").headers.keys()


@pytest.mark.parametrize(
    ("origins", "allowed"),
    [(("https://a.example",), "https://a.example"), (("*",), "*"), (("https://b.example",), None)],
)
def test_pages_of_allowed_origins_may_read_them(tmp_path, origins, allowed):
    with serving(Settings(model="hash", data_dir=tmp_path, cors={"origins": origins})) as client:
        answer = client.post("/rerank", json=BODY, headers={"Origin": "https://a.example"})
    assert answer.headers.get("timing-allow-origin") == allowed
    if allowed:
        exposed = {name.strip().lower() for name in answer.headers["access-control-expose-headers"].split(",")}
        times = {name for name in answer.headers if name.startswith(("x-compute", "x-total", "x-queue", "x-inf"))}
        assert times | {"server-timing"} <= exposed
