"""The chart's files: generated ones are up to date, and all are consistent with each other and the service."""

import json
import os
import tomllib

import jsonschema_rs
import pytest
import yaml

from app.server.asgi import options
from app.settings import Settings
from monitoring.__main__ import RUNBOOKS
from scripts.chart import CHART, merged
from scripts.chart import __main__ as command
from scripts.chart.__main__ import files
from scripts.configuration import settings
from tests.paths import ROOT

DEFAULTS = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
FILES = sorted(CHART.glob("values-*.yaml"))
ROWS = settings()
SCHEMA = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))


def test_what_is_generated_is_what_is_committed(monkeypatch, tmp_path):
    (tmp_path / "files").mkdir()
    monkeypatch.setattr(command, "CHART", tmp_path)
    (tmp_path / "values.schema.json").write_text(
        json.dumps(SCHEMA | {"properties": SCHEMA["properties"] | {"config": {}}})
    )
    command.main()
    for name in files():
        written, committed = ((folder / name).read_text(encoding="utf-8") for folder in (tmp_path, CHART))
        assert written == committed, "run `python -m scripts.chart`"


def test_the_chart_has_the_projects_version_and_the_runbooks_that_monitoring_wrote():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    assert (chart["version"], chart["appVersion"]) == (project, project)
    assert f'"{RUNBOOKS}"' in (CHART / "templates" / "monitoring.yaml").read_text(encoding="utf-8")  # is replaced


@pytest.mark.parametrize("file", [CHART / "values.yaml", *FILES], ids=lambda file: file.name)
def test_values_are_what_the_chart_and_the_service_take(file):
    whole = merged(DEFAULTS, yaml.safe_load(file.read_text(encoding="utf-8")))
    jsonschema_rs.validate(SCHEMA, whole)
    Settings(**whole["config"])


def test_the_default_has_the_size_of_medium():
    medium = yaml.safe_load((CHART / "values-medium.yaml").read_text(encoding="utf-8"))
    assert (DEFAULTS["workers"], DEFAULTS["config"]["cache"]) == (medium["workers"], medium["config"]["cache"])
    for kind, amounts in medium["resources"].items():
        assert amounts.items() <= DEFAULTS["resources"][kind].items()


def test_the_time_to_end_counts_what_the_server_takes_for_what_is_in_flight():
    deployment = (CHART / "templates" / "deployment.yaml").read_text(encoding="utf-8")
    in_flight = options(Settings())["timeout_graceful_shutdown"]
    assert f'add .Values.preStopSeconds (include "qrerank.drain" . | int) {in_flight + 5} }}' in deployment


def test_the_secret_settings_are_known():
    assert {row.variable for row in ROWS if row.secret} == {
        "QRERANK_ENCODER__REMOTE__API_KEY",
        "QRERANK_INDEX__URL",
        "QRERANK_CACHE__REDIS_URL",
        "QRERANK_QUOTAS__REDIS_URL",
        "QRERANK_AUTH__KEYS",
        "QRERANK_AUTH__PEPPER",
        "QRERANK_AUTH__DATABASE_URL",
        "QRERANK_AUTH__JWT__SECRET",
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


def groups(part, path="values"):
    """All object schemas at any depth."""
    if isinstance(part, dict):
        if part.get("type") == "object":
            yield path, part
        for name, inner in part.items():
            yield from groups(inner, f"{path}.{name}")


def test_the_schema_is_strict_at_every_level_and_prints_no_secret():
    loose = [path for path, group in groups(SCHEMA) if group.get("additionalProperties") is not False]
    # Other model names are allowed, and `global` is reserved by Helm.
    config = "values.properties.config.properties"
    assert loose == [f"{config}.aliases", f"{config}.encoder.properties.prompts", "values.properties.global"]
    assert "pattern" not in json.dumps(SCHEMA["properties"]["secretConfig"])  # Helm would print an invalid secret
    assert SCHEMA["$defs"]["Password"] == {"type": "string", "writeOnly": True}
