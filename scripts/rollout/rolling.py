"""The rollout itself, as Kubernetes does it with one replica more than wanted; then a replica's death."""

from __future__ import annotations

import http
import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from scripts import trial
from scripts.rehearsal.findings import Findings
from scripts.rehearsal.keys import Key
from scripts.rehearsal.place import Place, Process
from scripts.rollout.load import Load
from scripts.rollout.records import Record, Summary, summary
from scripts.rollout.sharing import Sharing
from scripts.rollout.site import Site, name_of

CHANGED = "QRERANK_LIMITS__DOCUMENTS"
BEFORE, AFTER = 1000, 200  # its values
QUIET_S = 10  # of load alone: before, after, and after the kill
_SEEN_WITHIN_S = 30


@dataclass(frozen=True)
class Version:
    """What is installed in a place, and what it is told to do."""

    number: str
    place: Place
    documents: int  # CHANGED

    def told(self) -> dict[str, object]:
        """What a server of this version says of itself."""
        return {"version": self.number, "max_client_batch_size": self.documents}


@dataclass
class Rollout:
    """A rollout under way."""

    findings: Findings
    site: Site
    old: Version
    new: Version
    sharing: Sharing
    load: Load
    running: dict[int, Process]  # by their places at the balancer
    parts: list[tuple[str, float, float]] = field(default_factory=list)  # name, begin and end

    def ports(self) -> list[int]:
        """Of the servers that run."""
        return [process.port for process in self.running.values()]

    def part(self, name: str, do: Callable[[], None] = lambda: time.sleep(QUIET_S)) -> None:
        """Do something under load; by default nothing, for a while."""
        begun = time.monotonic()
        do()
        self.parts.append((name, begun, time.monotonic()))
        print(f"  ({name}: {self.parts[-1][2] - begun:.0f} s, {len(self.load.records)} requests so far)", flush=True)

    def replace(self, leaving: int, coming: int) -> None:
        """A server of the new version in a free place, then SIGTERM for an old one."""
        old, new = self.running[leaving], self.site.start(self.new.place, coming)
        self.running[coming] = new
        seen = self.load.answered_by(name_of(coming), _SEEN_WITHIN_S)
        self.findings.check(f"{name_of(coming)} is ready, and the balancer sends it requests", seen)
        told = [info(process.port) for process in (old, new)]
        self.findings.check(
            "the versions and the setting that both tell", told == [self.old.told(), self.new.told()], told
        )
        taken = [takes(process.port, self.sharing.admin.key, AFTER + 1) for process in (old, new)]
        self.findings.check(f"the setting's effect: {AFTER + 1} documents, old and new", taken == [200, 413], taken)
        self.sharing.made(f"by {self.new.number} while {name_of(leaving)} is replaced", new.port, old.port)
        self.sharing.made(f"by {self.old.number} while {name_of(leaving)} is replaced", old.port, new.port)
        os.kill(old.pid, signal.SIGTERM)
        status = self.running.pop(leaving).ended()
        self.findings.check(f"{name_of(leaving)} drained and exited", status == 0, f"exit status {status}")

    def after(self) -> None:
        """Load on the new version alone, then what its servers know of keys and limits."""
        time.sleep(QUIET_S)
        self.sharing.after(self.ports())

    def kill(self, slot: int) -> None:
        """SIGKILL for a server that is at work, then load alone."""
        name = name_of(slot)
        process = self.running.pop(slot)
        begun = time.monotonic()
        os.kill(process.pid, signal.SIGKILL)
        process.ended()
        over = time.monotonic()  # until now it took connections: the system closes them after it took back the memory
        time.sleep(QUIET_S)
        self.load.stop()
        records = list(self.load.records)
        flying = [each for each in records if each.begun <= over and each.ended >= begun]
        failed = [each for each in records if each.failures]
        late = [each for each in failed if each.begun > over]
        self.findings.check(
            f"{name} was killed, and only requests in flight failed",
            len(failed) <= len(flying) and not late,
            f"{len(flying)} in flight at both servers as it died, in {over - begun:.2f} s; {len(failed)} failed",
        )
        lost = [each for each in failed if not each.answered]
        self.findings.check("all that failed were answered when they were sent again", not lost, reasons(failed))

    def summaries(self) -> list[Summary]:
        """Of each part."""
        return [summary(name, self.load.records, begun, ended) for name, begun, ended in self.parts]


def reasons(failed: Sequence[Record]) -> str:
    """How many failed, and how the first few did."""
    told = "; ".join(dict.fromkeys(each.failures[0][:60] for each in failed))
    return f"{sum(each.answered for each in failed)} of {len(failed)}" + (f" ({told})" if told else "")


def info(port: int) -> dict[str, object]:
    """What a server says of its version and of the setting that changes."""
    status, told = trial.ask(port, "GET", "/info")
    if status != http.HTTPStatus.OK:
        raise RuntimeError(f"GET /info: {status} {told}")
    return {name: told[name] for name in ("version", "max_client_batch_size")}


def takes(port: int, key: Key, documents: int) -> int:
    """The status of a request with so many documents."""
    body = {"query": "owl", "documents": ["an owl"] * documents, "top_n": 1}
    return trial.ask(port, "POST", "/rerank", body, key.secret)[0]
