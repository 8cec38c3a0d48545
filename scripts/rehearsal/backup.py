"""A backup under load, and a restore that knows what it knew."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from scripts.rehearsal.clients import Clients
from scripts.rehearsal.commands import Commands
from scripts.rehearsal.findings import Findings
from scripts.rehearsal.keys import (
    Admin,
    Key,
    add_past,
    answers_of,
    lend_collection,
    new_key,
    questions,
    records,
    rows_of_usage,
    statuses,
    used,
)
from scripts.rehearsal.place import Place, install
from scripts.rehearsal.stores import Store, described

_SETTLES_S = 1.5  # usage is written every second
_QUIET_REQUESTS = 7


@dataclass(frozen=True)
class Known:
    """What the service knew, to be found again."""

    busy: Key  # the clients'
    quiet: Key  # used before the backup only
    ended: Key  # revoked before the backup
    ended_since: Key  # revoked after it
    made_since: Key
    requests: tuple[int, int]  # of the busy key, as the store had them before and after its backup
    rows: int  # of usage in the past
    answers: list[bytes]  # to the quiet key


def take(commands: Commands, place: Place, kind: str) -> None:
    """Back up by the pages' commands; BACKUP says where to."""
    for name in ("backup-files", f"backup-{kind}", "backup-sums"):
        place.run(commands, name)


def put_back(commands: Commands, place: Place, store: Store) -> Place:
    """Restore into RESTORED and a new database, and revoke again; the place that serves what was restored."""
    where = store.new()
    restoring = place.given(RESTORED_DATABASE=where["DATABASE"]) if where else place
    for name in ("restore-files", f"restore-{store.kind}"):
        restoring.run(commands, name)
    restored = place.given(**where | {"QRERANK_DATA_DIR": place.environment["RESTORED"]})
    restored.run(commands, "revoke-again")
    return restored


def rehearse(findings: Findings, commands: Commands, store: Store, folder: Path) -> None:
    """Everything that docs/operations/backup.md promises, with one kind of database."""
    findings.begin(f"Backup and restore: {described(store.kind)}")
    place = install(folder / "here", folder / "data", **store.new())
    place = place.given(BACKUP=folder / "backup", RESTORED=folder / "restored")
    lend_collection(place, folder.parent)
    known = _serve_and_back_up(findings, commands, place, store.kind)
    restored = put_back(commands, place, store)
    restored.run(commands, "restore-verify")
    _compare_usage(findings, restored, known)
    with restored.serving() as process:
        _compare_keys(findings, process.port, known)


def _serve_and_back_up(findings: Findings, commands: Commands, place: Place, kind: str) -> Known:
    """A backup while clients ask; keys revoked before and after it."""
    busy, quiet, ended, ended_since = (new_key(place, name) for name in ("busy", "quiet", "ended", "ended since"))
    admin, rows = Admin(new_key(place, "admin", "admin")), add_past(place)
    with place.serving() as process:
        answers = answers_of(process.port, questions(quiet))
        statuses(process.port, *[quiet] * (_QUIET_REQUESTS - len(answers)))
        admin.revoke(process.port, ended)
        time.sleep(_SETTLES_S)
        with Clients(questions(busy), process.port) as clients:
            time.sleep(_SETTLES_S)
            before, sent, start = used(place, busy)["requests"], clients.counts.sent, time.monotonic()
            take(commands, place, kind)
            seconds, meanwhile = time.monotonic() - start, clients.counts.sent - sent
            after = used(place, busy)["requests"]
            made_since = admin.create(process.port, "made since")
            admin.revoke(process.port, ended_since)
            time.sleep(_SETTLES_S)
    counts, counted = clients.counts, used(place, busy)["requests"]
    findings.check("under load no request was lost or failed", counts.sent == counts.answered, counts)
    findings.check("some of them during the backup", meanwhile > 0, f"{meanwhile} in {seconds:.1f} s")
    findings.check("usage counted each", counted == counts.sent, f"{counted} of {counts.sent}")
    return Known(busy, quiet, ended, ended_since, made_since, (before, after), rows, answers)


def _compare_usage(findings: Findings, restored: Place, known: Known) -> None:
    with records(restored) as opened:
        keys = len(opened.keys.all())
    findings.check("restored: the keys of the backup's moment", keys == 5, f"{keys} of 5")
    rows = rows_of_usage(restored)
    findings.check("usage of the past is the same", rows == known.rows + 3, f"{rows} rows")
    quiet, (before, after) = used(restored, known.quiet), known.requests
    findings.check("that of a key at rest, too", quiet["requests"] == _QUIET_REQUESTS, quiet)
    busy = used(restored, known.busy)["requests"]
    findings.check(
        "that of a busy key is the backup's moment's", before <= busy <= after, f"{before} ≤ {busy} ≤ {after}"
    )


def _compare_keys(findings: Findings, port: int, known: Known) -> None:
    opening = statuses(port, known.busy, known.quiet)
    findings.check("keys that opened open", opening == [200, 200], opening)
    ended = statuses(port, known.ended, known.ended_since, "")
    findings.check("keys revoked before and since, and none, do not", ended == [401] * 3, ended)
    lost = statuses(port, known.made_since)
    findings.check("a key made since is lost, as the page says", lost == [401], lost)
    same = answers_of(port, questions(known.quiet))
    equal = sum(one == other for one, other in zip(known.answers, same, strict=True))
    findings.check("the same answers, byte for byte", same == known.answers, f"{equal} of {len(same)}")
