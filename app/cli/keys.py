"""`qrerank keys`: create, list, rotate and revoke keys, also while the service runs."""

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
from app.cli.errors import check_data_dir
from app.cli.options import AsJson, utf8
from app.cli.terminal import errors, note, out, print_json, print_line
from app.identity import Role, Tier
from app.settings import Settings
from app.telemetry.printable import escaped

if TYPE_CHECKING:
    from app.auth.stores import Records

keys = typer.Typer(
    help="Create, list, rotate and revoke keys. A service that runs takes notice within seconds.", no_args_is_help=True
)

KeyId = Annotated[str, typer.Argument(metavar="ID", parser=utf8, help="The key's id, or its prefix.")]


@keys.command()
def create(
    name: Annotated[str, typer.Option(parser=utf8, help="Its owner or purpose.")] = "",
    tier: Annotated[
        Tier,
        typer.Option(
            help="Its tier, which sets the quotas. If they are not set otherwise, public is 5 hybrid searches of a "
            "collection an hour, standard 50, premium 250; unlimited has no quotas."
        ),
    ] = "standard",
    role: Annotated[
        Role,
        typer.Option(
            help="What it may do. user: rank, search and write; read-only: look at collections, models and its usage, "
            "and rank and search nothing; admin: also keys and the usage of all."
        ),
    ] = "user",
    expires_days: Annotated[
        float | None, typer.Option(help="Days until it expires. Absent: it does not expire.")
    ] = None,
    collections: Annotated[
        list[str] | None,
        typer.Option(parser=utf8, help="The only collections that it sees: a name, or 'team-a-*'. May be repeated."),
    ] = None,
    read_only: Annotated[bool, typer.Option("--read-only", help="It searches collections and changes none.")] = False,
    as_json: AsJson = False,
) -> None:
    """Create a key and print it. It is not shown again."""
    try:
        body = KeyBody(
            name=name,
            tier=tier,
            role=role,
            expires_days=expires_days,
            collections=collections or None,
            read_only=read_only,
        )
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        option = "--" + str(first["loc"][0]).replace("_", "-")
        raise typer.BadParameter(first["msg"].removeprefix("Value error, "), param_hint=option) from None
    expires = None if expires_days is None else time.time() + expires_days * DAY_S
    key, plain = records(make=True).keys.create(
        body.name, role, tier, expires, body.collections, can_write=not read_only
    )
    details = body.model_dump(include={"role", "tier", "collections", "read_only"}) | {"expires": moment(expires)}
    _record("key.created", key, details)
    _show_new(key, plain, as_json=as_json)


@keys.command("list")
def list_command(as_json: AsJson = False) -> None:
    """List all keys, the oldest first. Revoked and expired ones are among them. Keys in plain text are not stored."""
    descriptions = [describe(key) for key in records().keys.all()]
    if as_json:
        print_json({"object": "list", "data": descriptions})
        return
    rest = ("role", "tier", "collections", "read only", "status", "expires", "last used")
    table = Table(_unwrapped("id", 16), _unwrapped("prefix", 11), "name", *rest, show_edge=False)
    for description in descriptions:
        seen = description["collections"]
        shown = description | {
            "collections": "all" if seen is None else ", ".join(seen) or "none",
            "read_only": "yes" if description["read_only"] else "no",
        }
        fields = ("id", "prefix", "name", "role", "tier", "collections", "read_only", "status", "expires", "last_used")
        table.add_row(*(escaped(str(shown[field] or "")) for field in fields))
    out.print(table)


@keys.command()
def rotate(
    key_id: KeyId,
    overlap_hours: Annotated[
        float, typer.Option(min=0.0, max=LONGEST_OVERLAP_HOURS, help="Hours for which the old key stays valid.")
    ] = DEFAULT_OVERLAP_HOURS,
    as_json: AsJson = False,
) -> None:
    """Replace a key by a new one, and print it. Id, limits and usage stay. It is not shown again."""
    key, plain = records().keys.rotate(key_id, overlap_hours * HOUR_S)
    _record("key.rotated", key, {"overlap_hours": overlap_hours})
    _show_new(key, plain, as_json=as_json)


@keys.command()
def revoke(key_id: KeyId, as_json: AsJson = False) -> None:
    """Revoke a key for good. Within seconds all replicas reject it."""
    key = records().keys.revoke(key_id)
    _record("key.revoked", key)
    if as_json:
        print_json(describe(key))
    else:
        out.print(f"{key.id} ({key.prefix}) is revoked")


@keys.command()
def usage(
    key_id: Annotated[
        str | None,
        typer.Argument(
            metavar="ID", parser=utf8, help="A key's id or prefix, or a name such as 'token:ada'. Absent: all callers."
        ),
    ] = None,
    days: Annotated[int, typer.Option(min=1, max=3660, help="Number of days, including today.")] = 30,
    as_json: AsJson = False,
) -> None:
    """Show the usage of keys per day in UTC."""
    stores = records()
    if key_id and not key_id.startswith(("token:", "env:")):  # else who never was would have used nothing
        key_id = stores.keys.get(key_id).id
    usage_by_day = stores.usage.read(days, key_id)
    if as_json:
        print_json({"object": "list", "data": [vars(day) for day in usage_by_day]})
        return
    table = Table("day", "who", "requests", "documents", "tokens", "rejected", show_edge=False)
    for day in usage_by_day:
        table.add_row(
            day.day, escaped(day.who), f"{day.requests:,}", f"{day.documents:,}", f"{day.tokens:,}", f"{day.rejected:,}"
        )
    out.print(table)


def records(*, make: bool = False) -> Records:
    """The stores of keys, usage and feedback, as the settings name them. make: the data folder, if it is missing."""
    from app.auth.stores import open_records  # imported late: SQLAlchemy takes memory that serving may not need

    settings = Settings()
    if not (make or (settings.auth.database_url and settings.auth.pepper)):
        check_data_dir(settings)
    logging.getLogger("app.auth").setLevel(logging.ERROR)  # a failure ends the command with a message anyway
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
    except (KeyError, OSError):  # a user in a container may have no name
        return str(os.getuid())


def _unwrapped(name: str, width: int) -> Column:
    """A column whose cells are never wrapped or truncated, so that users can copy them."""
    return Column(name, no_wrap=True, min_width=width)


def _show_new(key: Key, plain: str, *, as_json: bool) -> None:
    if as_json:
        print_json(describe(key) | {"key": plain})
        return
    print_line(plain)
    errors.print(
        f"{key.id}: role {key.role}, tier {key.tier}, {_limits(key)}expires {moment(key.expires) or 'never'}. "
        "The key is not shown again.",
        soft_wrap=True,
    )
    if not Settings().auth.enabled:
        note("Authentication is off: set QRERANK_AUTH__ENABLED=true for the service, which ignores keys until then.")


def _limits(key: Key) -> str:
    seen = "" if key.collections is None else f"sees {', '.join(key.collections) or 'no collection'}, "
    return seen + ("" if key.can_write else "reads only, ")
