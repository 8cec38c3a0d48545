"""The OpenAPI description: complete, and equal to the committed one."""

import json

import pytest

from app.api.dialects.detect import PATHS
from app.api.openapi import render
from app.main import create_app
from tests.paths import ROOT

COMMITTED = ROOT / "docs" / "openapi.json"


@pytest.fixture(scope="module")
def description():
    return create_app().openapi()


def test_the_committed_description_is_current(description):
    assert COMMITTED.read_text(encoding="utf-8") == render(create_app()), "run `make pages`"


def references(node):
    if isinstance(node, dict):
        yield from ([node["$ref"]] if "$ref" in node else [])
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def test_every_reference_resolves(description):
    names = {ref.removeprefix("#/components/schemas/") for ref in references(description)}
    assert names <= set(description["components"]["schemas"])


@pytest.mark.parametrize("path", PATHS)
def test_every_dialect_is_documented_with_an_example_that_works(client, description, path):
    post = description["paths"][path]["post"]
    body = post["requestBody"]["content"]["application/json"]
    assert len(body["schema"]["oneOf"]) == len(body["examples"]) == 7
    assert set(post["responses"]) >= {"200", "400", "401", "404", "408", "413", "422", "503"}
    for example in body["examples"].values():
        assert client.post(path, json=example["value"]).status_code == 200


def test_the_example_of_a_search_is_one(client, description):
    sent = description["paths"]["/v1/collections/{name}/search"]["post"]["requestBody"]["content"]["application/json"]
    assert client.put("/v1/collections/papers").status_code == 201
    body = sent["examples"]["example"]["value"]
    assert client.post("/v1/collections/papers/search", json=body).status_code == 200


def test_every_path_skips_a_byte_order_mark(client, description):
    for path, operations in description["paths"].items():
        sent = operations.get("post", {}).get("requestBody", {}).get("content", {}).get("application/json", {})
        for example in sent.get("examples", {}).values():
            body = json.dumps(example["value"]).encode()
            plain, marked = (client.post(path, content=mark + body).status_code for mark in (b"", b"\xef\xbb\xbf"))
            assert (path, marked) == (path, plain)
            # 403: authentication is disabled; 404 and 422: "{name}" is no collection, no name of one; feedback is off.
            assert plain in ({404, 422} if "{name}" in path or path == "/v1/feedback" else {200, 403}), path


def test_the_documentation_page_is_served(client, description):
    assert client.get("/openapi.json").json() == description
    assert client.get("/docs").status_code == 200
