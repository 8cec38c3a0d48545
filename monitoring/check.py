"""Check the dashboard's queries and the alert rules with Prometheus' own programs: `make chart`.

Exit status 0: all held; 1: something did not; 77: nothing failed, but promtool could not be had, so most was skipped.
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
    """RuntimeError unless promtool takes rules and configuration, and the tests of the rules hold."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for path in (configuration, ALERTS):
            shutil.copy(path, folder)
        for command in (("check", "rules", ALERTS), ("test", "rules", tests), ("check", "config", configuration.name)):
            status, said = run(promtool, *command, folder=folder)
            if status:
                raise RuntimeError(f"promtool {' '.join(map(str, command))}:\n{said}")
    print(f"promtool: {len(rules())} rules, their tests and deploy/{configuration.name} passed")


def check_queries(program: Path) -> None:
    """RuntimeError unless Prometheus, scraping a real service, answers every query, all but idle ones with series."""
    with exercised() as service, scraping(program, service.port, ALERTS) as prometheus:
        for _ in range(2):
            prometheus.await_scrapes(2)
            with httpx.Client(base_url=f"http://127.0.0.1:{service.port}", timeout=60) as client:
                exercise(client, DEMO)
        prometheus.await_scrapes(2)
        queries = [*of_the_dashboard("30s"), *of_the_rules()]
        empty = [query for query in queries if not prometheus.ask(query.text)]
    if wrong := [f"{query.owner} is empty: {query.text}" for query in empty if not query.idle]:
        raise RuntimeError("\n".join(wrong))
    print(f"prometheus: {len(queries)} queries answered, {len(queries) - len(empty)} of them with series")


@contextmanager
def exercised() -> Iterator[Server]:
    """A service that has everything there are metrics of, and a collection."""
    with tempfile.TemporaryDirectory() as folder:
        build_demo(Settings(**SETTINGS, data_dir=Path(folder)), HashEncoder(), lambda *_: None)  # type: ignore[arg-type]
        nested = {
            name: json.dumps(value) if isinstance(value, dict) else str(value) for name, value in SETTINGS.items()
        }
        with ours(**nested, data_dir=folder) as server:
            yield server


def main() -> int:
    """Check everything, and say what was checked."""
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
