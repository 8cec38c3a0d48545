from tests.app.problems import problem


def test_request_ids_are_kept_when_sane(client):
    assert client.get("/health", headers={"x-request-id": "abc-1"}).headers["x-request-id"] == "abc-1"
    for odd in ("a b", "x" * 129, "<script>"):
        assert len(client.get("/health", headers={"x-request-id": odd}).headers["x-request-id"]) == 32


def test_unknown_routes_and_methods_are_problems(client):
    problem(client.get("/nope"), 404, "see /docs")
    problem(client.get("/rerank"), 405, "Method Not Allowed")


def test_no_path_is_answered_with_a_redirect(client):
    assert client.get("/health/", follow_redirects=False).status_code == 200
    assert client.get("http://testserver//health//ready", follow_redirects=False).status_code == 200
