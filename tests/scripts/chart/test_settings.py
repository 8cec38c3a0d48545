"""The chart's settings are the service's, name for name and bound for bound."""

import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.settings import Settings
from scripts.chart.__main__ import CHART
from scripts.chart.schema import schema
from scripts.chart.settings_table import MOUNTED, settings

ROWS = settings()
SCHEMA = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))


def fields(model, before=()):
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and hasattr(inner, "model_fields"):
            yield from fields(inner, (*before, name))
        else:
            yield (*before, name)


def leaves(group, before=()):
    for name, inner in group["properties"].items():
        if "properties" in inner:
            yield from leaves(inner, (*before, name))
        else:
            yield (*before, name)


def test_the_table_has_every_setting_once():
    assert [row.path for row in ROWS] == list(fields(Settings))


def test_the_schema_has_every_setting_in_its_place_but_those_the_chart_decides():
    secret = {row.path for row in ROWS if row.secret}
    assert set(leaves(SCHEMA["properties"]["secretConfig"])) == secret
    decided = {(name,) for name in MOUNTED}
    assert set(leaves(SCHEMA["properties"]["config"])) == {row.path for row in ROWS} - secret - decided


def test_what_is_secret_is_what_settings_hide():
    assert {row.variable for row in ROWS if row.secret} == {
        "QRERANK_CACHE__REDIS_URL",
        "QRERANK_QUOTAS__REDIS_URL",
        "QRERANK_AUTH__KEYS",
        "QRERANK_AUTH__PEPPER",
        "QRERANK_AUTH__DATABASE_URL",
        "QRERANK_AUTH__JWT__SECRET",
    }


def test_the_templates_know_every_variable_that_may_be_given():
    rows = json.loads((CHART / "files" / "settings.json").read_text(encoding="utf-8"))
    assert {row["variable"] for row in rows} | {"QRERANK_DATA_DIR", "QRERANK_MODEL_DIR"} == {
        row.variable for row in ROWS
    }


@pytest.mark.parametrize("row", [row for row in ROWS if row.schema["type"] in {"integer", "number"}], ids=str)
def test_a_bound_of_the_schema_is_the_services_own(row, monkeypatch):
    for variable in [name for name in os.environ if name.startswith("QRERANK_")]:
        monkeypatch.delenv(variable)
    least = row.schema.get("minimum", row.schema.get("exclusiveMinimum"))
    for value in (row.schema["maximum"] + 1, least - 1):
        monkeypatch.setenv(row.variable, str(value))
        with pytest.raises(ValueError, match=row.path[-1]):
            Settings()


def test_kinds_are_told_in_words():
    told = {row.variable: row.kind for row in ROWS}
    assert told["QRERANK_ENGINE__REQUESTS"] == "integer, 1 to 1,024"
    assert told["QRERANK_CIRCUIT__BANDWIDTH"] == "number, above 0 to 16"
    assert told["QRERANK_LOGS__FORMAT"] == "`auto`, `json`, `pretty`"
    assert told["QRERANK_AUTH__PEPPER"] == "string, 32 characters or more"
    assert told["QRERANK_CORS__ORIGINS"] == "list of strings"
    assert told["QRERANK_TRACING__SERVICE"] == "string, 1 to 128 characters"


def groups(part, path="values"):
    """Every schema of an object, wherever it stands."""
    if isinstance(part, dict):
        if part.get("type") == "object":
            yield path, part
        for name, inner in part.items():
            yield from groups(inner, f"{path}.{name}")
    elif isinstance(part, list):
        for place, inner in enumerate(part):
            yield from groups(inner, f"{path}[{place}]")


def test_the_schema_is_strict_at_every_level():
    loose = [path for path, group in groups(SCHEMA) if group.get("additionalProperties") is not False]
    # Other names of models are free, and `global` is Helm's own.
    assert loose == ["values.properties.config.properties.aliases", "values.properties.global"]


def test_no_pattern_is_asked_of_a_secret_since_helm_would_print_it():
    assert "pattern" not in json.dumps(SCHEMA["properties"]["secretConfig"])
    for store in ("Redis", "PostgreSQL"):
        assert "pattern" not in SCHEMA["$defs"][store]["properties"]["password"]


@given(st.permutations(ROWS))
def test_the_schema_does_not_depend_on_the_settings_order(rows):
    assert schema(rows)["properties"]["config"] == SCHEMA["properties"]["config"]
