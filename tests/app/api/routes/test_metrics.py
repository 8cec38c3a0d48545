from app.auth.settings import AuthSettings
from app.settings import Settings
from tests.app.problems import problem
from tests.conftest import serving


def test_valid_request_ids_are_kept(client):
    assert client.get("/health", headers={"x-request-id": "abc-1"}).headers["x-request-id"] == "abc-1"
    for odd in ("a b", "x" * 129, "<script>"):
        assert len(client.get("/health", headers={"x-request-id": odd}).headers["x-request-id"]) == 32


def test_unknown_routes_and_methods_are_problems(client):
    problem(client.get("/nope"), 404, "see /docs")
    problem(client.get("/rerank"), 405, "Method Not Allowed; it takes POST")


def test_no_path_is_answered_with_a_redirect(client):
    assert client.get("/health/", follow_redirects=False).status_code == 200
    assert client.get("http://testserver//health//ready", follow_redirects=False).status_code == 200


def test_metrics_may_be_for_admins_only(tmp_path):
    auth, operations = AuthSettings(enabled=True), {"access": "admin"}
    with serving(Settings(model="hash", data_dir=tmp_path, auth=auth, operations=operations)) as client:
        made = {
            role: client.app.state.dependencies.auth.keys.create(role, role, "public", None)[1]
            for role in ("user", "admin")
        }
        problem(client.get("/metrics"), 401, "key")
        problem(client.get("/metrics", headers={"X-API-Key": made["user"]}), 403, "role admin")
        answer = client.get("/metrics", headers={"X-API-Key": made["admin"]})
        assert answer.status_code == 200
        assert 'reason="unauthorized"} 1.0' in answer.text
        assert 'reason="forbidden"} 1.0' in answer.text


def test_metrics_with_a_port_of_their_own_have_no_route(tmp_path):
    with serving(Settings(model="hash", data_dir=tmp_path, operations={"metrics_port": 9090})) as client:
        problem(client.get("/metrics"), 404, "see /docs")
        assert "/metrics" not in client.get("/openapi.json").json()["paths"]
