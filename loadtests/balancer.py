"""haproxy in front of several servers."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.server import running
from scripts.debian import environment, had
from scripts.trial import free_port

PACKAGES = ("haproxy", "liblua5.3-0", "libopentracing-c-wrapper0", "libopentracing1", "libpcre2-8-0")
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


def configuration(port: int, urls: Sequence[str], options: Sequence[str] = ()) -> str:
    """The configuration: each request goes to the server with the fewest open ones, of those that are ready.

    options: lines more for the servers' section, as haproxy's manual has them.
    """
    servers = (f"server replica{at} {urlsplit(url).netloc} check inter 1s" for at, url in enumerate(urls, 1))
    return _CONFIGURATION.format(port=port, lines="\n".join(f"  {line}" for line in (*options, *servers)))


@contextmanager
def balanced(urls: Sequence[str], options: Sequence[str] = ()) -> Iterator[str]:
    """The address of a balancer before some servers, while it runs; options as above. Raises Missing."""
    program, port = had("haproxy", *PACKAGES), free_port()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "haproxy.cfg"
        path.write_text(configuration(port, urls, options), encoding="utf-8")
        with running([str(program), "-db", "-f", str(path)], port, "/balancer", environment()):
            yield f"http://127.0.0.1:{port}"
