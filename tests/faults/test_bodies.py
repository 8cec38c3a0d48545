"""Any body gets a valid response or a client error, on a real socket of the real application."""

import http.client
import json
from collections import Counter

import pytest

from app.settings import Settings
from tests.app.live import Live, live
from tests.faults.bodies import Case, case, routes
from tests.waiting import PATIENT_S

QUICK, ALL = 1000, 20_000


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    settings = Settings(data_dir=tmp_path_factory.mktemp("data"), limits={"body_bytes": 2**20})
    with pytest.MonkeyPatch.context() as patch, live(settings, patch) as here:
        yield here


def send(connection: http.client.HTTPConnection, sent: Case) -> int:
    connection.request("POST", sent.path, sent.body, sent.headers)
    response = connection.getresponse()
    body = response.read()
    details = f"case {sent.number}: {sent.path} {sent.body[:300]!r} {sent.headers}: {response.status} {body[:300]!r}"
    if response.status == 200:
        assert response.headers["content-type"].startswith(("application/json", "text/event-stream")), details
        if "stream" not in sent.path:
            json.loads(body)
    elif response.status == 504:  # the body's deadline cannot be met
        assert b"deadline_ms" in sent.body, details
        assert "similarity" in sent.path, details
    else:
        assert 400 <= response.status < 500, details
        problem_types = {"application/problem+json", "application/json"}  # application/json for DashScope's client
        assert response.headers["content-type"] in problem_types, details
        assert json.loads(body)["request_id"] == response.headers["x-request-id"], details
    return response.status


def tried(server: Live, numbers: range) -> Counter[int]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENT_S)
    examples = routes(server.app)
    return Counter(send(connection, case(number, examples)) for number in numbers)


def report(count, statuses: Counter[int]) -> None:
    answered, refused = statuses[200], sum(count for status, count in statuses.items() if 400 <= status < 500)
    count("broken bodies", statuses.total(), refused, answered + statuses[504])
    assert answered > statuses.total() / 20  # otherwise nothing beyond validation is tested
    assert refused > statuses.total() / 4


def test_broken_bodies_are_refused(server, count):
    report(count, tried(server, range(QUICK)))


@pytest.mark.soak
def test_many_broken_bodies_are_refused(server, count):
    report(count, tried(server, range(QUICK, QUICK + ALL)))
