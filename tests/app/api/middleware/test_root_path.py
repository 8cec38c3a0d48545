"""Below a root path every route is served with and without it, and addresses in responses have it."""

import pytest
from pydantic import ValidationError

from app.api.middleware.path_normalization import NORMALIZED
from app.main import create_app
from app.settings import OWN_PATHS, ServerSettings, Settings
from tests.conftest import serving

RERANK = {"query": "owl", "documents": ["an owl", "a stone"]}


@pytest.fixture(scope="module", params=["/ranking", "/tools/rank.v1", "/rerank"])
def below(request, tmp_path_factory):
    """A client, and the root path of the service."""
    settings = Settings(
        model="hash", data_dir=tmp_path_factory.mktemp("data"), server=ServerSettings(root_path=request.param)
    )
    with serving(settings) as client:
        yield client, request.param


@pytest.mark.parametrize("removed", [True, False], ids=["removed by the proxy", "left by the proxy"])
@pytest.mark.parametrize("path", ["/rerank", "/v1/rerank", "/v1/v1/rerank/", "//rerank"])
def test_rankings_are_served(below, path, removed):
    client, root = below
    answer = client.post("http://testserver" + (path if removed else root + path), json=RERANK)
    assert answer.status_code == 200, answer.text
    assert [row["index"] for row in answer.json()["results"]] == [0, 1]


@pytest.mark.parametrize("removed", [True, False])
def test_the_path_decides_the_dialect_and_parts_of_paths_are_read(below, removed):
    client, root = below
    at = "" if removed else root
    assert client.put(f"{at}/v1/collections/birds").status_code in {200, 201}
    assert client.get(f"{at}/v1/collections/birds").json()["name"] == "birds"
    fault = client.post(f"{at}/api/v1/services/rerank/text-rerank/text-rerank", content="{")
    assert fault.headers["content-type"] == "application/json"  # DashScope's
    with client.websocket_connect(f"{at}/v1/ws") as socket:
        socket.send_json({"type": "rerank", "id": 1} | RERANK)
        while (frame := socket.receive_json())["type"] == "order":
            pass
        assert frame["type"] == "final"


@pytest.mark.parametrize("removed", [True, False])
def test_addresses_have_the_root_path(below, removed):
    client, root = below
    at = "" if removed else root
    assert client.get(f"{at}/openapi.json").json()["servers"] == [{"url": root}]
    assert f'src="{root}/docs/start.js"' in client.get(f"{at}/docs").text
    assert client.get(f"{root}/docs/start.js").status_code == 200
    for answer in (client.post(f"{at}/rerank", json={}), client.get(f"{at}/nothing"), client.get(f"{at}/a%7fb")):
        assert answer.json()["help"] == f"{root}/errors#{answer.json()['code']}"
    assert f"GET {root}" not in client.get(f"{at}/nothing").json()["message"]
    refused = client.get(f"{at}/v1/rerank")
    assert (refused.status_code, refused.headers["allow"]) == (405, "POST")


def test_no_other_path_is_below_it(below):
    client, root = below
    for path in (f"{root}x/health", "/other/health", f"{root}{root}/health"):
        assert client.get(path).status_code == 404


@pytest.mark.parametrize(
    "path", ["ranking", "/ranking/", "/", "/a//b", "/a b", "/a/../b", "/v1", "/docs/x", "/é", "/a?b"]
)
def test_what_is_no_root_path_is_refused(path):
    with pytest.raises(ValidationError):
        ServerSettings(root_path=path)


def test_paths_below_which_we_have_routes_are_no_root_path(tmp_path):
    def paths(routes):
        for route in routes:
            inner = getattr(route, "original_router", None)  # FastAPI's way of keeping an included router
            yield from paths(inner.routes) if inner else [route.path]

    parts = [path.split("/") for path in paths(create_app(Settings(model="hash", data_dir=tmp_path)).routes)]
    assert {first for _, first, *rest in parts if first and (rest or f"/{first}" not in NORMALIZED)} == OWN_PATHS
