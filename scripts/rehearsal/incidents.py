"""The levers of docs/operations/incidents.md, pulled while the service serves."""

from __future__ import annotations

import time
from pathlib import Path

from scripts.rehearsal.clients import Clients
from scripts.rehearsal.commands import Commands
from scripts.rehearsal.findings import Findings
from scripts.rehearsal.keys import Key, lend_collection, new_key, questions, statuses
from scripts.rehearsal.place import Place, install
from tests.redis_server import RedisServer

_WHILE_S = 1.0
_STOPS_WITHIN_S = 5  # a revoked key, as docs/security.md promises
_EMERGENCY = "a-key-for-emergencies-of-forty-characters"
_EVIDENCE = ("when", "metrics", "detailed", "info", "status", "threads")


def rehearse(findings: Findings, commands: Commands, folder: Path) -> None:
    """Every command of the page, and whether it does what the page says."""
    findings.begin("Incidents")
    place = install(folder / "here", folder / "data", QRERANK_OPERATIONS__ACCESS="admin")
    place = place.given(ADMIN_KEY=new_key(place, "admin", "admin").secret)
    lend_collection(place, folder.parent)
    caller, greedy = new_key(place, "a caller"), new_key(place, "a greedy caller")
    _look_and_take_out(findings, commands, place, caller, greedy)
    _shed_load(findings, commands, place, caller)
    _lose_redis(findings, commands, place, caller)
    _lose_keys(findings, commands, place, caller)


def _look_and_take_out(findings: Findings, commands: Commands, place: Place, caller: Key, greedy: Key) -> None:
    """Evidence of a server that works, one caller ended, and the server out while another takes over."""
    with place.serving() as here, place.serving() as other, Clients(questions(caller), here.port) as clients:
        at = place.given(PORT=here.port, PID=here.pid, KEY_ID=greedy.id, EVIDENCE=place.folder / "evidence")
        seen = at.run(commands, "look")
        findings.check("/health, /health/ready and /health/detailed answer", seen.count("200 in") == 3)
        at.run(commands, "evidence")
        kept = {name: (place.folder / "evidence" / name).stat().st_size for name in _EVIDENCE}
        findings.check(
            "evidence is kept", all(kept.values()), ", ".join(f"{name} {size} B" for name, size in kept.items())
        )
        before = statuses(here.port, greedy)
        at.run(commands, "end-caller")
        seconds = _seconds_until_refused(here.port, greedy)
        findings.check("a caller is ended", before == [200] and seconds <= _STOPS_WITHIN_S, f"after {seconds:.1f} s")
        clients.use(here.port, other.port)
        at.run(commands, "take-out")
        status = here.ended()
        clients.use(other.port)
        time.sleep(_WHILE_S)
        clients.stop()
    counts = clients.counts
    findings.check("a process is taken out and nobody notices", status == 0 and counts.sent == counts.answered, counts)


def _seconds_until_refused(port: int, key: Key) -> float:
    start = time.monotonic()
    while statuses(port, key) == [200] and time.monotonic() < start + 2 * _STOPS_WITHIN_S:
        time.sleep(0.1)
    return time.monotonic() - start


def _shed_load(findings: Findings, commands: Commands, place: Place, caller: Key) -> None:
    with place.serving(commands.text("shed-load")) as process:
        findings.check("with less read for each request it serves", statuses(process.port, caller) == [200])


def _lose_redis(findings: Findings, commands: Commands, place: Place, caller: Key) -> None:
    """With Redis, after its death, and without it."""
    with RedisServer() as redis:
        shared = place.given(QRERANK_CACHE__REDIS_URL=redis.url)
        with shared.serving() as process:
            first = statuses(process.port, caller)
            redis.kill()
            lost = [*first, *statuses(process.port, caller, caller)]
            findings.check("Redis dies and requests go on", lost == [200] * 3, lost)
        with shared.serving(commands.text("without-redis")) as process:
            findings.check("it serves without Redis", statuses(process.port, caller) == [200])


def _lose_keys(findings: Findings, commands: Commands, place: Place, caller: Key) -> None:
    """The database of keys is damaged: a key of the environment opens, others get 503."""
    database = Path(place.environment["QRERANK_DATA_DIR"]) / "auth.sqlite3"
    kept = database.read_bytes()
    for file in database.parent.glob(f"{database.name}*"):
        file.unlink()
    database.write_bytes(b"no database" * 1000)
    with place.given(EMERGENCY_KEY=_EMERGENCY).serving(commands.text("emergency-key")) as process:
        found = statuses(process.port, _EMERGENCY, caller, "nobody's")
        findings.check(
            "keys lost: the emergency key opens, others get 503, nobody's 401", found == [200, 503, 401], found
        )
    database.write_bytes(kept)
