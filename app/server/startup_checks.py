"""Checks before the server starts: authentication on a public address, API keys, the parameter file, a free port."""

from __future__ import annotations

import errno
import ipaddress
import logging
import os
import resource
import socket
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from app.auth import audit
from app.errors import KeysMisconfigured, KeysUnavailable
from app.ranking.calibration import Calibration
from app.ranking.parameters import Parameters
from app.settings import Settings
from app.telemetry.metrics_port import PortTaken, url_of

_NOT_LOCAL = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}  # not an address of this machine, such as ::1 without IPv6

log = logging.getLogger(__name__)


class Exposed(Exception):
    """The settings leave the service open to everybody, or a page closed to everybody. The message says what to set."""


def allow_open_files() -> None:
    """Let this process, and those that it starts, open as many files as the system allows: segments hold theirs open.

    Many systems begin with 1024, for programs of old that cannot count further.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # macOS says "infinity" and means less
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def check_start(settings: Settings, host: str) -> None:
    """Refuse to start with unsafe settings or a damaged parameter file; log warnings for what can be corrected later.

    Raises:
        Exposed: Authentication is off on a public address, or operations need an admin's key while it is off.
        KeysMisconfigured: No key could ever be checked.
        ParameterFileError: A file of parameters cannot be used.
        NotADirectoryError: A file stands where the data are to be.
    """
    check_exposure(settings, host)
    folder = settings.data_dir.absolute()
    taken = next(path for path in (folder, *folder.parents) if path.exists())
    if not taken.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(taken))
    if settings.auth.enabled:
        _check_keys(settings)


def check_exposure(settings: Settings, host: str) -> None:
    """Refuse unsafe settings and a damaged parameter file, as `check_start`, without opening the database of keys."""
    if settings.calibration:
        Calibration.read(settings.calibration)
    if settings.parameters:
        Parameters.read(settings.parameters)
    if settings.operations.access == "admin" and not settings.auth.enabled:
        raise Exposed(
            "QRERANK_OPERATIONS__ACCESS=admin needs API keys, but authentication is disabled: set "
            "QRERANK_AUTH__ENABLED=true and create a key with `qrerank keys create --role admin`; or serve /metrics on "
            "a port that only your network reaches: QRERANK_OPERATIONS__METRICS_PORT"
        )
    if not settings.auth.enabled and is_public(host):
        text = f"requests need no key (QRERANK_AUTH__ENABLED is false), and {host or 'this address'} is open to others"
        if not settings.auth.force_open:
            raise Exposed(
                f"{text}: set QRERANK_AUTH__ENABLED=true and create keys with `qrerank keys create`; or, if something "
                "else controls access, set QRERANK_AUTH__FORCE_OPEN=true"
            )
        log.warning("%s; allowed by QRERANK_AUTH__FORCE_OPEN=true", text)


def is_public(host: str) -> bool:
    """Whether other machines may reach a host's address; PortTaken if the host has none."""
    try:
        return not ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        pass
    addresses = {str(address[0]) for *_, address in _addresses(host)}
    return not all(ipaddress.ip_address(address.partition("%")[0]).is_loopback for address in addresses)


def bare(host: str) -> str:
    """A host as sockets take it: an IPv6 address without the brackets that it has in a URL."""
    return host[1:-1] if host.startswith("[") and host.endswith("]") else host


def free_port(host: str, port: int) -> int:
    """The port to listen on: `port`, or a free one for 0; PortTaken if it cannot be bound.

    The port is bound for a moment, so that a start fails before the models are loaded.
    """
    bind_error: OSError | None = None
    bound = False
    for family, kind, protocol, _, address in _addresses(host):
        try:
            with socket.socket(family, kind, protocol) as server:
                server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as uvicorn does
                if family == socket.AF_INET6:
                    server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                server.bind((address[0], port, *address[2:]))
                port, bound = server.getsockname()[1], True
        except OSError as error:
            bind_error = error
            if error.errno not in _NOT_LOCAL:
                break
    if bind_error and not (bound and bind_error.errno in _NOT_LOCAL):
        raise PortTaken(f"{url_of(host, port)} cannot be served: {bind_error.strerror}; {_remedy(bind_error)}")
    return port


def _addresses(host: str) -> Sequence[tuple[Any, ...]]:
    """The results of `getaddrinfo` for a host to listen on; PortTaken if there are none."""
    try:
        return socket.getaddrinfo(host or None, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:  # UnicodeError: it is not a valid host name
        raise PortTaken(
            f"{host!r} is not an address to listen on; pass an address of this machine with --host"
        ) from error


def _remedy(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "stop the process that listens there, or choose another --port"
    if error.errno == errno.EACCES:
        return "choose a --port above 1023"
    return "pass an address of this machine with --host"


def _check_keys(settings: Settings) -> None:
    from app.auth.stores import open_records  # imported late: SQLAlchemy takes memory

    audit.open_log(settings.auth.audit_file)
    stores = open_records(settings.auth, settings.data_dir)
    try:
        if not (settings.auth.keys or settings.auth.jwt.taken or stores.keys.all()):
            log.warning("there is no API key yet; create one with `qrerank keys create`, also while the server runs")
    except KeysMisconfigured:
        raise
    except KeysUnavailable as error:
        log.warning("%s; the server tries again while it runs", error.reason)
    finally:
        stores.database.close()
