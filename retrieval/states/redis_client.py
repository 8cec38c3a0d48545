"""A connection to Redis that fails soon, and what a log may say of it."""

from __future__ import annotations

from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.connection import parse_url
from redis.retry import Retry

from retrieval.errors import RetrievalError

# ValueError: a host name that cannot be encoded, or an answer from something that does not speak Redis.
# RecursionError: an answer of lists in lists.
FAILURES = (redis.RedisError, OSError, ValueError, RecursionError)


class RedisUrlError(RetrievalError):
    """A Redis URL that cannot be read as one."""


def connect(url: str, timeout_s: float) -> redis.Redis:
    """A client that connects when first used, waits at most this long each time and does not try twice."""
    settings: dict[str, Any] = {
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
        "socket_read_size": 262_144,  # replies are megabytes: half the time of redis-py's 64 KB
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,  # any server and proxy speaks it, and connecting takes a round trip less
        "decode_responses": False,
    }
    try:
        # Ours win over options in the URL.
        pool = redis.ConnectionPool(**(parse_url(url) | settings))  # type: ignore[no-untyped-call]
        pool.connection_class(**pool.connection_kwargs)  # refuses options that there are not
    except (ValueError, TypeError, AttributeError, redis.RedisError):
        # The cause is not passed on: it may quote a piece of the password.
        raise RedisUrlError(
            "the Redis URL cannot be read; write redis://[user:password@]host[:port][/database], rediss:// for TLS or "
            "unix:///path, with what is special in a password percent-encoded"
        ) from None
    return redis.Redis(connection_pool=pool)


def address(client: redis.Redis) -> str:
    """Where the server is."""
    options = client.connection_pool.connection_kwargs
    return str(options.get("path") or f"{options.get('host', 'localhost')}:{options.get('port', 6379)}")


def told(client: redis.Redis, error: Exception) -> tuple[str, str]:
    """Where the server is and what went wrong; no password and no key, though some servers quote what they refuse."""
    what = f"{type(error).__name__}: {error}".split(", with args beginning with")[0]
    password = client.connection_pool.connection_kwargs.get("password")
    return address(client), what.replace(password, "***") if password else what
