"""`qrerank keys`: make keys and end them, while the service runs or before."""

from __future__ import annotations

import getpass
import logging
import os
import time
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import ValidationError
from rich.table import Column, Table

from app.api.dialects.keys import DAY_S, DEFAULT_OVERLAP_HOURS, HOUR_S, LONGEST_OVERLAP_HOURS, KeyBody, describe, moment
from app.auth import audit
from app.auth.store import Key
from app.cli.options import utf8
from app.cli.terminal import errors, note, out, print_json, print_line
from app.identity import Role, Tier
from app.settings import Settings
from app.telemetry.printable import escaped

if TYPE_CHECKING:
    from app.auth.stores import Records

keys = typer.Typer(help="Make keys, list and end them; while the service runs or before.", no_args_is_help=True)

Named = Annotated[str, typer.Argument(metavar="ID", parser=utf8, help="The key's id, or its prefix.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@keys.command()
def create(
    name: Annotated[str, typer.Option(parser=utf8, help="For whom or for what.")] = "",
    tier: Annotated[Tier, typer.Option(help="Which limits hold for it.")] = "standard",
    role: Annotated[Role, typer.Option(help="What it may do.")] = "user",
    expires_days: Annotated[float | None, typer.Option(help="Absent: it does not expire.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make a key and print it, this once."""
    try:
        wanted = KeyBody(name=name, tier=tier, role=role, expires_days=expires_days)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        option = "--" + str(first["loc"][0]).replace("_", "-")
        raise typer.BadParameter(first["msg"].removeprefix("Value error, "), param_hint=option) from None
    expires = None if expires_days is None else time.time() + expires_days * DAY_S
    key, plain = _records().keys.create(wanted.name, role, tier, expires)
    _record("key.created", key, {"role": role, "tier": tier, "expires": moment(expires)})
    _show_new(key, plain, as_json=as_json)


@keys.command("list")
def list_command(as_json: AsJson = False) -> None:
    """Every key there ever was, oldest first. The keys themselves are kept nowhere."""
    found = [describe(key) for key in _records().keys.all()]
    if as_json:
        print_json({"object": "list", "data": found})
        return
    rest = ("role", "tier", "status", "expires", "last used")
    table = Table(_whole("id", 16), _whole("prefix", 11), "name", *rest, show_edge=False)
    for key in found:
        shown = ("id", "prefix", "name", "role", "tier", "status", "expires", "last_used")
        table.add_row(*(escaped(str(key[field] or "")) for field in shown))
    out.print(table)


@keys.command()
def rotate(
    named: Named,
    overlap_hours: Annotated[
        float, typer.Option(min=0.0, max=LONGEST_OVERLAP_HOURS, help="For how long the old one still opens.")
    ] = DEFAULT_OVERLAP_HOURS,
    as_json: AsJson = False,
) -> None:
    """Replace a key by a new one with the same id, limits and usage, and print it, this once."""
    key, plain = _records().keys.rotate(named, overlap_hours * HOUR_S)
    _record("key.rotated", key, {"overlap_hours": overlap_hours})
    _show_new(key, plain, as_json=as_json)


@keys.command()
def revoke(named: Named, as_json: AsJson = False) -> None:
    """End a key for good; within seconds no replica lets it in."""
    key = _records().keys.revoke(named)
    _record("key.revoked", key)
    if as_json:
        print_json(describe(key))
    else:
        out.print(f"{key.id} ({key.prefix}) is revoked")


@keys.command()
def usage(
    named: Annotated[
        str | None, typer.Argument(metavar="ID", parser=utf8, help="A key's id. Absent: everybody.")
    ] = None,
    days: Annotated[int, typer.Option(min=1, max=3660, help="How many days, today among them.")] = 30,
    as_json: AsJson = False,
) -> None:
    """What keys were used for, per day in UTC."""
    found = _records().usage.read(days, named)
    if as_json:
        print_json({"object": "list", "data": [vars(day) for day in found]})
        return
    table = Table("day", "who", "requests", "documents", "tokens", "rejected", show_edge=False)
    for day in found:
        table.add_row(
            day.day, escaped(day.who), f"{day.requests:,}", f"{day.documents:,}", f"{day.tokens:,}", f"{day.rejected:,}"
        )
    out.print(table)


def _records() -> Records:
    from app.auth.stores import open_records  # not before: SQLAlchemy takes memory that serving may not need

    settings = Settings()
    logging.getLogger("app.auth").setLevel(logging.ERROR)  # what is wrong ends the command, with a message
    audit.open_log(settings.auth.audit_file)
    return open_records(settings.auth, settings.data_dir)


def _record(event: str, key: Key, about: dict[str, object] | None = None) -> None:
    audit.record(
        event,
        by=f"cli:{_user()}",
        origin="command line",
        result="done",
        prefix=key.prefix,
        about={"id": key.id} | (about or {}),
    )


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # containers run as users without a name
        return str(os.getuid())


def _whole(name: str, width: int) -> Column:
    """A column whose cells are copied, and so never cut."""
    return Column(name, no_wrap=True, min_width=width)


def _show_new(key: Key, plain: str, *, as_json: bool) -> None:
    if as_json:
        print_json(describe(key) | {"key": plain})
        return
    print_line(plain)
    errors.print(
        f"{key.id}: role {key.role}, tier {key.tier}, expires {moment(key.expires) or 'never'}. "
        "The key is not shown again.",
        soft_wrap=True,
    )
    if not Settings().auth.enabled:
        note("Nobody asks for it yet: set QRERANK_AUTH__ENABLED=true for the service.")
