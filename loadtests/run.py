"""What happened in a run: every request, the users over time, and the server's memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

import orjson

Outcome = Literal["ok", "cut", "refused", "failed"]  # cut: right, but its deadline left documents unread


class Sample(NamedTuple):
    """One request."""

    at: float  # seconds, when it was sent
    kind: str
    ms: float
    outcome: Outcome


class Mark(NamedTuple):
    """When so many users were asked for; `back` after more than that."""

    at: float  # seconds
    users: int
    back: bool


@dataclass
class Run:
    """A run as it is written down. Times are seconds since the epoch until `since_start`."""

    shape: str
    started: float
    ended: float
    samples: list[Sample] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    users: list[tuple[float, int]] = field(default_factory=list)  # seconds, users that there were
    messages: dict[str, int] = field(default_factory=dict)  # of refusals and failures, how often
    memory: list[tuple[float, float]] = field(default_factory=list)  # seconds, MB of the server and its children

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.ended - self.started

    def between(self, start: float, end: float) -> list[Sample]:
        """What was sent from `start` on and before `end`."""
        return [sample for sample in self.samples if start <= sample.at < end]

    def since_start(self) -> Run:
        """The same run, its times counted from its start."""
        zero = self.started
        return Run(
            self.shape,
            0.0,
            self.seconds,
            [sample._replace(at=sample.at - zero) for sample in self.samples],
            [mark._replace(at=mark.at - zero) for mark in self.marks],
            [(at - zero, users) for at, users in self.users],
            self.messages,
            [(at - zero, megabytes) for at, megabytes in self.memory],
        )

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        path.write_bytes(orjson.dumps(self, default=tuple))  # orjson knows no named tuples


def read(path: Path) -> Run:
    """A run that was saved."""
    fields = orjson.loads(path.read_bytes())
    fields["samples"] = [Sample(*row) for row in fields["samples"]]
    fields["marks"] = [Mark(*row) for row in fields["marks"]]
    for name in ("users", "memory"):
        fields[name] = [(at, value) for at, value in fields[name]]
    return Run(**fields)
