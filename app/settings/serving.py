"""What is served and to whom: limits, admission, proxies, browsers."""

from __future__ import annotations

import ipaddress
import os

from pydantic import Field, field_validator

from app.settings.values import Group, Origin

# The first parts of paths below which the service has routes, and pages and descriptions that no path may hide.
OWN_PATHS = frozenset("v1 v2 api infinity compatible-api health docs pages admin errors metrics openapi.json".split())


class LimitSettings(Group):
    """Limits of requests, responses and connections."""

    body_bytes: int = Field(16 * 2**20, ge=1024, le=2**30, description="Maximum size of a request body.")
    upload_bytes: int = Field(
        2 * 2**30,
        ge=1024,
        le=2**50,
        description="Maximum size of an NDJSON stream of documents. `body_bytes` limits each of its lines.",
    )
    job_followers: int = Field(
        100, ge=1, le=100_000, description="Maximum number of clients that follow jobs. One caller may have ¾ of them."
    )
    all_bodies_bytes: int = Field(
        2**28,
        ge=1024,
        le=2**40,
        description="Maximum memory for the bodies of all requests in progress. One caller may use ¾ of it.",
    )
    all_answers_bytes: int = Field(
        2**26,
        ge=2**16,
        le=2**40,
        description="Maximum memory for responses that clients have not read yet. When it is exceeded, the connection "
        "with the most unread bytes is closed.",
    )
    connections: int = Field(
        1000, ge=1, le=1_000_000, description="Maximum number of open connections. One address may hold ¾ of them."
    )
    body_seconds: int = Field(
        60,
        ge=1,
        le=3600,
        description="Maximum time to receive a request body (of an NDJSON stream: the next part), or to send half "
        "of a waiting response.",
    )
    head_bytes: int = Field(
        64 * 2**10,
        ge=1024,
        le=2**24,
        description="Maximum size of the request line and the headers. There may be at most 200 headers.",
    )
    head_seconds: int = Field(
        10, ge=1, le=3600, description="Maximum time to receive the request line and the headers."
    )
    keep_alive_seconds: int = Field(
        75,
        ge=1,
        le=3600,
        description="How long an idle connection stays open. Set it longer than the idle timeout of a proxy in front.",
    )
    documents: int = Field(1000, ge=1, le=100_000, description="Maximum number of documents in one request.")
    queries: int = Field(
        100, ge=1, le=10_000, description="Maximum number of queries in one request that compares many with documents."
    )
    query_characters: int = Field(
        10_000, ge=1, le=1_000_000, description="Maximum length of a query or of an excluded text, in characters."
    )
    excluded_texts: int = Field(16, ge=1, le=256, description="Maximum number of excluded texts in one request.")
    chunks_per_document: int = Field(
        16,
        ge=1,
        le=256,
        description="Maximum number of chunks that a document is split into. A chunk is as long as the model's input.",
    )
    units: int = Field(
        100_000,
        ge=1,
        le=10**9,
        description="Maximum work of one request. One unit: a query compared with a document of up to 1000 characters.",
    )
    socket_requests: int = Field(
        16, ge=1, le=1024, description="Maximum number of requests in progress on one WebSocket."
    )


class EngineSettings(Group):
    """CPU use, admission control, deadlines and graceful shutdown."""

    processors: int | None = Field(
        None, ge=1, le=1024, description="CPUs that the service may use. Absent: the CPU quota of the control group."
    )
    requests: int = Field(
        32, ge=1, le=1024, description="Maximum number of requests processed at the same time. They share the CPUs."
    )
    queue_requests: int = Field(
        64, ge=0, le=10_000, description="Maximum number of requests that wait. The next one is rejected with 503."
    )
    least_part: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Load shedding: a request is rejected with 503 when it would get less than this share of the "
        "encoding time that it would get alone. 0: no request is rejected for this reason.",
    )
    drain_seconds: float = Field(
        5,
        ge=0,
        le=600,
        description="Time from SIGTERM until no connections are accepted. The service reports not ready meanwhile.",
    )
    deadline_ms: int = Field(
        400, ge=0, le=600_000, description="Deadline of requests that set none. 0: the maximum deadline."
    )
    longest_ms: int = Field(
        60_000, ge=1, le=600_000, description="Maximum deadline. It also applies to requests that set 0."
    )


class ServerSettings(Group):
    """The proxy before the service."""

    root_path: str = Field(
        "",
        pattern=r"^((/[A-Za-z0-9._~-]+)+)?$",
        max_length=256,
        description="Path below which the proxy serves the service, such as /ranking. Requests are served with and "
        "without it, so the proxy may remove it or not.",
    )
    proxies: tuple[str, ...] = Field(
        (),
        description='Addresses and networks of proxies, a JSON list: ["10.0.0.5", "10.1.0.0/16"]. Only from them '
        "X-Forwarded-For and X-Forwarded-Proto count. Absent: from those that FORWARDED_ALLOW_IPS names, if it is set.",
    )

    @field_validator("root_path")
    @classmethod
    def _refuse_our_own_paths(cls, path: str) -> str:
        if path.split("/")[1:2] and path.split("/")[1] in OWN_PATHS:
            raise ValueError(f"the service has paths of its own below /{path.split('/')[1]}: choose another one")
        if {".", ".."} & set(path.split("/")):
            raise ValueError("clients resolve the parts . and ..: choose another one")
        return path

    @field_validator("proxies")
    @classmethod
    def _refuse_what_is_no_address(cls, proxies: tuple[str, ...]) -> tuple[str, ...]:
        for proxy in proxies:
            try:
                ipaddress.ip_network(proxy)
            except ValueError as error:
                raise ValueError(f"{proxy!r} is neither an address nor a network: {error}") from None
        return proxies

    @property
    def trusted(self) -> list[str]:
        """The proxies whose headers count, as uvicorn takes them."""
        named = os.environ.get("FORWARDED_ALLOW_IPS", "")
        return list(self.proxies) or [name.strip() for name in named.split(",") if name.strip()]


class CorsSettings(Group):
    """Cross-origin requests from browsers."""

    origins: tuple[Origin, ...] = Field(
        (),
        description='Origins whose pages may call the service, a JSON list: ["https://…"], or ["*"]. '
        "Requests with cookies or passwords are not allowed.",
    )


class PageSettings(Group):
    """The pages for people: the playground at / and the admin page at /admin."""

    enabled: bool = Field(
        True,
        description="Whether the pages are served. They need no key themselves; what they show takes their user's key.",
    )
