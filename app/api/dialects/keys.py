"""Keys and usage as administrators send and see them."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from app.api.dialects.body import Number
from app.auth.store import Day, Key
from app.identity import Role, Tier
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


class KeyBody(BaseModel):
    """A key that is to be."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",  # a misspelt end would be no end
        json_schema_extra={
            "examples": [{"name": "search team", "tier": "standard", "role": "user", "expires_days": 90}]
        },
    )

    name: Name = Field("", description="For whom or for what.")
    tier: Tier = "standard"
    role: Role = "user"
    expires_days: Annotated[
        float | None,
        Field(gt=0, le=LONGEST_DAYS, allow_inf_nan=False, description="Absent: it does not expire."),
        Number,
    ] = None


class RotationBody(BaseModel):
    """How a key is to be replaced."""

    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_extra={"examples": [{"overlap_hours": 24}]})

    overlap_hours: Annotated[float, Number] = Field(
        DEFAULT_OVERLAP_HOURS,
        ge=0,
        le=LONGEST_OVERLAP_HOURS,
        allow_inf_nan=False,
        description="For how long the old one still opens.",
    )


class OldSecret(BaseModel):
    """A replaced key that still opens."""

    prefix: str
    expires: str


class KeyResponse(BaseModel):
    """What is known of a key. The key itself is not."""

    object: Literal["key"]
    id: str
    name: str
    prefix: str = Field(description="How the key begins.")
    role: Role
    tier: Tier
    status: Literal["active", "expired", "revoked"]
    created: str
    expires: str | None
    revoked: str | None
    last_used: str | None
    replaced: list[OldSecret] = Field(description="Those before it that still open.")


class NewKeyResponse(KeyResponse):
    """A new key. It is shown this once."""

    key: str


class KeyListResponse(BaseModel):
    """Every key there ever was, oldest first."""

    object: Literal["list"]
    data: list[KeyResponse]


class UsageDay(BaseModel):
    """What was used on one day, in UTC."""

    day: str
    requests: int = Field(description="Requests and WebSocket requests, those that were refused among them.")
    documents: int = Field(description="Texts that were scored or embedded.")
    tokens: int
    rejected: int = Field(description="Requests that were refused: by role, limit or overload.")


class UsageResponse(BaseModel):
    """What the caller used, newest day first, up to the last second or two."""

    object: Literal["usage"]
    name: str
    kept: bool = Field(description="Whether usage is kept: not where requests need no key.")
    data: list[UsageDay]


def describe(key: Key) -> dict[str, Any]:
    """A key as `KeyResponse`."""
    now = time.time()
    ended = key.expires is not None and key.expires <= now
    return {
        "object": "key",
        "id": key.id,
        "name": key.name,
        "prefix": key.prefix,
        "role": key.role,
        "tier": key.tier,
        "status": "revoked" if key.revoked is not None else "expired" if ended else "active",
        "created": moment(key.created),
        "expires": moment(key.expires),
        "revoked": moment(key.revoked),
        "last_used": moment(key.last_used),
        "replaced": [
            {"prefix": old.prefix, "expires": moment(old.expires)}
            for old in key.secrets[1:]
            if old.expires is not None and old.expires > now
        ],
    }


def moment(seconds: float | None) -> str | None:
    """A time as ISO 8601 in UTC, to the second."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def respond_usage(name: str, days: Iterable[Day], *, kept: bool) -> dict[str, Any]:
    """What a caller used, as `UsageResponse`."""
    data = [{field: value for field, value in asdict(day).items() if field != "who"} for day in days]
    return {"object": "usage", "name": name, "kept": kept, "data": data}
