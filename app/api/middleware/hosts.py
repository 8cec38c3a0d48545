"""Which names a service may be asked by.

A page of a site whose name leads to 127.0.0.1 for a moment (DNS rebinding) may send requests to a service on its
reader's machine, and browsers take them for the site's own. They are told by the name that they ask for. So where no
key protects the service, it is asked by addresses and by names that no site can have.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

_LOCAL = {"localhost", "local", "internal", "arpa"}  # as last labels nobody can register: RFC 6761, 6762, 8375; ICANN


def is_served(host: str, names: Sequence[str], *, has_keys: bool) -> bool:
    """Whether a request may be asked by this Host header, which is "" where there is none.

    Args:
        host: The header, with or without a port.
        names: Those that are allowed: a name, `*.` and a name for all below it, or `*`. None: what is said above.
        has_keys: Whether keys protect the service.
    """
    name = _name(host)
    if not names:
        return has_keys or name is None or "." not in name or name.rpartition(".")[2] in _LOCAL or _is_address(name)
    return any(_matches(name or "", allowed.lower()) for allowed in names)


def _name(host: str) -> str | None:
    """The name or address without its port, in lower case; None where there is no header."""
    if not host:
        return None
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower().rstrip(".")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _matches(name: str, allowed: str) -> bool:
    return allowed in {"*", name} or (allowed.startswith("*.") and name.endswith(allowed[1:]))
