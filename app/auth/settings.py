"""The settings of who is let in: `QRERANK_AUTH__…`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from app.identity import Role, Tier

Algorithm = Literal["RS256", "ES256", "HS256"]


class _Group(BaseModel):
    # What is wrong with a secret is said without it.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class TokenSettings(_Group):
    """JSON Web Tokens, taken beside keys where there is something to check them with."""

    secret: Annotated[SecretStr, Field(min_length=32)] | None = Field(None, description="Shared, for HS256.")
    jwks_file: Path | None = Field(None, description="The issuer's public keys, for RS256 and ES256.")
    jwks_url: str | None = Field(None, description="The same by https; plain http from this machine only.")
    algorithms: tuple[Algorithm, ...] = Field(("RS256", "ES256", "HS256"), min_length=1, description="A JSON list.")
    issuer: str | None = Field(None, min_length=1, description="That tokens must name (`iss`). Absent: any.")
    audience: str | None = Field(None, min_length=1, description="That tokens must name (`aud`). Absent: must not.")
    leeway_s: int = Field(10, ge=0, le=300, description="By how much the issuer's clock may be off.")
    refresh_s: int = Field(300, ge=10, le=86_400, description="How old the issuer's keys may be.")
    role_claim: str = Field("role", min_length=1)
    tier_claim: str = Field("tier", min_length=1)
    role: Role = Field("user", description="Of tokens that name none.")
    tier: Tier = Field("standard", description="Of tokens that name none.")

    @property
    def taken(self) -> bool:
        """Whether there is something to check tokens with."""
        return bool(self.secret or self.jwks_file or self.jwks_url)

    @model_validator(mode="after")
    def _check_sources(self) -> Self:
        if self.jwks_file and self.jwks_url:
            raise ValueError("set either jwks_file or jwks_url, not both")
        if self.jwks_url:
            url = urlsplit(self.jwks_url)
            if "@" in url.netloc:
                raise ValueError("jwks_url must hold no user and password: they would not be sent")
            if url.scheme != "https" and not (
                url.scheme == "http" and url.hostname in {"127.0.0.1", "::1", "localhost"}
            ):
                raise ValueError("jwks_url must begin with https://: whoever answers it decides who is let in")
        if self.secret and "-----BEGIN" in self.secret.get_secret_value():
            raise ValueError("secret is a key in PEM, which HS256 must not be used with; give public keys as jwks_file")
        return self


class AuthSettings(_Group):
    """Who may use the service."""

    enabled: bool = Field(False, description="Whether requests need a key or a token.")
    force_open: bool = Field(False, description="Serve on a public address although requests need neither.")
    keys: tuple[Annotated[SecretStr, Field(min_length=16, max_length=1024)], ...] = Field(
        (), description='Keys besides those of `qrerank keys`, a JSON list: ["…"]. Make them long and random.'
    )
    pepper: Annotated[SecretStr, Field(min_length=32)] | None = Field(
        None, description="What keys are hashed with, the same on all replicas. Absent: a file in the data folder."
    )
    database_url: SecretStr | None = Field(
        None, description="postgresql://USER:PASSWORD@HOST/NAME. Absent: SQLite in the data folder."
    )
    audit_file: Path | None = Field(None, description="Where key and admin events are told. Absent: standard error.")
    jwt: TokenSettings = TokenSettings()

    @field_validator("database_url")
    @classmethod
    def _check_database(cls, url: SecretStr | None) -> SecretStr | None:
        if url and not url.get_secret_value().startswith(("postgresql://", "postgres://", "postgresql+psycopg://")):
            raise ValueError("must begin with postgresql://; leave it out for SQLite in the data folder")
        return url

    @model_validator(mode="after")
    def _refuse_to_pretend(self) -> Self:
        if self.keys and not self.enabled:
            raise ValueError("there are keys, but nobody asks for them; set QRERANK_AUTH__ENABLED=true")
        if self.jwt.taken and not self.enabled:
            raise ValueError("tokens would be checked, but nobody asks for them; set QRERANK_AUTH__ENABLED=true")
        return self
