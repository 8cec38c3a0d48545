"""Verification of JSON Web Tokens (RFC 7519)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import jwt
from jwt import PyJWK
from jwt.exceptions import (
    ExpiredSignatureError,
    ImmatureSignatureError,
    InvalidAudienceError,
    InvalidIssuerError,
    InvalidSignatureError,
    MissingRequiredClaimError,
    PyJWTError,
)

from app.auth.jwks import InThread, Jwks, from_file, from_url
from app.auth.settings import TokenSettings
from app.auth.store import Grant, Refusal
from app.identity import MAX_COLLECTIONS, ROLES, TIERS, Identity, is_collection_pattern

_MAX_CHARACTERS = 16_384
_MAX_NAME_CHARACTERS = 128
_INVALID = Refusal("this token is not valid here; get another from its issuer")
_REASONS: dict[type[PyJWTError], str] = {
    ExpiredSignatureError: "this token has expired; get a new one from its issuer",
    ImmatureSignatureError: "this token is not valid yet; try later, or check the issuer's clock",
    InvalidIssuerError: "this token is from an issuer that is not trusted here",
    InvalidAudienceError: "this token is for another service; ask its issuer for one with this service as audience",
}


class Tokens:
    """Verifies tokens with a shared secret (HS256) or the issuer's public keys (RS256, ES256), never mixed."""

    def __init__(self, settings: TokenSettings, in_thread: InThread) -> None:
        """settings: with a secret or a JWKS. in_thread: runs the reading of the issuer's keys in a thread."""
        self._settings = settings
        self.issuer: Jwks | None = None
        if settings.jwks_file:
            self.issuer = Jwks(from_file(settings.jwks_file), in_thread, settings.refresh_s)
        elif settings.jwks_url:
            self.issuer = Jwks(from_url(settings.jwks_url), in_thread, settings.refresh_s)

    async def check(self, token: str) -> Grant | Refusal:
        """Verify a token; KeysUnavailable while the issuer's keys are not available."""
        if len(token) > _MAX_CHARACTERS:
            return _INVALID
        try:
            header = jwt.get_unverified_header(token)
            algorithm = str(header.get("alg"))
            keys = await self._keys(algorithm, header.get("kid"))
            return self._granted(self._claims(token, algorithm, keys))
        except MissingRequiredClaimError as error:
            return Refusal(f"this token lacks the claim `{error.claim}`, which is required")
        except PyJWTError as error:
            reason = _REASONS.get(type(error))
            return Refusal(reason) if reason else _INVALID
        except (ValueError, OverflowError):  # claims with numbers or texts out of range
            return _INVALID

    async def _keys(self, algorithm: str, kid: str | None) -> Sequence[PyJWK | str]:
        """The keys that may have signed a token with this header."""
        if algorithm not in self._settings.algorithms:
            return ()
        if algorithm == "HS256":
            return (self._settings.secret.get_secret_value(),) if self._settings.secret else ()
        return await self.issuer.matching(algorithm, kid) if self.issuer else ()

    def _claims(self, token: str, algorithm: str, keys: Sequence[PyJWK | str]) -> Mapping[str, Any]:
        """The claims of a token that one of the keys has signed."""
        for key in keys:
            try:
                claims: Mapping[str, Any] = jwt.decode(
                    token,
                    key,
                    algorithms=[algorithm],
                    issuer=self._settings.issuer,
                    audience=self._settings.audience,  # None: a token with an audience is rejected
                    leeway=self._settings.leeway_s,
                    options={"require": ["exp", "sub"], "enforce_minimum_key_length": True},
                )
            except InvalidSignatureError:
                continue
            else:
                return claims
        raise InvalidSignatureError

    def _granted(self, claims: Mapping[str, Any]) -> Grant | Refusal:
        settings = self._settings
        name, role = claims["sub"], claims.get(settings.role_claim, settings.role)
        tier = claims.get(settings.tier_claim, settings.tier)
        if not 1 <= len(name) <= _MAX_NAME_CHARACTERS or not name.isprintable():
            return Refusal(f"this token's `sub` is not a printable text of 1 to {_MAX_NAME_CHARACTERS} characters")
        if role not in ROLES:
            return Refusal(f"this token's `{settings.role_claim}` is none of {', '.join(ROLES)}")
        if tier not in TIERS:
            return Refusal(f"this token's `{settings.tier_claim}` is none of {', '.join(TIERS)}")
        identity = _limited(Identity(f"token:{name}", role, tier), claims, settings)
        if isinstance(identity, Refusal):
            return identity
        return Grant(identity, float(claims["exp"]) + settings.leeway_s)


def _limited(identity: Identity, claims: Mapping[str, Any], settings: TokenSettings) -> Identity | Refusal:
    """The identity with the limits of its token's claims."""
    read_only, limits = claims.get(settings.read_only_claim, False), claims.get(settings.collections_claim, ["*"])
    if not isinstance(read_only, bool):
        return Refusal(f"this token's `{settings.read_only_claim}` is neither true nor false")
    patterns = limits.split() if isinstance(limits, str) else limits  # spaces are between them, as in `scope`
    if not isinstance(patterns, list) or not _are_patterns(patterns):
        return Refusal(
            f"this token's `{settings.collections_claim}` is not a list of up to {MAX_COLLECTIONS} names of "
            "collections, or beginnings of names with `*`"
        )
    collections = tuple(patterns) if settings.collections_claim in claims else None
    if identity.role == "admin" and (read_only or collections is not None):
        return Refusal("this token is an administrator's, and those cannot be limited to collections or to reading")
    return replace(identity, collections=collections, can_write=not read_only)


def _are_patterns(patterns: Sequence[Any]) -> bool:
    return len(patterns) <= MAX_COLLECTIONS and all(
        isinstance(pattern, str) and is_collection_pattern(pattern) for pattern in patterns
    )
