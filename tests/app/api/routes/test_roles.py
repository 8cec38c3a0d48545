"""Every route with every role, compared with the table in docs/security.md."""

import re

import pytest
from starlette.testclient import WebSocketDenialResponse

from app.auth.settings import AuthSettings
from app.identity import ROLES
from app.settings import Settings
from tests.conftest import serving
from tests.paths import ROOT

TABLE = ROOT / "docs" / "security.md"
CALLERS = ("nobody", *ROLES)
ROW = re.compile(r"^\| `(\w+) (/\S*)` \| (yes|no) \| (yes|no) \| (yes|no) \| (yes|no) \|$", re.MULTILINE)
PROMISED = {
    (method, path): dict(zip(CALLERS, [cell == "yes" for cell in cells], strict=True))
    for method, path, *cells in ROW.findall(TABLE.read_text(encoding="utf-8"))
}
UNDESCRIBED = {
    ("GET", "/"),
    ("GET", "/admin"),
    ("GET", "/docs"),
    ("GET", "/errors"),
    ("GET", "/openapi.json"),
    ("WS", "/v1/ws"),
}


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """A client, and the headers of each caller."""
    settings = Settings(model="hash", data_dir=tmp_path_factory.mktemp("data"), auth=AuthSettings(enabled=True))
    with serving(settings) as client:
        keys = client.app.state.dependencies.auth.keys
        made = {role: keys.create(role, role, "unlimited", None)[1] for role in ROLES}
        yield client, {"nobody": {}} | {role: {"X-API-Key": key} for role, key in made.items()}


def test_the_table_has_every_route(service):
    described = service[0].app.openapi()["paths"]
    routes = {(method.upper(), path) for path, methods in described.items() for method in methods}
    assert set(PROMISED) == routes | UNDESCRIBED


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize(("method", "path"), PROMISED)
def test_a_route_allows_the_roles_of_the_table(service, method, path, caller):
    client, headers = service
    path_ = re.sub(r"\{\w+\}", "any", path)
    if method == "WS":
        try:
            with client.websocket_connect(path_, headers=headers[caller]):
                status = 101
        except WebSocketDenialResponse as denial:
            status = denial.status_code
    else:
        status = client.request(method, path_, headers=headers[caller]).status_code
    refused = 401 if caller == "nobody" else 403
    assert (status != refused) == PROMISED[method, path][caller], status
    assert PROMISED[method, path][caller] == (status not in {401, 403})
