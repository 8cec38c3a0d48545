"""One version replaced by the next, and back, while clients never stop asking."""

from __future__ import annotations

import json
import subprocess
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from scripts.rehearsal.backup import put_back, take
from scripts.rehearsal.clients import Clients
from scripts.rehearsal.commands import Commands
from scripts.rehearsal.findings import Findings
from scripts.rehearsal.keys import Admin, Key, answers_of, lend_collection, new_key, questions, statuses, used
from scripts.rehearsal.place import Place, Process, install
from scripts.rehearsal.stores import Store, described
from scripts.rehearsal.versions import NEXT, NOW, install_next

_WHILE_S = 1.5  # of load on each state of affairs
_ASKED_BESIDES = 2  # with the clients' key: once by the page's command, once in the end


@dataclass(frozen=True)
class Rollout:
    """Two versions of the service on the same data, keys, and who asks all the while."""

    findings: Findings
    commands: Commands
    store: Store
    old: Place
    new: Place
    key: Key  # the clients'
    ended: Key  # revoked after the backup
    admin: Admin
    clients: Clients
    servers: ExitStack  # those that were started

    def there(self, first: Process) -> Process:
        """The new version beside the old one, then alone; its process."""
        told = answers_of(first.port, questions(self.ended))
        take(self.commands, self.old, self.store.kind)
        second = self._start_new()
        self.clients.use(first.port, second.port)
        time.sleep(_WHILE_S)
        same = [answers_of(process.port, questions(self.ended)) == told for process in (first, second)]
        self.findings.check("both give the same answers, byte for byte", all(same), f"{len(told)} questions")
        since = self.admin.create(second.port, "made since")
        both = statuses(first.port, since) + statuses(second.port, since)
        self.findings.check("the old version, running, goes on with the new tables", both == [200, 200], both)
        self.old.given(OLD_PID=first.pid).run(self.commands, "upgrade-stop-old")
        status = first.ended()
        self.clients.use(second.port)
        self.findings.check("the old version drained and exited", status == 0, f"exit status {status}")
        time.sleep(_WHILE_S)
        return second

    def _start_new(self) -> Process:
        self.new.run(self.commands, "upgrade-settings")
        second = self.servers.enter_context(self.new.process(self.commands.text("upgrade-start"), "NEW_PORT"))
        asked = self.new.given(NEW_PORT=second.port, KEY=self.key.secret)
        answer = asked.run(self.commands, "upgrade-ready")
        self.findings.check("the new version serves beside the old one", '"index":1' in answer)
        return second

    def back(self, second: Process) -> None:
        """The old version on the restored backup, beside the new one, then alone."""
        self._start_old_in_vain()
        self.admin.revoke(second.port, self.ended)
        restored = put_back(self.commands, self.old, self.store)
        twice = used(restored, self.key)["requests"]
        with restored.process(self.commands.text("rollback-start"), "OLD_PORT") as third:
            third.wait_until_ready()
            self.clients.use(third.port, second.port)
            time.sleep(_WHILE_S)
            second.stop()
            self.clients.use(third.port)
            time.sleep(_WHILE_S)
            self.clients.stop()
            found = statuses(third.port, self.key, self.ended)
            self.findings.check(
                "on the backup old keys open, and those revoked since do not", found == [200, 401], found
            )
        counts = self.clients.counts
        self.findings.check("no request failed, there and back", counts.sent == counts.answered, counts)
        # This version cannot read the new tables, the new one's command line can.
        days = json.loads(self.new.qrerank("keys", "usage", self.key.id, "--json"))["data"]
        counted = sum(day["requests"] for day in days) + used(restored, self.key)["requests"] - twice
        wanted = counts.answered + _ASKED_BESIDES
        self.findings.check("the two databases counted each request once", counted == wanted, f"{counted} of {wanted}")

    def _start_old_in_vain(self) -> None:
        with self.old.process() as again:
            try:
                status = again.ended()
            except subprocess.TimeoutExpired:
                status = 0
            said = f"tables are of version {NEXT}" in " ".join(again.told().split())
        self.findings.check("the old version does not start on the new tables, and says why", status != 0 and said)


def rehearse(findings: Findings, commands: Commands, store: Store, folder: Path) -> None:
    """Everything that docs/operations/upgrade.md promises, with one kind of database."""
    findings.begin(f"Upgrade and rollback: {described(store.kind).partition(',')[0]}")
    old = install(folder / "old", folder / "data", **store.new())
    old = old.given(BACKUP=folder / "backup", RESTORED=folder / "restored")
    lend_collection(old, folder.parent)
    key, ended, admin = new_key(old, "caller"), new_key(old, "former caller"), Admin(new_key(old, "admin", "admin"))
    new = install_next(old, folder / "new")
    tables = [place.run(commands, "upgrade-tables").strip() for place in (old, new)]
    findings.check("the two versions' tables differ", tables == [NOW, NEXT], " and ".join(tables))
    with ExitStack() as servers, old.serving() as first, Clients(questions(key), first.port) as clients:
        rollout = Rollout(findings, commands, store, old, new, key, ended, admin, clients, servers)
        rollout.back(rollout.there(first))
