"""Rehearse docs/operations: `make rehearse`. Backup, upgrade, rollback to the restored backup, incident response.

The pages' own commands run on real servers with the weight-free model, with keys in SQLite and in PostgreSQL, under
steady load whose responses are verified. Exit status 0 if all checks passed.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import typer

from benchmarks.server import Server
from scripts.rehearsal import driver
from scripts.rehearsal.driver import Commands, Installation, Key
from scripts.rehearsal.load import COLLECTION, RERANK, SEARCH, Load, Question, corpus
from scripts.trial import Findings, free_port

_LOAD_S = 1.5  # seconds of load in each state; usage is written every second
_EMERGENCY = "a-key-for-emergencies-of-forty-characters"
NewDatabase = Callable[[], dict[str, str]]  # creates an empty database and returns its variables; none for SQLite


def rehearse_versions(findings: Findings, start: Installation, kind: str, new_database: NewDatabase) -> None:
    """Back up, upgrade and roll back to the restored backup, all under load. kind: as in the pages' block names."""
    findings.begin(f"Backup, upgrade, rollback: {kind}")
    old = start.with_settings(**new_database())
    new = driver.install_next(old, start.folder.with_name(f"{start.folder.name}-next"))
    heads = [place.run("upgrade-tables").strip() for place in (old, new)]
    findings.check("the two versions' schemas differ", heads == [driver.HEAD, driver.NEXT_HEAD], " and ".join(heads))
    admin = driver.create_admin(old)
    with ExitStack() as servers:
        first = servers.enter_context(old.server())
        caller, quiet, *leavers = driver.create_keys(first, admin, "caller", "quiet", "left before", "left since")
        answers = answers_of(first, quiet)
        driver.ask(first, "DELETE", f"/v1/admin/keys/{leavers[0]['id']}", None, admin)
        load = servers.enter_context(Load(caller["key"], first.url, attempts=2))
        time.sleep(_LOAD_S)
        before, sent = requests_by_key(old), len(load.sent)
        back_up(old, kind)
        findings.check("requests were answered during the backup", len(load.sent) > sent, len(load.sent) - sent)
        second = _start_beside(findings, new, servers, caller)
        load.urls = (first.url, second.url)
        made_since = _check_both_serve(findings, first, second, admin, quiet)
        old.with_settings(OLD_PID=first.pid).run("upgrade-stop-old")
        status = first.exit_status()
        load.urls = (second.url,)
        findings.check("the old version drained and exited", status == 0, f"exit status {status}")
        _check_old_refuses(findings, old)
        driver.ask(second, "DELETE", f"/v1/admin/keys/{leavers[1]['id']}", None, admin)
        restored = restore(old, kind, new_database)
        usage, busy = requests_by_key(restored), caller["id"]
        same = usage == {**before, busy: usage[busy]} and usage[busy] >= before[busy]
        findings.check("restored: each key's usage at the backup", same, f"{len(usage)} keys")
        third = servers.enter_context(restored.server(restored.commands.text("rollback-start")))
        _switch_back(load, second, third)
        findings.check("rolled back: identical responses", answers_of(third, quiet) == answers)
        found, expected = driver.statuses(third, caller, quiet, *leavers, made_since), [200] * 2 + [401] * 3
        findings.check("old keys are accepted, keys revoked or made since are not", found == expected, found)
    findings.check("no response was lost or wrong, there and back", load.lossless(), load)
    _check_count(findings, len(load.sent), usage[busy], (new, restored), busy)


def _check_count(findings: Findings, sent: int, backed_up: int, places: Sequence[Installation], key: str) -> None:
    """The databases of both versions counted each request once; those before the backup are in both."""
    # The old version cannot read the new schema; the new version's command line can.
    counted = sum(requests_by_key(place)[key] for place in places) - backed_up
    expected = sent + 2  # two more: by `upgrade-ready`, and after the rollback
    findings.check("usage counted each request once", counted == expected, f"{counted} of {expected}")


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
    for name in ("revoke-again", "restore-verify"):
        restored.run(name)
    return restored


def _start_beside(findings: Findings, new: Installation, servers: ExitStack, caller: Key) -> Server:
    """Check the new version's settings, start it, and send it a request."""
    new.with_settings(NEW_PORT=free_port()).run("upgrade-settings")
    server = servers.enter_context(new.server(new.commands.text("upgrade-start")))
    output = new.with_settings(NEW_PORT=server.port, KEY=caller["key"]).run("upgrade-ready")
    findings.check("the new version serves beside the old one", '"index":1' in output)
    return server


def _check_both_serve(findings: Findings, old: Server, new: Server, admin: Key, key: Key) -> Key:
    """Both versions under load, on the new version's schema; a key made now."""
    time.sleep(_LOAD_S)
    findings.check("both give identical responses", answers_of(old, key) == answers_of(new, key))
    keys = [*driver.create_keys(old, admin, "made by the old"), *driver.create_keys(new, admin, "made by the new")]
    found = driver.statuses(old, *keys) + driver.statuses(new, *keys)
    findings.check("the running old version works with the new schema", found == [200] * 4, found)
    return keys[0]


def _check_old_refuses(findings: Findings, old: Installation) -> None:
    """The old version refuses to start on the new version's schema."""
    try:
        with old.server():
            said = "it started"
    except RuntimeError as error:
        said = " ".join(str(error).split())
    refused = f"tables are of version {driver.NEXT_HEAD}" in said
    findings.check("the old version refuses to start on the new schema, and says why", refused, "" if refused else said)


