"""Check the dashboard's queries and the alert rules with promtool and Prometheus: `make chart`.

Exit status 0: all checks passed; 1: a check failed; 77: promtool or Prometheus is missing, so checks were skipped.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from app.cli.index import DEMO, build_demo
from app.settings import Settings
from benchmarks.server import Server, ours
from monitoring.exercise import SETTINGS, exercise
from monitoring.prometheus import CONFIGURATION, Missing, had, run, scraping
from monitoring.queries import ALERTS, of_the_dashboard, of_the_rules, rules
from retrieval.encoder.hash_encoder import HashEncoder

SKIPPED = 77
TESTS = Path(__file__).with_name("alerts_test.yml")


def check_files(promtool: Path, tests: Path = TESTS, configuration: Path = CONFIGURATION) -> None:
    """Check rules and configuration with promtool, and run the rules' tests. Raises RuntimeError."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for path in (configuration, ALERTS):
            shutil.copy(path, folder)
        for command in (("check", "rules", ALERTS), ("test", "rules", tests), ("check", "config", configuration.name)):
            status, output = run(promtool, *command, folder=folder)
            if status:
                raise RuntimeError(f"promtool {' '.join(map(str, command))}:\n{output}")
    print(f"promtool: {len(rules())} rules, their tests and deploy/{configuration.name} passed")


def check_queries(program: Path) -> None:
    """Run every query on a Prometheus that scrapes a real service. RuntimeError if one without `idle` has no series."""
    with exercised() as service, scraping(program, service.port, ALERTS) as prometheus:
        for _ in range(2):
            prometheus.await_scrapes(2)
            with httpx.Client(base_url=f"http://127.0.0.1:{service.port}", timeout=60) as client:
                exercise(client, DEMO)
        prometheus.await_scrapes(2)
        queries = [*of_the_dashboard("30s"), *of_the_rules()]
        empty = [query for query in queries if not prometheus.ask(query.text)]
    if errors := [f"{query.owner} is empty: {query.text}" for query in empty if not query.idle]:
        raise RuntimeError("\n".join(errors))
    print(f"prometheus: {len(queries)} queries answered, {len(queries) - len(empty)} of them with series")


@contextmanager
def exercised() -> Iterator[Server]:
    """A service with a collection and all features that have metrics."""
    with tempfile.TemporaryDirectory() as folder:
        build_demo(Settings(**SETTINGS, data_dir=Path(folder)), HashEncoder(), lambda *_: None)  # type: ignore[arg-type]
        nested = {
            name: json.dumps(value) if isinstance(value, dict) else str(value) for name, value in SETTINGS.items()
        }
        with ours(**nested, data_dir=folder) as server:
            yield server


def main() -> int:
    """Run all checks and print their results; return the exit status."""
    try:
        check_files(had("promtool"))
        check_queries(had("prometheus"))
    except RuntimeError as error:
        print(f"FAILED: {error}", file=sys.stderr)
        return 1
    except Missing as error:
        print(f"SKIPPED: the rules and queries were not checked: {error}", file=sys.stderr)
        return SKIPPED
    return 0


if __name__ == "__main__":
    sys.exit(main())
