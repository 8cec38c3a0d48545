import pytest

from app.identity import Identity
from app.settings import Settings
from app.telemetry.access_log import is_sampled, log_requests
from app.telemetry.request_record import RequestRecord
from tests.app.lines import logged
from tests.conftest import serving

BODY = {"query": "owl song", "documents": ["market prices", "an owl song"]}
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
        answers = [client.post("/v2/rerank", json=BODY | {"documents": BODY["documents"] * n}) for n in (1, 2)]
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
