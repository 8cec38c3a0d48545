"""Requests and responses of key management and usage."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationInfo, field_validator

from app.api.dialects.body import Number, StrictBody
from app.auth.store import Day, Key
from app.identity import COLLECTION_PATTERN, MAX_COLLECTIONS, Role, Tier, is_collection_pattern
from app.telemetry.printable import CONTROLS, escaped

HOUR_S = 3600
DAY_S = 24 * HOUR_S
LONGEST_DAYS = 36_500
LONGEST_OVERLAP_HOURS = 8760
DEFAULT_OVERLAP_HOURS = 24

_PRINTABLE = rf"^[^{CONTROLS}]*$"


def _check_name(name: str) -> str:
    if escaped(name) != name:
        raise ValueError("a name is one line, without control characters and those that turn the direction of text")
    return name


Name = Annotated[
    str,
    StringConstraints(strip_whitespace=True, max_length=128),
    AfterValidator(_check_name),
    Field(json_schema_extra={"pattern": _PRINTABLE}),
]


def _check_pattern(pattern: str) -> str:
    if not is_collection_pattern(pattern):
        raise ValueError("must be a collection's name, or the beginning of names and `*`, such as team-a-*")
    return pattern


Pattern = Annotated[str, AfterValidator(_check_pattern), Field(json_schema_extra={"pattern": COLLECTION_PATTERN})]


class KeyBody(StrictBody):
    """A key to create."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"name": "search team", "tier": "standard", "role": "user", "expires_days": 90},
                {"name": "team a", "collections": ["team-a-*"], "read_only": True},
            ]
        },
    )

    name: Name = Field("", description="The key's owner or purpose.")
    tier: Tier = "standard"
    role: Role = "user"
    expires_days: Annotated[
        float | None,
        Field(gt=0, le=LONGEST_DAYS, allow_inf_nan=False, description="Absent: it does not expire."),
        Number,
    ] = None
    collections: list[Pattern] | None = Field(
        None,
        max_length=MAX_COLLECTIONS,
        description="The only collections that it sees: names, and beginnings with `*`. Absent: all.",
    )
    read_only: bool = Field(False, description="Whether it may search collections, and not change them.")

    @field_validator("collections", "read_only")
    @classmethod
    def _refuse_limited_admin(cls, limit: list[str] | bool | None, info: ValidationInfo) -> list[str] | bool | None:
        if limit not in (None, False) and info.data.get("role") == "admin":
            raise ValueError("a key with the role admin cannot be limited: it could make one without limits")
        return limit


class RotationBody(StrictBody):
    """Options of a key's rotation."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"overlap_hours": 24}]})

    overlap_hours: Annotated[float, Number] = Field(
        DEFAULT_OVERLAP_HOURS,
        ge=0,
        le=LONGEST_OVERLAP_HOURS,
        allow_inf_nan=False,
        description="Hours for which the old key stays valid.",
    )


class OldSecret(BaseModel):
    """A replaced key that is still valid."""

    prefix: str
    expires: str


class KeyResponse(BaseModel):
    """A key's properties, without the key itself."""

    object: Literal["key"]
    id: str
    name: str
    prefix: str = Field(description="The first characters of the key.")
    role: Role
    tier: Tier
    collections: list[str] | None = Field(description="The only collections that it sees. null: all.")
    read_only: bool
    status: Literal["active", "expired", "revoked"]
    created: str
    expires: str | None
    revoked: str | None
    last_used: str | None
    replaced: list[OldSecret] = Field(description="Its previous keys that are still valid.")


class NewKeyResponse(KeyResponse):
    """A new key. It is shown only once."""

    key: str


class KeyListResponse(BaseModel):
    """All keys, expired and revoked ones included, oldest first."""

    object: Literal["list"]
    data: list[KeyResponse]


class UsageDay(BaseModel):
    """Usage on one day, in UTC."""

    day: str
    requests: int = Field(description="HTTP and WebSocket requests, including rejected ones.")
    documents: int = Field(description="Number of texts that were scored or embedded.")
    tokens: int
    rejected: int = Field(description="Requests that were rejected: by role, limit or overload.")


class UsageResponse(BaseModel):
    """The caller's usage, newest day first, up to the last second or two."""

    object: Literal["usage"]
    name: str
    kept: bool = Field(description="Whether usage is recorded; false if authentication is disabled.")
    data: list[UsageDay]


class CallerDay(UsageDay):
    """Usage of one caller on one day, in UTC."""

    caller: str = Field(description="The key's id; of other callers their name.")


class AllUsageResponse(BaseModel):
    """The usage of all callers, newest day first, up to the last second or two."""

    object: Literal["list"]
    data: list[CallerDay]


def describe(key: Key) -> dict[str, Any]:
    """A key as `KeyResponse`."""
    now = time.time()
    has_expired = key.expires is not None and key.expires <= now
    status = "revoked" if key.revoked is not None else "expired" if has_expired else "active"
    ends = {old.prefix: min(old.expires, key.expires or math.inf) for old in key.secrets[1:] if old.expires is not None}
    return {
        "object": "key",
        "id": key.id,
        "name": key.name,
        "prefix": key.prefix,
        "role": key.role,
        "tier": key.tier,
        "collections": None if key.collections is None else list(key.collections),
        "read_only": not key.can_write,
        "status": status,
        "created": moment(key.created),
        "expires": moment(key.expires),
        "revoked": moment(key.revoked),
        "last_used": moment(key.last_used),
        "replaced": [
            {"prefix": prefix, "expires": moment(end)}
            for prefix, end in ends.items()
            if end > now and status == "active"
        ],
    }


def moment(seconds: float | None) -> str | None:
    """A time as ISO 8601 in UTC, to the second."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def respond_usage(name: str, days: Iterable[Day], *, kept: bool) -> dict[str, Any]:
    """A caller's usage as `UsageResponse`."""
    data = [{field: value for field, value in asdict(day).items() if field != "who"} for day in days]
    return {"object": "usage", "name": name, "kept": kept, "data": data}


def respond_all_usage(days: Iterable[Day]) -> dict[str, Any]:
    """All callers' usage as `AllUsageResponse`."""
    fields = ({"caller" if field == "who" else field: value for field, value in asdict(day).items()} for day in days)
    return {"object": "list", "data": list(fields)}
