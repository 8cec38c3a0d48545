"""Metrics of requests, and the bound on the number of series."""

import pytest

from app.api.problems import KINDS
from app.identity import Identity
from app.ranking.job import Lap
from app.service.result import WorkDone
from app.settings import Settings
from app.telemetry.metrics import Metrics
from app.telemetry.request_metrics import count_requests, outcome_of, size_of
from app.telemetry.request_record import RequestRecord
from tests.app.live import live
from tests.app.talking import talking
from tests.app.telemetry.test_metrics import BODY, parsed, series, values


def counted(*requests: RequestRecord) -> dict[str, float]:
    """The metrics after these requests."""
    metrics = Metrics()
    watch = count_requests(metrics, KINDS)
    for seen in requests:
        watch(seen)
    return parsed(metrics.render()[0].decode())


def request(**known) -> RequestRecord:
    return RequestRecord("id", "POST", "/rerank", **known)


def test_a_request_is_counted_by_what_it_was_about(client):
    assert client.post("/v1/rerank", json=BODY).status_code == 200
    found = values(client)
    about = {"dialect": "standard", "method": "hybrid", "tier": "unlimited", "status": "200"}
    assert found[series("requests_total", route="/v1/rerank", http_method="POST", **about)] == 1
    timed = {"route": "/v1/rerank", "method": "hybrid", "documents": "1-20", "outcome": "ok"}
    assert found[series("request_seconds_count", **timed)] == 1
    assert found[series("request_documents_sum", route="/v1/rerank")] == 2
    assert found[series("request_tokens_sum", route="/v1/rerank")] == 7
    assert found[series("documents_total", read="encoded")] == 2
    for stage in ("queue", "prescore", "encode", "quantum", "fuse", "serialise"):
        assert found[series("stage_seconds_count", stage=stage)] == 1


def test_the_laps_of_a_stage_are_one_time():
    seen = request()
    seen.watch.laps += [Lap("encode", 0, 0.03), Lap("fuse", 0, 0.001), Lap("encode", 0, 0.04)]
    found = counted(seen)
    assert found[series("stage_seconds_count", stage="encode")] == 1
    assert found[series("stage_seconds_sum", stage="encode")] == pytest.approx(0.07)


def test_documents_are_counted_by_how_they_were_read():
    found = counted(
        request(done=WorkDone(cached=2, encoded=3, skipped=4, incomplete=True)), request(done=WorkDone(cached=1))
    )
    assert [found[series("documents_total", read=read)] for read in ("cached", "encoded", "unread")] == [3, 3, 4]
    assert found[series("requests_cut_total", route="/rerank")] == 1


def test_what_was_refused_is_counted_by_its_reason_and_what_failed_is_not():
    refused = [request(status=503, problem="overloaded"), request(status=404, problem="not-found")]
    found = counted(*refused, request(status=500, problem="internal"), request(status=422, problem="x" * 50))
    reasons = {name: of for name, of in found.items() if name.startswith("rejections_total")}
    assert reasons == {series("rejections_total", reason=reason): 1 for reason in ("overloaded", "not-found", "other")}


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(101, "ok"), (200, "ok"), (401, "refused"), (429, "refused"), (499, "gone"), (500, "failed"), (503, "refused")],
)
def test_every_status_is_an_outcome(status, outcome):
    assert outcome_of(status) == outcome


@pytest.mark.parametrize(
    ("documents", "size"),
    [
        (None, "none"),
        (0, "none"),
        (1, "1-20"),
        (20, "1-20"),
        (21, "21-50"),
        (50, "21-50"),
        (100, "51-100"),
        (101, "101+"),
    ],
)
def test_every_number_of_documents_has_its_size(documents, size):
    assert size_of(documents) == size


def test_tiers_are_those_of_callers_and_none_of_who_was_not_let_in():
    found = counted(request(identity=Identity("qr_1", "user", "premium")), request(status=401, problem="unauthorized"))
    tiers = {name.split("tier=")[1].split()[0] for name in found if name.startswith("requests_total")}
    assert tiers == {"premium", "none"}


def test_requests_on_a_socket_are_counted_one_by_one(tmp_path, monkeypatch):
    with live(Settings(data_dir=tmp_path), monkeypatch) as here, talking(here.port) as client:
        for named in ("a", "b"):
            client.send(BODY | {"type": "rerank", "id": named})
            client.until(named, "final")
        client.send({"type": "nonsense"})
        client.until(None, "error")
    # Read last: a request is counted shortly after its response was sent.
    found = parsed(here.app.state.dependencies.metrics.render()[0].decode())
    about = {"route": "/v1/ws", "http_method": "WS", "tier": "unlimited"}
    assert found[series("requests_total", dialect="standard", method="hybrid", status="200", **about)] == 2
    assert found[series("rejections_total", reason="invalid-request")] == 1


HOSTILE = (
    ("GET", "/metrics"),
    ("HAX{}", "/rerank"),
    ("G\u00cbT{}", "/"),
    ("POST", "/no/such/{}"),
    ("POST", "/v1/models/{}"),
)


def test_no_client_can_make_more_series(client):
    def attack(number: int) -> None:
        text = f'{number}\N{SNOWMAN}\n"}}'
        for method, path in HOSTILE:
            client.request(method.format(number), path.format(number))
        more = {"model": text, "method": "hybrid", "dialect": text, "user": text, "collection": f"c{number}"}
        headers = {"x-pinecone-api-version": f"v{number}", "x-request-id": f"i{number}", "user-agent": f"u{number}"}
        client.post("/rerank", json=BODY | more)
        client.post("/rerank", json=BODY | {"method": text})
        client.post("/rerank", json={"query": "x", "collection": f"c{number}"})
        client.post(f"/rerank?{number}", json=BODY, headers=headers | {"x-api-key": f"qr_{number}"})
        client.get(f"/v1/usage?days={number}")

    attack(1)
    before = values(client).keys()
    for number in range(2, 30):
        attack(number)
    assert values(client).keys() == before
