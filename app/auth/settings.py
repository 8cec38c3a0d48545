"""The settings of authentication: `QRERANK_AUTH__…`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from app.identity import Role, Tier

Algorithm = Literal["RS256", "ES256", "HS256"]


class _Group(BaseModel):
    # Error messages must not contain secrets.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class TokenSettings(_Group):
    """JSON Web Tokens, accepted in addition to keys when a secret or a JWKS is set."""

    secret: Annotated[SecretStr, Field(min_length=32)] | None = Field(None, description="Shared secret for HS256.")
    jwks_file: Path | None = Field(None, description="JWKS file with the issuer's public keys, for RS256 and ES256.")
    jwks_url: str | None = Field(None, description="https URL of the JWKS. Plain http is allowed on this machine only.")
    algorithms: tuple[Algorithm, ...] = Field(
        ("RS256", "ES256", "HS256"), min_length=1, description="Signature algorithms that are accepted, a JSON list."
    )
    issuer: str | None = Field(
        None, min_length=1, description="Value that tokens must have in `iss`. Absent: any issuer is accepted."
    )
    audience: str | None = Field(
        None, min_length=1, description="Value that tokens must have in `aud`. Absent: tokens must not have `aud`."
    )
    leeway_s: int = Field(10, ge=0, le=300, description="Allowed difference between the issuer's clock and ours.")
    refresh_s: int = Field(
        300, ge=10, le=86_400, description="Age at which the public keys of the issuer are read again."
    )
    role_claim: str = Field("role", min_length=1, description="Name of the claim that holds the caller's role.")
    tier_claim: str = Field("tier", min_length=1, description="Name of the claim that holds the caller's tier.")
    collections_claim: str = Field(
        "collections",
        min_length=1,
        description="Name of the claim that limits the caller to collections. Tokens without it see all.",
    )
    read_only_claim: str = Field(
        "read_only",
        min_length=1,
        description="Name of the claim that is true if the caller may not change collections.",
    )
    role: Role = Field("user", description="Role of tokens without the role claim.")
    tier: Tier = Field("standard", description="Tier of tokens without the tier claim.")

    @property
    def taken(self) -> bool:
        """Whether tokens are accepted: whether a secret or a JWKS is set."""
        return bool(self.secret or self.jwks_file or self.jwks_url)

    @model_validator(mode="after")
    def _check_sources(self) -> Self:
        if self.jwks_file and self.jwks_url:
            raise ValueError("set either jwks_file or jwks_url, not both")
        if self.jwks_url:
            url = urlsplit(self.jwks_url)
            if "@" in url.netloc:
                raise ValueError("jwks_url must contain no user and password: they would not be sent")
            if url.scheme != "https" and not (
                url.scheme == "http" and url.hostname in {"127.0.0.1", "::1", "localhost"}
            ):
                raise ValueError("jwks_url must begin with https://: a forged answer could authenticate anybody")
        if self.secret and "-----BEGIN" in self.secret.get_secret_value():
            raise ValueError("secret is a PEM key, and HS256 must not use one; give public keys as jwks_file")
        return self


class AuthSettings(_Group):
    """Authentication with API keys and tokens."""

    enabled: bool = Field(False, description="Whether requests need a key or a token.")
    force_open: bool = Field(False, description="Allow serving on a public address without authentication.")
    keys: tuple[Annotated[SecretStr, Field(min_length=16, max_length=1024)], ...] = Field(
        (), description='Keys in addition to those of `qrerank keys`, a JSON list: ["…"]. Make them long and random.'
    )
    pepper: Annotated[SecretStr, Field(min_length=32)] | None = Field(
        None,
        description="Secret with which keys are hashed, the same on all replicas. Absent: a file in the data folder.",
    )
    database_url: SecretStr | None = Field(
        None,
        description="Database of keys and usage: postgresql://USER:PASSWORD@HOST/NAME. "
        "Absent: SQLite in the data folder.",
    )
    audit_file: Path | None = Field(
        None, description="File of the audit log, which records key and admin events. Absent: standard error."
    )
    jwt: TokenSettings = TokenSettings()

    @field_validator("database_url")
    @classmethod
    def _check_database(cls, url: SecretStr | None) -> SecretStr | None:
        if url and not url.get_secret_value().startswith(("postgresql://", "postgres://", "postgresql+psycopg://")):
            raise ValueError("must begin with postgresql://; leave it out for SQLite in the data folder")
        return url

    @model_validator(mode="after")
    def _refuse_unused_credentials(self) -> Self:
        if self.keys and not self.enabled:
            raise ValueError("keys are set, but authentication is off; set QRERANK_AUTH__ENABLED=true")
        if self.jwt.taken and not self.enabled:
            raise ValueError("tokens are configured, but authentication is off; set QRERANK_AUTH__ENABLED=true")
        return self
