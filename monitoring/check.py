"""Check the alert rules, the dashboard's queries and Prometheus' configuration with promtool: `make chart`."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path

import typer

from monitoring.rows import ALERTS, of_the_dashboard, rules
from scripts import call
from scripts.debian import ROOT, Missing, had

TESTS = Path(__file__).with_name("alerts_test.yml")
CONFIGURATION = ROOT / "deploy" / "prometheus.yml"


def check_files(promtool: Path, tests: Path = TESTS) -> None:
    """Check rules, queries and configuration, and run the rules' tests. Raises RuntimeError."""
    queries = [{"record": f"query:{at}", "expr": query.text} for at, query in enumerate(of_the_dashboard())]
    # Annotations would have to be in each test again.
    bare = [{name: value for name, value in rule.items() if name != "annotations"} for rule in rules()]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        shutil.copy(CONFIGURATION, folder)
        shutil.copy(ALERTS, folder / "annotated.yml")
        shutil.copy(tests, folder / "tests.yml")
        for name, listed in (("alerts.yml", bare), ("queries.yml", queries)):
            content = {"groups": [{"name": "all", "rules": listed}]}
            (folder / name).write_text(json.dumps(content), encoding="utf-8")  # which is YAML
        for command in (
            ("check", "rules", "annotated.yml", "queries.yml"),
            ("test", "rules", "tests.yml"),
            ("check", "config", CONFIGURATION.name),
        ):
            call([promtool, *command], cwd=folder)
    print(f"promtool: {len(bare)} rules, their tests, {len(queries)} queries and deploy/{CONFIGURATION.name} passed")


def main() -> None:
    """Check rules, queries and configuration."""
    try:
        check_files(had("promtool", "prometheus"))
    except RuntimeError as error:
        sys.exit(f"FAILED: {error}")
    except Missing as error:
        sys.exit(f"SKIPPED: rules and queries were not checked: {error}")


if __name__ == "__main__":
    typer.run(main)
