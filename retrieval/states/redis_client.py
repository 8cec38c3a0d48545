"""A Redis client that fails fast, and error texts for logs without passwords or keys."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.connection import parse_url
from redis.retry import Retry

from retrieval.circuit_breaker import CircuitBreaker
from retrieval.errors import RetrievalError

# ValueError: a host name that cannot be encoded, or a reply that does not follow the Redis protocol.
# RecursionError: a reply of deeply nested lists.
FAILURES = (redis.RedisError, OSError, ValueError, RecursionError)


class RedisUrlError(RetrievalError):
    """A Redis URL that cannot be parsed."""


def connect(url: str, timeout_s: float) -> redis.Redis:
    """Return a client that connects on first use and never retries.

    timeout_s: the limit in seconds for connecting and for each read or write. Raises RedisUrlError.
    """
    settings: dict[str, Any] = {
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
        "socket_read_size": 262_144,  # replies take megabytes: twice as fast as redis-py's 64 KB
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,  # supported by all servers and proxies, and saves a round trip on connect
        "decode_responses": False,
    }
    try:
        # Our settings override the options in the URL.
        pool = redis.ConnectionPool(**(parse_url(url) | settings))  # type: ignore[no-untyped-call]
        pool.connection_class(**pool.connection_kwargs)  # raises for unknown options
    except (ValueError, TypeError, AttributeError, redis.RedisError):
        # The cause is suppressed: it may quote a part of the password.
        raise RedisUrlError(
            "the Redis URL cannot be parsed; write redis://[user:password@]host[:port][/database], rediss:// for "
            "TLS, or unix:///path, with special characters in the password percent-encoded"
        ) from None
    return redis.Redis(connection_pool=pool)


def address(client: redis.Redis) -> str:
    """Return the server's host:port, or the path of its Unix socket."""
    options = client.connection_pool.connection_kwargs
    return str(options.get("path") or f"{options.get('host', 'localhost')}:{options.get('port', 6379)}")


def breaker(
    clients: Sequence[redis.Redis], probe: Callable[[], object], retry_s: float, meanwhile: str
) -> CircuitBreaker:
    """The circuit breaker of one server, whose connections are closed when a request to it fails.

    Args:
        clients: All clients of the server.
        probe: Sends a request to it; raises one of FAILURES if it does not answer.
        retry_s: Seconds between two probes, above 0.
        meanwhile: The effect of an outage, for the log.
    """

    def disconnect(idle_only: bool) -> None:
        for client in clients:
            client.connection_pool.disconnect(inuse_connections=not idle_only)

    def describe(error: Exception) -> str:
        return _describe(clients[0], error)

    name = f"Redis at {address(clients[0])}"
    return CircuitBreaker(name, probe, retry_s, meanwhile, failures=FAILURES, describe=describe, disconnect=disconnect)


def _describe(client: redis.Redis, error: Exception) -> str:
    """The error's text, without the password and keys that some servers quote."""
    message = f"{type(error).__name__}: {error}".split(", with args beginning with")[0]
    password = client.connection_pool.connection_kwargs.get("password")
    return message.replace(password, "***") if password else message
