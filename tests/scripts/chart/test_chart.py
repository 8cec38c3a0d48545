"""The chart's files: made of what they say they are made of, and agreeing with each other and the service."""

import json
import tomllib

import pytest
import yaml

from app.server.asgi import options
from app.settings import LimitSettings, Settings
from monitoring.__main__ import HERE as MONITORING
from monitoring.__main__ import RUNBOOKS
from scripts.chart import __main__ as generator
from scripts.chart import readme
from scripts.chart.__main__ import CHART, ROOT, drifted, main
from scripts.chart.settings_table import settings
from scripts.chart.values import Values

VALUES = (CHART / "values.yaml").read_text(encoding="utf-8")
DEFAULTS = yaml.safe_load(VALUES)
FILES = sorted(CHART.glob("values-*.yaml"))
OURS = {"config", "secretConfig", "existingSecret"}


def merged(base, over):
    return {
        **base,
        **{
            k: merged(base[k], v) if isinstance(base.get(k), dict) and isinstance(v, dict) else v
            for k, v in over.items()
        },
    }


def test_what_is_generated_is_what_is_committed():
    assert drifted() == []


def test_a_file_that_differs_is_told(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(generator, "CHART", tmp_path)
    (tmp_path / "values.yaml").write_text(VALUES)
    assert set(drifted(tmp_path)) == set(generator.files())
    monkeypatch.setattr(generator, "drifted", lambda: drifted(tmp_path))
    monkeypatch.setattr("sys.argv", ["chart", "--check"])
    assert main() == 1
    assert "python -m scripts.chart" in capsys.readouterr().err
    monkeypatch.setattr(generator, "ROOT", tmp_path.parent)
    (tmp_path.parent / "monitoring").symlink_to(MONITORING)
    monkeypatch.setattr("sys.argv", ["chart"])
    assert main() == 0
    assert drifted(tmp_path) == []


@pytest.mark.parametrize("name", ["alerts.yml", "dashboard.json"])
def test_the_chart_carries_the_very_files_of_monitoring(name):
    assert (CHART / "files" / name).read_bytes() == (MONITORING / name).read_bytes()


def test_the_templates_replace_the_runbooks_that_monitoring_wrote():
    assert f'"{RUNBOOKS}"' in (CHART / "templates" / "monitoring.yaml").read_text(encoding="utf-8")


def test_the_chart_has_the_projects_version():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    assert (chart["version"], chart["appVersion"]) == (project, project)


def test_values_are_short_and_each_is_explained():
    assert len(VALUES.splitlines()) < 200
    said = readme.documented(VALUES)
    assert said["image.tag"].startswith("Which one")
    written = (CHART / "README.md").read_text(encoding="utf-8")
    for path in said:
        assert f"`{path}`" in written
    for row in settings():
        assert f"`{row.variable}`" in written


@pytest.mark.parametrize("file", [CHART / "values.yaml", *FILES], ids=lambda file: file.name)
def test_values_are_what_the_chart_and_the_service_take(file):
    whole = merged(DEFAULTS, yaml.safe_load(file.read_text(encoding="utf-8")))
    Values.model_validate({key: value for key, value in whole.items() if key not in OURS})
    Settings(**whole["config"])


def test_the_default_has_the_size_of_medium():
    """Which tests/deploy/test_sizes.py holds to what was measured."""
    medium = yaml.safe_load((CHART / "values-medium.yaml").read_text(encoding="utf-8"))
    assert DEFAULTS["workers"] == medium["workers"]
    assert DEFAULTS["config"]["cache"] == medium["config"]["cache"]
    for kind, amounts in medium["resources"].items():
        assert amounts.items() <= DEFAULTS["resources"][kind].items()


def test_the_files_say_what_measured_them():
    for file in FILES:
        assert "python -m benchmarks.sizing" in file.read_text(encoding="utf-8")
    assert (ROOT / "benchmarks" / "sizing.py").exists()


def test_the_time_to_end_counts_what_the_server_takes_for_what_is_in_flight():
    deployment = (CHART / "templates" / "deployment.yaml").read_text(encoding="utf-8")
    in_flight = options(LimitSettings())["timeout_graceful_shutdown"]
    assert f'add .Values.preStopSeconds (include "qrerank.drain" . | int) {in_flight + 5} }}' in deployment


def test_a_value_without_its_meaning_is_refused():
    template = "<!-- values -->\n<!-- settings -->\n"
    made = readme.written(template, "# -- How many.\na: 1\nb:\n  # -- A | B.\n  c: []\n", settings()[:1])
    assert made == (
        "| value | default | |\n|---|---|---|\n| `a` | `1` | How many. |\n| `b.c` |  | A \\| B. |\n"
        "| value | variable | type and bounds | default | |\n|---|---|---|---|---|\n"
        "| the chart's | `QRERANK_DATA_DIR` | string | `/data` | Collections: what must last. |\n"
    )
    with pytest.raises(ValueError, match=r"does not say what b\.c is"):
        readme.written(template, "b:\n  c: 1\n", [])
    with pytest.raises(ValueError, match="once"):
        readme.written("", "{}", [])


def test_every_alert_is_in_the_rules_that_the_chart_carries():
    rules = yaml.safe_load((CHART / "files" / "alerts.yml").read_text(encoding="utf-8"))
    assert {name for group in rules["groups"] for name in group} == {"name", "rules"}
    assert json.loads((CHART / "files" / "dashboard.json").read_text(encoding="utf-8"))["uid"] == "quantum-rerank"
