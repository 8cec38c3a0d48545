import pytest

from app.settings import Settings
from tests.conftest import serving

BODY = {"query": "owl song", "documents": ["market prices", "an owl song"]}
STAGES = {"queue", "wait", "prescore", "encode_query", "encode", "join", "classical", "quantum", "fuse", "serialise"}


def timing(response) -> dict[str, float]:
    """Server-Timing's milliseconds by name."""
    parts = [part.split(";dur=") for part in response.headers["server-timing"].split(", ")]
    return {name: float(ms) for name, ms in parts}


def test_a_response_has_every_stage_and_the_total_last(client):
    response = client.post("/v1/rerank", json=BODY)
    times = timing(response)
    assert set(times) == STAGES | {"total"}
    assert list(times)[-1] == "total"
    assert sum(times.values()) - times["total"] <= times["total"] + 0.01  # the stages do not overlap
    inside = response.json()["meta"]["timings_ms"]
    assert times["encode"] == pytest.approx(inside["encode"], abs=0.002)


def test_the_headers_of_text_embeddings_inference_are_whole_milliseconds(client):
    texts = {"query": "owl song", "texts": ["market prices", "an owl song"]}
    headers = client.post("/rerank", json=texts).headers
    times = {name: headers[name] for name in headers if name.startswith(("x-compute", "x-total", "x-queue", "x-inf"))}
    assert times.pop("x-compute-type") == "cpu"
    assert times.pop("x-compute-tokens") == "7"
    assert times.keys() == {"x-total-time", "x-queue-time", "x-inference-time", "x-compute-time"}
    assert all(value.isdigit() for value in times.values())
    assert int(times["x-queue-time"]) + int(times["x-inference-time"]) <= int(times["x-total-time"]) < 10_000


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/similarity", {"text1": "owl song", "text2": "an owl song"}),
        ("/v1/batch-similarity", {"queries": ["owl"], "documents": ["an owl"]}),
        ("/v1/embeddings", {"input": ["owl"]}),
    ],
)
def test_every_other_post_has_server_timing(client, path, body):
    response = client.post(path, json=body)
    assert response.status_code == 200
    assert {"queue", "encode", "serialise", "total"} <= timing(response).keys()


def test_a_stream_has_the_times_known_at_its_start(client):
    response = client.post("/v1/rerank/stream", json=BODY)
    assert response.headers["content-type"].startswith("text/event-stream")
    assert {"queue", "total"} <= timing(response).keys()  # more if the work is faster than the headers


@pytest.mark.parametrize(
    ("path", "body", "status"), [("/rerank", {}, 422), ("/rerank", b"{", 400), ("/health", {}, 405)]
)
def test_an_error_has_the_total_only(client, path, body, status):
    response = client.post(path, content=body) if isinstance(body, bytes) else client.post(path, json=body)
    assert response.status_code == status
    assert list(timing(response)) == ["total"]
    assert response.headers["x-total-time"].isdigit()
    assert not {"x-queue-time", "x-compute-type"} & response.headers.keys()


def test_an_unexpected_error_has_the_total_only(client, monkeypatch):
    monkeypatch.setattr("app.api.routes.rerank.answer", lambda *_: 1 / 0)
    response = client.post("/rerank", json=BODY)
    assert response.status_code == 500
    assert list(timing(response)) == ["total"]


def test_a_get_has_no_times(client):
    assert not {"server-timing", "x-total-time"} & client.get("/health").headers.keys()


@pytest.mark.parametrize(
    ("origins", "allowed"),
    [(("https://a.example",), "https://a.example"), (("*",), "*"), (("https://b.example",), None)],
)
def test_pages_of_allowed_origins_may_read_the_times(tmp_path, origins, allowed):
    with serving(Settings(model="hash", data_dir=tmp_path, cors={"origins": origins})) as client:
        response = client.post("/rerank", json=BODY, headers={"Origin": "https://a.example"})
    assert response.headers.get("timing-allow-origin") == allowed
    if allowed:
        exposed = {name.strip().lower() for name in response.headers["access-control-expose-headers"].split(",")}
        time_headers = {
            name for name in response.headers if name.startswith(("x-compute", "x-total", "x-queue", "x-inf"))
        }
        assert time_headers | {"server-timing"} <= exposed
