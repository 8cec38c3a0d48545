"""Keys that are limited to collections and to reading, on every route that touches a collection."""

import re

import pytest

from app.api.dialects import dashscope, nim
from app.api.dialects.detect import PATHS
from app.auth.settings import AuthSettings, TokenSettings
from app.settings import Settings
from tests.app.auth.issuer import SHARED, token
from tests.app.problems import problem
from tests.conftest import serving

MINE, HIDDEN, BROKEN, ABSENT = "team-a-notes", "team-b-notes", "team-b-wreck", "team-b-ghost"  # of one length
ONE = "/v1/collections/{name}"
SEARCHING = [*(path for path in PATHS if path not in {nim.PATH, dashscope.PATH}), "/v1/rerank/stream"]
SEARCH = {"query": "owl"}
DOCUMENTS = {"documents": [{"id": "owl", "text": "An owl hunts at night."}]}
READING = [
    ("GET", ONE, None),
    ("GET", ONE + "/documents", None),
    ("GET", ONE + "/documents/{id}", None),
    ("POST", ONE + "/search", SEARCH),
    ("GET", ONE + "/jobs", None),
    *[("POST", path, SEARCH | {"collection": "{name}"}) for path in SEARCHING],
]
WRITING = [
    ("POST", ONE + "/compact", None),
    ("POST", ONE + "/encode", {"model": "hash"}),
    ("DELETE", ONE + "/encode", None),
    ("POST", ONE + "/documents", DOCUMENTS),
    ("POST", ONE + "/documents/delete", {"ids": ["none"]}),
    ("DELETE", ONE + "/documents/{id}", None),
    ("DELETE", ONE, None),
]
MAKING = ("PUT", ONE, {})
LIMITED = {
    "prefix": {"collections": ["team-a-*"]},
    "name": {"collections": ["other", MINE]},
    "nothing": {"collections": []},
    "reading": {"collections": ["team-a-*"], "can_write": False},
}


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """A client, and the headers of each caller."""
    folder = tmp_path_factory.mktemp("data")
    auth = AuthSettings(enabled=True, jwt=TokenSettings(secret=SHARED))
    settings = Settings(model="hash", data_dir=folder, auth=auth, default_collection=HIDDEN)
    with serving(settings) as client:
        keys = client.app.state.dependencies.auth.keys
        limits = LIMITED | {"all": {}, "reading all": {"can_write": False}}
        made = {caller: keys.create("", "user", "unlimited", **limit)[1] for caller, limit in limits.items()}
        made["token"] = token(SHARED, "HS256", collections="team-a-*", tier="unlimited")
        yield client, {caller: {"Authorization": f"Bearer {key}"} for caller, key in made.items()}


@pytest.fixture
def call(service, fill):
    def call(caller, route, name, body=None):
        client, headers = service
        method, path, usual = route
        sent = usual if body is None else body
        if sent and "collection" in sent:
            sent = sent | {"collection": name}
        path = path.replace("{name}", name).replace("{id}", "owl")
        return client.request(method, path, headers=headers[caller], json=sent)

    return call


@pytest.fixture
def fill(service):
    """A collection that the tests' keys see, one that they do not, and one that is damaged besides."""
    client, headers = service
    for name in (MINE, HIDDEN):
        assert client.put(f"/v1/collections/{name}", headers=headers["all"]).status_code in {200, 201}
        stored = DOCUMENTS | {"wait": "searchable"}
        client.post(f"/v1/collections/{name}/documents", headers=headers["all"], json=stored).raise_for_status()
    broken = client.app.state.dependencies.settings.collections_dir / BROKEN
    broken.mkdir(exist_ok=True)
    (broken / "documents.sqlite").write_bytes(b"x" * 5000)


def shown(response, name):
    """All that tells a client something, without what names this request."""
    body = re.sub(r'"request_id":"[^"]*"', "", response.text).replace(name, "NAME")
    return response.status_code, body, {*response.headers}, response.headers["content-length"]


def test_the_tables_have_every_route_of_one_collection(service):
    described = service[0].app.openapi()["paths"]
    routes = {(method.upper(), path) for path in described if ONE in path for method in described[path]}
    assert routes == {(method, path) for method, path, _ in (*READING, *WRITING, MAKING) if ONE in path}


