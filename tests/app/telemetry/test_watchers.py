"""Metrics of requests and the bound on the number of series, and the access log."""

import pytest

from app.api.problems import KINDS
from app.identity import Identity
from app.ranking.job import Lap
from app.service.result import WorkDone
from app.settings import Settings
from app.telemetry.metrics import Metrics
from app.telemetry.request_record import RequestRecord
from app.telemetry.watchers import count_requests, is_sampled, log_requests, outcome_of, size_of
from tests.app.lines import logged
from tests.app.live import live
from tests.app.talking import talking
from tests.app.telemetry.test_metrics import BODY, parsed, series, values
from tests.conftest import serving


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


OWLS = {"query": "owl song", "documents": ["market prices", "an owl song"]}
IDS = [f"{number:032x}" for number in range(10_000)]


def over(status, route="/rerank", name="1", **seen):
    return RequestRecord(name, "POST", route, status=status, **seen)


@pytest.mark.parametrize(
    ("seen", "level"),
    [
        (over(200), "info"),
        (over(404, route="unknown"), "info"),
        (over(499), "info"),
        (over(503), "warning"),
        (over(500), "error"),
        (over(200, route="/health"), "debug"),
        (over(503, route="/health/ready"), "debug"),
        (over(200, route="/metrics"), "debug"),
        (over(500, route="/health/detailed"), "error"),
    ],
)
def test_what_went_wrong_is_told_louder_and_probes_hardly(seen, level):
    with logged() as lines:
        log_requests(1)(seen)
    assert [line["level"] for line in lines.read] == [level]


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 1.0])
def test_a_sample_is_as_large_as_it_should_be(share):
    assert sum(is_sampled(name, share) for name in IDS) == pytest.approx(share * len(IDS), rel=0.15, abs=0)


def test_every_replica_takes_the_same_and_a_larger_sample_holds_a_smaller():
    taken = {share: [name for name in IDS[:500] if is_sampled(name, share)] for share in (0.2, 0.4)}
    assert set(taken[0.2]) < set(taken[0.4])
    with logged() as lines:
        for name in IDS[:500]:
            log_requests(0.2)(over(200, name=name))
    assert [line["request_id"] for line in lines.read] == taken[0.2]


def test_what_fails_is_in_every_sample_and_what_is_refused_is_not():
    with logged() as lines:
        for status in (200, 429, 500, 503, 504):
            log_requests(0)(over(status))
    assert [line["status"] for line in lines.read] == [500, 503, 504]


def test_a_level_above_leaves_them_out():
    with logged(level="warning") as lines:
        log_requests(1)(over(200))
        log_requests(1)(over(503))
    assert [line["status"] for line in lines.read] == [503]


def test_what_a_request_does_not_have_is_not_told():
    with logged() as lines:
        log_requests(1)(over(401, problem="unauthorized"))
    assert list(lines.read[0]) == [
        *("timestamp", "level", "logger", "event"),
        *("request_id", "http_method", "route", "status", "problem", "ms"),
    ]


def test_callers_are_told_by_name():
    with logged() as lines:
        log_requests(1)(over(200, identity=Identity("qr_ab", "user", "premium", "7"), origin="10.0.0.1"))
    line = lines.read[0]
    assert (line["who"], line["tier"], line["origin"]) == ("qr_ab", "premium", "10.0.0.1")


def test_counts_are_those_of_the_answer(tmp_path):
    with logged() as lines, serving(Settings(model="hash", data_dir=tmp_path)) as client:
        answers = [client.post("/v2/rerank", json=OWLS | {"documents": OWLS["documents"] * n}) for n in (1, 2)]
        client.post("/v1/similarity", json={"text1": "owl", "text2": "elk"})
    first, second, pair = [line for line in lines.read if line["event"] == "request"]
    assert [answer.headers["x-request-id"] for answer in answers] == [first["request_id"], second["request_id"]]
    names = ("route", "dialect", "method", "documents", "encoded", "known", "unread", "cut")
    assert [first[name] for name in names] == ["/v2/rerank", "standard", "hybrid", 2, 2, 0, 0, False]
    assert [second[name] for name in names] == ["/v2/rerank", "standard", "hybrid", 4, 0, 4, 0, False]
    assert (pair["route"], pair["documents"], "encoded" in pair) == ("/v1/similarity", 1, False)


def test_routes_are_templates_and_paths_are_not_told(client):
    with logged() as lines:
        for path in ("/v1/admin/keys/s3cr3t/rotate", "/v1/s3cr3t", "/rerank?key=s3cr3t"):
            client.post(path, json={})
    assert [line["route"] for line in lines.read] == ["/v1/admin/keys/{id}/rotate", "unknown", "/rerank"]
    assert "s3cr3t" not in lines.text
