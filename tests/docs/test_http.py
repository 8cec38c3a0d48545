"""docs/http.md agrees with docs/openapi.json and the service on every route, body, response and error."""

import re

import pytest

from tests.docs.description import OPERATIONS, ROUTES, SCHEMAS
from tests.docs.pages import BY_NAME

TABLES = BY_NAME["docs/http.md"].tables
(ROUTES_TABLE,) = (table for table in TABLES if table[0][0] == "route")
FIELDS = {table[0][0].strip("`"): table[1:] for table in TABLES if table[0][0].strip("`") in SCHEMAS}
(DIALECTS,) = (table for table in TABLES if table[0][0] == "schema")


def code(cell):
    return re.findall(r"`([^`]+)`", cell)


def test_every_route_is_in_the_table():
    assert sorted(tuple(code(row[0])[0].split()) for row in ROUTES_TABLE[1:]) == sorted(ROUTES)


@pytest.mark.parametrize("row", ROUTES_TABLE[1:], ids=lambda row: row[0])
def test_a_route_has_the_errors_of_its_description(row):
    described = OPERATIONS.get(tuple(code(row[0])[0].split()), {}).get("responses", {})
    assert row[2].split() == sorted(status for status in described if status >= "400")


@pytest.mark.parametrize("name", FIELDS)
def test_a_table_has_the_fields_of_its_schema(name):
    properties, required = SCHEMAS[name]["properties"], SCHEMAS[name].get("required", [])
    assert [code(row[0])[0] for row in FIELDS[name]] == list(properties)
    assert {code(row[0])[0] for row in FIELDS[name] if row[1].endswith("required")} == set(required)


@pytest.mark.parametrize("row", DIALECTS[1:], ids=lambda row: row[0])
def test_a_dialect_has_the_fields_of_its_schemas(row):
    assert code(row[1]) == list(SCHEMAS[code(row[0])[0]]["properties"])
    response, *fields = code(row[2])
    assert fields == list(SCHEMAS[response]["properties"])


def test_every_body_and_its_errors_have_a_table():
    bodies = {name for name in SCHEMAS if name.endswith("Body")}
    assert bodies <= set(FIELDS) | {code(row[0])[0] for row in DIALECTS[1:]}
    assert "ProblemResponse" in FIELDS
