"""Check the dashboard and the rules with Prometheus' own programs: `make chart`.

Exit status 0: all held; 1: something did not; 77: nothing failed, but promtool could not be had, so most was skipped.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import yaml

from app.cli.index import DEMO, build_demo
from app.settings import Settings
from benchmarks.server import ours
from monitoring.__main__ import HERE, files
from monitoring.exercise import SETTINGS, exercise
from monitoring.prometheus import CONFIGURATION, Missing, had, scraping, told
from monitoring.queries import of_the_dashboard, of_the_rules
from retrieval.encoder.hash_encoder import HashEncoder

SKIPPED = 77


class Failed(Exception):
    """Something does not hold."""


def check_files() -> None:
    """Failed unless the files here are those that are made now."""
    for name, text in files().items():
        if (HERE / name).read_text(encoding="utf-8") != text:
            raise Failed(f"monitoring/{name} is not what is made of the metrics now: run `make monitoring`")
    print(f"files: {', '.join(files())} are what the metrics make")


def check_rules(promtool: Path) -> None:
    """Failed unless promtool takes the rules, and every case of theirs holds."""
    for command in ("check", "test"):
        name = "alerts.yml" if command == "check" else "alerts_test.yml"
        status, said = told(promtool, command, "rules", name, folder=HERE)
        if status:
            raise Failed(f"promtool {command} rules {name}:\n{said}")
    rules = yaml.safe_load((HERE / "alerts.yml").read_text(encoding="utf-8"))["groups"]
    tests = yaml.safe_load((HERE / "alerts_test.yml").read_text(encoding="utf-8"))["tests"]
    looks = [look for test in tests for look in test["alert_rule_test"]]
    fire = sum(bool(look["exp_alerts"]) for look in looks)
    count = sum(len(group["rules"]) for group in rules)
    print(f"promtool check rules: {count} rules passed")
    print(
        f"promtool test rules: {len(tests)} cases passed ({fire} times an alert fires, {len(looks) - fire} it does not)"
    )


def check_configuration(promtool: Path) -> None:
    """Failed unless promtool takes the configuration of docker-compose.yml, which has the rules beside it."""
    with tempfile.TemporaryDirectory() as folder:
        for path in (CONFIGURATION, HERE / "alerts.yml"):
            shutil.copy(path, folder)
        status, said = told(promtool, "check", "config", CONFIGURATION.name, folder=Path(folder))
    if status:
        raise Failed(f"promtool check config {CONFIGURATION.name}:\n{said}")
    print(f"promtool check config: deploy/{CONFIGURATION.name} passed")


def check_queries(program: Path) -> None:
    """Failed unless Prometheus, reading a real service, answers every query, and has something for all that should."""
    with exercised() as port, scraping(program, port, HERE / "alerts.yml") as prometheus:
        for _ in range(2):
            prometheus.await_scrapes(2)
            send(port)
        prometheus.await_scrapes(2)
        wrong, asked, empty = [], 0, 0
        for query in (*of_the_dashboard("30s"), *of_the_rules()):
            asked += 1
            try:
                series = prometheus.ask(query.text)
            except ValueError as error:
                wrong.append(f"{query.whose}: {error}: {query.text}")
                continue
            empty += not series
            if not series and not query.idle:
                wrong.append(f"{query.whose} is empty: {query.text}")
        if wrong:
            raise Failed("\n".join(wrong))
        print(f"prometheus: {asked} queries answered by a scraped service, {asked - empty} of them with series")
        print(f"prometheus: {prometheus.rules()} rules loaded and evaluated")


@contextmanager
def exercised() -> Iterator[int]:
    """The port of a service that has everything there are metrics of, and a collection."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(**SETTINGS, data_dir=Path(folder))  # type: ignore[arg-type]
        build_demo(settings, HashEncoder(), lambda *_: None)
        flat = dict(_flat(SETTINGS))
        with ours(**flat, data_dir=folder) as server:
            yield server.port


def send(port: int) -> None:
    """Send requests of every kind."""
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
        exercise(client, DEMO)


def _flat(settings: dict[str, object], before: str = "") -> Iterator[tuple[str, str]]:
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{name}__")
        else:
            yield before + name, str(value).lower() if isinstance(value, bool) else str(value)


def main() -> int:
    """Check everything, and say what was checked."""
    try:
        check_files()
        promtool, prometheus = had("promtool"), had("prometheus")
        check_rules(promtool)
        check_configuration(promtool)
        check_queries(prometheus)
    except Failed as error:
        print(f"FAILED: {error}", file=sys.stderr)
        return 1
    except Missing as error:
        print(f"SKIPPED: the rules and queries were not checked: {error}", file=sys.stderr)
        return SKIPPED
    return 0


if __name__ == "__main__":
    sys.exit(main())
