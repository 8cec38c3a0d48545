"""What a check of `qrerank doctor` found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from app.settings import Settings

Status = Literal["ok", "off", "warning", "error"]  # off: not configured, so there is nothing to check


@dataclass(frozen=True)
class Finding:
    """One line of the report. It holds no secret and no text of a document."""

    check: str
    status: Status
    found: str
    remedy: str = ""  # what to do; of warnings and errors


Check = Callable[[Settings], Iterator[Finding]]


def judged(check: str, found: str, fault: str | None, remedy: str, *, status: Status = "warning") -> Finding:
    """A finding that is ok without a fault, and otherwise `status` with the fault appended."""
    return Finding(check, status, f"{found}: {fault}", remedy) if fault else Finding(check, "ok", found)
