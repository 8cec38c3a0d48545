"""Whether a service may be started on an address, as its keys are, and whether the address can be had."""

from __future__ import annotations

import errno
import ipaddress
import logging
import socket
from collections.abc import Sequence
from typing import Any

from app.auth import audit
from app.errors import KeysMisconfigured, KeysUnavailable
from app.settings import Settings
from app.telemetry.metrics_port import PortTaken, url_of

_ELSEWHERE = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}  # an address that this machine has not, as ::1 without IPv6

log = logging.getLogger(__name__)


class Exposed(Exception):
    """Everybody could use the service, or nobody what it is set to have. The message says what to do."""


def check_start(settings: Settings, host: str) -> None:
    """Exposed if nobody were asked for a key where others can ask; KeysMisconfigured if keys could never be checked."""
    if settings.operations.access == "admin" and not settings.auth.enabled:
        raise Exposed(
            "QRERANK_OPERATIONS__ACCESS=admin asks for keys that nobody has: set QRERANK_AUTH__ENABLED=true and make "
            "one with `qrerank keys create --role admin`; or have /metrics where only your network reaches it: "
            "QRERANK_OPERATIONS__METRICS_PORT"
        )
    if settings.auth.enabled:
        _check_keys(settings)
    elif is_public(host):
        text = f"requests need no key (QRERANK_AUTH__ENABLED is false), and {host or 'this address'} is open to others"
        if not settings.auth.force_open:
            raise Exposed(
                f"{text}: set QRERANK_AUTH__ENABLED=true and make keys with `qrerank keys create`; or, if something "
                "else keeps strangers out, set QRERANK_AUTH__FORCE_OPEN=true"
            )
        log.warning("%s, as QRERANK_AUTH__FORCE_OPEN=true wants it", text)


def is_public(host: str) -> bool:
    """Whether other machines than this one may reach an address; PortTaken where it is none."""
    try:
        return not ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        pass
    found = {str(address[0]) for *_, address in _addresses(host)}
    return not all(ipaddress.ip_address(address.partition("%")[0]).is_loopback for address in found)


def bare(host: str) -> str:
    """An address as sockets take it: IPv6 without the brackets that it has in a URL."""
    return host[1:-1] if host.startswith("[") and host.endswith("]") else host


def free_port(host: str, port: int) -> int:
    """The port to serve on: this one, or one that is free where it is 0; PortTaken where it cannot be had.

    It is asked for here so that a start that cannot come to anything fails before models are loaded.
    """
    failed: OSError | None = None
    bound = False
    for family, kind, protocol, _, address in _addresses(host):
        try:
            with socket.socket(family, kind, protocol) as server:
                server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as whoever serves does
                if family == socket.AF_INET6:
                    server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                server.bind((address[0], port, *address[2:]))
                port, bound = server.getsockname()[1], True
        except OSError as error:
            failed = error
            if error.errno not in _ELSEWHERE:
                break
    if failed and not (bound and failed.errno in _ELSEWHERE):
        raise PortTaken(f"{url_of(host, port)} cannot be served: {failed.strerror}; {_remedy(failed)}")
    return port


def _addresses(host: str) -> Sequence[tuple[Any, ...]]:
    """What `getaddrinfo` says of a host to listen on; PortTaken where it is none."""
    try:
        return socket.getaddrinfo(host or None, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:  # the latter where it could not be a name
        raise PortTaken(f"{host!r} is not an address to listen on; give one of this machine's with --host") from error


def _remedy(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "stop what listens there, or give another --port"
    if error.errno == errno.EACCES:
        return "give a --port above 1023"
    return "give an address of this machine with --host"


def _check_keys(settings: Settings) -> None:
    from app.auth.stores import open_records  # not before: SQLAlchemy takes memory

    audit.open_log(settings.auth.audit_file)
    records = open_records(settings.auth, settings.data_dir)
    try:
        if not (settings.auth.keys or settings.auth.jwt.taken or records.keys.all()):
            log.warning("there is no key yet: `qrerank keys create` makes one, also while this runs")
    except KeysMisconfigured:
        raise
    except KeysUnavailable as error:
        log.warning("%s; it is tried again while this runs", error.reason)
    finally:
        records.database.close()