@pytest.mark.parametrize("route", READING + WRITING, ids=lambda route: " ".join(route[:2]))
def test_what_a_key_does_not_see_looks_like_what_does_not_exist(call, route):
    for body in (None, {}, {"documents": 7, "ids": 7, "collection": ""}):
        missing = shown(call("prefix", route, ABSENT, body), ABSENT)
        assert missing == shown(call("all", route, ABSENT, body), ABSENT)
        for caller in ("prefix", "name", "nothing", "token"):
            for name in (HIDDEN, BROKEN):
                assert shown(call(caller, route, name, body), name) == missing
        if body is None:
            assert missing[0] == 404
            assert call("all", route, HIDDEN).status_code in {200, 204}
            is_deleted = route[:2] == ("DELETE", ONE)  # which needs nothing of what is in it
            assert call("all", route, BROKEN).status_code == (204 if is_deleted else 503)


@pytest.mark.parametrize("caller", ["prefix", "name", "token", "all"])
@pytest.mark.parametrize("route", [*READING, *WRITING, MAKING], ids=lambda route: " ".join(route[:2]))
def test_a_key_may_do_all_to_what_it_sees(call, route, caller):
    assert call(caller, route, MINE).status_code in {200, 204}


@pytest.mark.parametrize("caller", ["reading", "reading all"])
def test_a_key_that_reads_changes_nothing(call, caller):
    for route in READING:
        assert call(caller, route, MINE).status_code == 200
    for route in (*WRITING, MAKING):
        for name in (MINE, HIDDEN, ABSENT):
            for body in (None, {"wrong": 7}):
                problem(call(caller, route, name, body), 403, "ask the operator for one that may write")
    assert call("all", READING[2], MINE).json()["text"] == "An owl hunts at night."


def test_a_key_makes_collections_that_it_would_see_and_no_others(call):
    refused = [shown(call("prefix", MAKING, name), name) for name in (HIDDEN, BROKEN, ABSENT)]
    assert refused[1:] == refused[:1] * 2
    problem(call("prefix", MAKING, ABSENT), 403, "limited to collections: team-a-*; choose")
    problem(call("nothing", MAKING, ABSENT), 403, "limited to collections: none")
    assert call("all", READING[0], ABSENT).status_code == 404
    for created in ("team-a-new", "team-a-newer"):
        assert call("prefix", MAKING, created).status_code == 201
        assert call("all", WRITING[-1], created).status_code == 204


def test_the_list_has_what_a_key_sees(call):
    def names(caller):
        return [each["name"] for each in call(caller, ("GET", "/v1/collections", None), "").json()["data"]]

    assert names("all") == names("reading all") == [MINE, HIDDEN]
    assert [names(caller) for caller in ("prefix", "name", "reading", "token")] == [[MINE]] * 4
    assert names("nothing") == []


@pytest.mark.parametrize("path", SEARCHING)
def test_a_default_collection_that_a_key_does_not_see_is_none(call, path):
    route = ("POST", path, SEARCH)
    refused = call("prefix", route, "")
    assert refused.status_code == 422
    assert "nothing to rank" in refused.text
    assert HIDDEN not in refused.text
    assert call("all", route, "").status_code == 200


def test_a_key_of_no_collection_ranks_what_it_sends(call):
    assert call("nothing", ("POST", "/rerank", SEARCH | {"documents": ["an owl"]}), "").status_code == 200


def test_a_websocket_sees_what_its_key_sees(service, fill):
    client, headers = service

    def ask(socket, **fields):
        socket.send_json({"type": "rerank", "id": 1, "query": "owl"} | fields)
        while (frame := socket.receive_json())["type"] == "order":
            pass
        return {name: value for name, value in frame.items() if name != "request_id"}

    with client.websocket_connect("/v1/ws", headers=headers["prefix"]) as socket:
        missing = str(ask(socket, collection=ABSENT))
        assert "'status': 404" in missing
        for name in (HIDDEN, BROKEN):
            assert str(ask(socket, collection=name)).replace(name, ABSENT) == missing
        assert ask(socket)["status"] == 422
        assert ask(socket, collection=MINE)["type"] == "final"
