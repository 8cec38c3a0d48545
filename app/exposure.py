"""Whether a service may be started on an address, as its keys are."""

from __future__ import annotations

import ipaddress
import logging
import socket

from app.auth import audit
from app.errors import KeysMisconfigured, KeysUnavailable
from app.settings import Settings

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
    """Whether other machines than this one may reach an address."""
    try:
        return not ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        pass
    try:
        found = {str(address[0]) for *_, address in socket.getaddrinfo(host or None, 0, flags=socket.AI_PASSIVE)}
    except OSError:
        return True
    return not all(ipaddress.ip_address(address.partition("%")[0]).is_loopback for address in found)


def _check_keys(settings: Settings) -> None:
    from app.auth.records import open_records  # not before: SQLAlchemy takes memory

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
