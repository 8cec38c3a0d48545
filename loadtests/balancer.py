"""haproxy in front of several servers. Debian's package; where it is not installed, it is unpacked beside the code."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.server import running
from scripts.trial import free_port

UNPACKED = Path(__file__).parents[1] / ".haproxy"
_PACKAGES = ("haproxy", "liblua5.3-0", "libopentracing-c-wrapper0", "libopentracing1", "libpcre2-8-0")

_CONFIGURATION = """\
global
  nbthread 1
defaults
  mode http
  timeout connect 2s
  timeout client 60s
  timeout server 60s
frontend load
  bind 127.0.0.1:{port}
  monitor-uri /balancer
  default_backend replicas
backend replicas
  balance leastconn
  option httpchk GET /health/ready
{lines}
"""


class NoBalancer(Exception):
    """There is no haproxy, and none can be had."""


def haproxy() -> Path:
    """The program, fetched with apt where it is not there; NoBalancer where that cannot be."""
    unpacked = UNPACKED / "usr" / "sbin" / "haproxy"
    if found := shutil.which("haproxy", path=f"{os.environ.get('PATH', '')}:/usr/sbin"):
        return Path(found)
    if not unpacked.exists():
        _unpack()
    return unpacked


def _unpack() -> None:
    UNPACKED.mkdir(exist_ok=True)
    try:
        for package in _PACKAGES:
            _run(["apt-get", "download", package])
        for archive in UNPACKED.glob("*.deb"):
            _run(["dpkg", "-x", str(archive), "."])
            archive.unlink()
    except (OSError, subprocess.CalledProcessError) as error:
        shutil.rmtree(UNPACKED)
        raise NoBalancer(
            "haproxy is neither installed nor to be had with apt-get download; install it (apt-get install haproxy)"
        ) from error


def _run(command: Sequence[str]) -> None:
    subprocess.run(command, cwd=UNPACKED, check=True, capture_output=True)  # noqa: S603 - Debian's own tools


def configuration(port: int, urls: Sequence[str], options: Sequence[str] = ()) -> str:
    """The configuration: each request goes to the server with the fewest open ones, of those that are ready.

    options: lines more for the servers' section, as haproxy's manual has them.
    """
    servers = (f"server replica{at} {urlsplit(url).netloc} check inter 1s" for at, url in enumerate(urls, 1))
    return _CONFIGURATION.format(port=port, lines="\n".join(f"  {line}" for line in (*options, *servers)))


@contextmanager
def balanced(urls: Sequence[str], options: Sequence[str] = ()) -> Iterator[str]:
    """The address of a balancer before some servers, while it runs; options as above. NoBalancer without one."""
    program, port = haproxy(), free_port()
    libraries = ":".join(str(folder) for folder in sorted(UNPACKED.glob("usr/lib/*")))
    variables = dict(os.environ) | ({"LD_LIBRARY_PATH": libraries} if program.is_relative_to(UNPACKED) else {})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "haproxy.cfg"
        path.write_text(configuration(port, urls, options), encoding="utf-8")
        with running([str(program), "-db", "-f", str(path)], port, "/balancer", variables):
            yield f"http://127.0.0.1:{port}"
