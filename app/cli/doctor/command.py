"""The command `qrerank doctor`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Annotated

import typer
from pydantic import ValidationError
from pydantic_settings import SettingsError
from rich.table import Column, Table

from app import version
from app.cli.doctor import machine, services, storage
from app.cli.doctor.finding import Check, Finding, Status
from app.cli.errors import EXPECTED, sentences
from app.cli.options import AsJson
from app.cli.progress import bar
from app.cli.terminal import out, print_json
from app.settings import Settings
from app.telemetry.printable import escaped

_WORST_FIRST: tuple[Status, ...] = ("error", "warning", "ok")
_STYLES: dict[Status, str] = {"ok": "green", "off": "dim", "warning": "yellow", "error": "red"}
_MACHINE: Sequence[Check] = (machine.processor, machine.cores, machine.memory, machine.open_files, machine.clock)
_FILES: Sequence[Check] = (
    machine.sqlite,
    storage.folders,
    storage.authentication,
    storage.models,
    storage.cross_encoder,
    storage.collections,
)
_SERVERS: Sequence[Check] = (services.keys, services.redis, services.milvus, services.addresses)


def doctor(
    host: Annotated[str, typer.Option(help="The address that `serve` shall listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Its port.")] = 8000,
    as_json: AsJson = False,
) -> None:
    """Say what is wrong here, and how to mend it.

    Machine, settings, model, collections and servers are checked. It changes nothing, and may run beside the service.
    The exit status is 1 if there is an error; warnings give 0.
    """
    try:
        settings = Settings()
    except (ValidationError, SettingsError) as error:
        found = [
            Finding("settings", "error", line, "docs/configuration.md lists all") for line in sentences(error) or ()
        ]
    else:
        found = [Finding("settings", "ok", "all are known and within bounds"), *_findings(settings, host, port)]
    counts = Counter(finding.status for finding in found)
    worst = next(status for status in _WORST_FIRST if counts[status])
    if as_json:
        checks = [vars(finding) for finding in found]
        print_json({"version": version(), "status": worst, "checks": checks})
    else:
        out.print(_table(found))
        out.print(f"{counts['error']} errors, {counts['warning']} warnings")
    if worst == "error":
        raise typer.Exit(1)


def _findings(settings: Settings, host: str, port: int) -> list[Finding]:
    checks = [*_MACHINE, *_FILES, *_SERVERS, services.listening(host, port)]
    found: list[Finding] = []
    with bar("checking") as report:
        for done, check in enumerate(checks, start=1):
            try:
                found += check(settings)
            except (*EXPECTED, OSError) as error:  # the other checks still say what they find
                found.append(Finding("check", "error", str(error), "mend this first, and run it again"))
            report("checking", done, len(checks))
    return found


def _table(found: Sequence[Finding]) -> Table:
    table = Table("", Column("check", no_wrap=True), Column("found", overflow="fold"), "what to do", show_edge=False)
    for finding in found:
        table.add_row(
            finding.status,
            finding.check,
            escaped(finding.found),
            escaped(finding.remedy),
            style=_STYLES[finding.status],
        )
    return table
