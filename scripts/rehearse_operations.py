"""Rehearse what docs/operations says: `make rehearse`. Backup and restore, upgrade and rollback, levers of incidents.

The very commands of the pages are run on real servers with the weight-free model, with keys in SQLite and, where the
wheel is installed, in PostgreSQL, while clients never stop asking. Exit status 0 if everything held.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from scripts.rehearsal import backup, incidents, upgrade
from scripts.rehearsal.commands import REHEARSED, Commands
from scripts.rehearsal.findings import Findings
from scripts.rehearsal.stores import POSTGRESQL, SQLITE, stores


def rehearse(chapters: Sequence[str] = REHEARSED, kinds: Sequence[str] = (SQLITE, POSTGRESQL)) -> int:
    """Rehearse these pages with these databases, printing as it goes; the exit status."""
    findings, commands = Findings(), Commands()
    with tempfile.TemporaryDirectory(prefix="qrerank-rehearsal-") as name, stores(kinds) as found:
        folder = Path(name)
        for store in found:
            if "backup" in chapters:
                backup.rehearse(findings, commands, store, folder / f"backup-{store.kind}")
            if "upgrade" in chapters:
                upgrade.rehearse(findings, commands, store, folder / f"upgrade-{store.kind}")
        if "incidents" in chapters:
            incidents.rehearse(findings, commands, folder / "incidents")
        if set(chapters) == set(REHEARSED):
            _look_for_others(findings, commands, [store.kind for store in found])
    return findings.verdict()


def _look_for_others(findings: Findings, commands: Commands, kinds: Sequence[str]) -> None:
    """Whether the pages have commands that nobody ran, but for databases that are not there."""
    findings.begin("The pages")
    absent = [kind for kind in (SQLITE, POSTGRESQL) if kind not in kinds]
    left = {name for name in commands.left if not name.endswith(tuple(absent))}
    findings.check("each of their commands was run", not left, ", ".join(sorted(left)) or f"{len(commands)} of them")
    for kind in absent:
        print(f"  not rehearsed: {kind}")


def main() -> None:
    """Read the command line and rehearse."""
    parser = argparse.ArgumentParser(description="Rehearse what docs/operations says, with real servers under load.")
    parser.add_argument("--pages", nargs="+", choices=REHEARSED, default=REHEARSED)
    parser.add_argument("--databases", nargs="+", choices=(SQLITE, POSTGRESQL), default=(SQLITE, POSTGRESQL))
    arguments = parser.parse_args()
    sys.exit(rehearse(arguments.pages, arguments.databases))


if __name__ == "__main__":
    main()