def _switch_back(load: Load, new: Server, old: Server) -> None:
    """The old version on the restored backup, beside the new one, then alone."""
    load.urls = (old.url, new.url)
    time.sleep(_LOAD_S)
    new.stop()
    load.urls = (old.url,)
    time.sleep(_LOAD_S)
    load.stop()


def rehearse_incidents(findings: Findings, start: Installation) -> None:
    """Run the commands of docs/operations/incidents.md while the service serves."""
    from tests.redis_server import RedisServer

    findings.begin("Incidents")
    admin = driver.create_admin(start)
    place = start.with_settings(ADMIN_KEY=admin["key"], QRERANK_OPERATIONS__ACCESS="admin")
    caller = _look_and_take_out(findings, place, admin)
    with place.server(place.commands.text("shed-load")) as server:
        findings.check("with less read for each request it serves", driver.statuses(server, caller) == [200])
    with RedisServer() as redis:
        shared = place.with_settings(QRERANK_CACHE__REDIS_URL=redis.url)
        with shared.server() as server:
            first = driver.statuses(server, caller)
            redis.kill()
            lost = first + driver.statuses(server, caller, caller)
        findings.check("Redis dies and requests go on", lost == [200] * 3, lost)
        with shared.server(place.commands.text("without-redis")) as server:
            findings.check("it serves without Redis", driver.statuses(server, caller) == [200])
    for file in Path(place.environment["QRERANK_DATA_DIR"]).glob("auth.sqlite3*"):
        file.write_bytes(b"no database" * 1000)
    with place.with_settings(EMERGENCY_KEY=_EMERGENCY).server(place.commands.text("emergency-key")) as server:
        found = driver.statuses(server, {"key": _EMERGENCY}, caller, {"key": "nobody's"})
    expected = [200, 503, 401]
    findings.check("keys lost: the emergency key gets 200, others 503, invalid ones 401", found == expected, found)


def _look_and_take_out(findings: Findings, place: Installation, admin: Key) -> Key:
    """Collect evidence, block one caller, and replace a server by another; returns another caller's key."""
    evidence = place.folder / "evidence"
    with place.server() as here, place.server() as other:
        caller, greedy = driver.create_keys(here, admin, "a caller", "a greedy caller")
        at = place.with_settings(PORT=here.port, PID=here.pid, KEY_ID=greedy["id"], EVIDENCE=evidence)
        with Load(caller["key"], here.url, attempts=2) as load:
            findings.check("/health, /health/ready, /health/detailed answer", at.run("look").count("200 in") == 3)
            at.run("evidence")
            sizes = {file.name: file.stat().st_size for file in evidence.iterdir()}
            findings.check("evidence is kept", len(sizes) == 6 and all(sizes.values()), sizes)
            before = driver.statuses(here, greedy)
            at.run("end-caller")
            seconds = driver.seconds_until(lambda: driver.statuses(here, greedy) == [401], 2 * driver.REVOKED_WITHIN_S)
            ended = before == [200] and seconds <= driver.REVOKED_WITHIN_S
            findings.check("a caller is blocked", ended, f"after {seconds:.1f} s")
            load.urls = (here.url, other.url)
            at.run("take-out")
            status = here.exit_status()
            load.urls = (other.url,)
            time.sleep(_LOAD_S)
    findings.check("a server is taken out without a lost response", status == 0 and load.lossless(), load)
    return caller


def answers_of(server: Server, key: Key) -> list[Any]:
    """The results of three requests with documents and three searches of the collection."""
    questions = [Question(path, number) for path in (RERANK, SEARCH) for number in range(3)]
    return [driver.ask(server, "POST", each.path, each.body, key)["results"] for each in questions]


def requests_by_key(place: Installation) -> Counter[str]:
    """All requests counted per key, from `qrerank keys usage`."""
    counts = Counter[str]()
    for day in place.qrerank("keys", "usage", "--days", "3660")["data"]:
        counts[day["who"]] += day["requests"]
    return counts


def postgresql(server: Any, password: str) -> dict[str, str]:
    """Create an empty database on a `tests.postgres_server.PostgresServer`; its variables."""
    url = server.database()
    variables = {"DATABASE": url.replace(f":{password}@", "@"), "PGPASSWORD": password}
    return {"QRERANK_AUTH__DATABASE_URL": url, "PATH": f"{server.bin}{os.pathsep}{os.environ['PATH']}", **variables}


def rehearse() -> int:
    """Rehearse, printing the checks; return the exit status."""
    from tests.postgres_server import PASSWORD, PostgresServer

    findings, commands = Findings(), Commands()
    with tempfile.TemporaryDirectory(prefix="qrerank-rehearsal-") as temporary, PostgresServer() as server:
        folder = Path(temporary)
        kinds: dict[str, NewDatabase] = {"sqlite": dict, "postgresql": partial(postgresql, server, PASSWORD)}
        for kind, new_database in kinds.items():
            rehearse_versions(findings, _start(folder / kind, commands), kind, new_database)
        rehearse_incidents(findings, _start(folder / "incidents", commands))
    findings.begin("The pages")
    findings.check("all of their commands were run", not commands.unused, ", ".join(sorted(commands.unused)))
    return findings.verdict()


def _start(folder: Path, commands: Commands) -> Installation:
    """Create an installation with a collection."""
    place = driver.install(folder, commands, BACKUP=folder / "backup", RESTORED=folder / "restored")
    source = folder / "corpus.jsonl"
    source.write_text("\n".join(map(json.dumps, corpus())), encoding="utf-8")
    place.qrerank("index", "build", COLLECTION, str(source))
    return place


def main() -> None:
    """Rehearse docs/operations."""
    sys.exit(rehearse())


if __name__ == "__main__":
    typer.run(main)
