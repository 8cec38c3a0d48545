"""The committed description of the service, as the pages' tests look at it."""

import json

from tests.paths import ROOT

DESCRIPTION = json.loads((ROOT / "docs" / "openapi.json").read_text(encoding="utf-8"))
SCHEMAS = DESCRIPTION["components"]["schemas"]
OPERATIONS = {
    (method.upper(), path): operation
    for path, operations in DESCRIPTION["paths"].items()
    for method, operation in operations.items()
}
UNDESCRIBED = {
    ("GET", "/"),
    ("GET", "/admin"),
    ("GET", "/docs"),
    ("GET", "/errors"),
    ("GET", "/openapi.json"),
    ("WS", "/v1/ws"),
}  # OpenAPI has no WebSockets
ROUTES = set(OPERATIONS) | UNDESCRIBED
