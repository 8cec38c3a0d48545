"""Rehearse a rolling update on this machine: `make rollout`, in two minutes.

Two servers with the default model are behind haproxy, keys are in a real PostgreSQL, limits and states in a real Redis.
While clients of several dialects never stop asking, each server is replaced by one of another version with another
setting: the new one starts, the balancer finds it ready, the old one gets SIGTERM. Then one is killed. Exit status 0
if no request failed in the rollout, only requests in flight failed at the kill, and keys and limits were shared.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.machine import facts
from loadtests.balancer import NoBalancer
from scripts.rehearsal.findings import Findings
from scripts.rehearsal.keys import Admin, Key
from scripts.rehearsal.place import Place
from scripts.rollout import releases
from scripts.rollout.load import Load, clients
from scripts.rollout.records import report
from scripts.rollout.rolling import AFTER, BEFORE, CHANGED, Rollout, Version
from scripts.rollout.sharing import SETTINGS, Sharing
from scripts.rollout.site import shared, sites

DEFAULT_MODEL = "all-MiniLM-L6-v2"
_BALANCER_LOOKS_S = 5  # until it has found out which of its servers are not there


def rehearse(model: str = DEFAULT_MODEL) -> int:
    """Rehearse, printing as it goes; the exit status."""
    findings = Findings()
    with tempfile.TemporaryDirectory(prefix="qrerank-rollout-") as name:
        folder = Path(name)
        with shared(folder, model) as place, sites(folder) as site:
            old, new = versions(place, folder)
            findings.begin(f"Two servers of version {old.number} with {model}, on {facts()['processor']}")
            running = {slot: site.start(old.place, slot) for slot in (0, 1)}
            time.sleep(_BALANCER_LOOKS_S)
            sharing = Sharing(findings, Admin(made(old.place, "admin", "admin")))
            sharing.before([process.port for process in running.values()])
            with Load(clients(site.url, made(old.place, "caller", "user").secret)) as load:
                rollout = Rollout(findings, site, old, new, sharing, load, running)
                roll(rollout)
                rollout.part("one killed", lambda: rollout.kill(2))
            print(f"\n{report(rollout.summaries())}")
    return findings.verdict()


def roll(rollout: Rollout) -> None:
    """Both servers replaced, under load, and what is to be said of it."""
    findings, number = rollout.findings, rollout.new.number
    findings.begin(f"Each replaced by one of version {number}, {CHANGED}={AFTER}")
    rollout.part("before")
    rollout.part("first replaced", lambda: rollout.replace(0, 2))
    rollout.part("second replaced", lambda: rollout.replace(1, 3))
    rollout.part("after", rollout.after)
    records = list(rollout.load.records)
    failed = [record for record in records if record.failures]
    moved = sum(record.moved for record in records)
    findings.check(
        "no request failed",
        not failed and all(record.answered for record in records),
        f"{len(records)} sent, {len(records) - len(failed)} answered at once, {len(failed)} failed"
        + "".join(f"; {record.kind}: {record.failures}" for record in failed[:3])
        + f"; {moved} frames met a socket that closed to restart, and were sent on a new one",
    )
    findings.begin("One killed with SIGKILL")


def versions(place: Place, folder: Path) -> tuple[Version, Version]:
    """The version of this tree, and one after it with a changed setting; both installed as pip installs them."""
    old, new = releases.NOW, releases.next_version(releases.NOW)
    settings: dict[str, str | int] = {**SETTINGS, CHANGED: BEFORE}
    return (
        Version(old, releases.install(place, folder / old, old).given(**settings), BEFORE),
        Version(new, releases.install(place, folder / new, new).given(**{**settings, CHANGED: AFTER}), AFTER),
    )


def made(place: Place, name: str, role: str) -> Key:
    """A key without limits, made by the command line in the database that all replicas share."""
    told = json.loads(place.qrerank("keys", "create", "--name", name, "--role", role, "--tier", "unlimited", "--json"))
    return Key(told["id"], told["key"])


def main() -> None:
    """Read the command line and rehearse."""
    parser = argparse.ArgumentParser(description="Rehearse a rolling update with real servers under load.")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="what the servers rank with; hash needs no weights")
    arguments = parser.parse_args()
    try:
        sys.exit(rehearse(arguments.model))
    except NoBalancer as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
