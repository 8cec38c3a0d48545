"""What each client makes of each of our errors: its own exception, with our message where it shows one."""

from __future__ import annotations

import difflib
import json
import os
import subprocess
import sys
import textwrap
from collections import defaultdict
from pathlib import Path

import pytest

from tests.clients.failing import FAILURES, failing_servers

pytestmark = pytest.mark.clients

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
QUIET = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "HAYSTACK_TELEMETRY_ENABLED": "False", "PYTHONWARNINGS": "ignore"}
Rows = dict[str, dict[str, list[int]]]  # by client, then by what came of the call: at which statuses


def outcomes(command: list[str | Path], urls: dict[int, str], folder: Path) -> Rows:
    """What came of each client's calls; * where the client holds our message."""
    called = subprocess.run(  # noqa: S603 - our own scripts
        [*command, *(f"{status}={url}" for status, url in urls.items())],
        cwd=folder,
        env=os.environ | QUIET,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=240,
    )
    rows: Rows = defaultdict(lambda: defaultdict(list))
    for line in called.stdout.splitlines():
        said = json.loads(line)
        shown = FAILURES[said["status"]].says in said["message"]
        rows[said["client"]][said["outcome"] + "*" * shown].append(said["status"])
    return rows


def table(rows: Rows) -> list[str]:
    """The lines of errors.txt, with clients that do the same together."""
    groups = defaultdict(list)
    for client, row in rows.items():
        groups[tuple(f"    {name:40}{' '.join(map(str, at))}" for name, at in row.items())].append(client)
    return [line for row, clients in groups.items() for line in ("", *textwrap.wrap(", ".join(clients), 110), *row)]


def test_every_client_raises_what_it_documents(tmp_path):
    with failing_servers(tmp_path) as urls:
        rows = outcomes([ROOT / ".venv-clients/bin/python", HERE / "call_clients.py"], urls, ROOT)
        rows |= outcomes(["node", HERE / "call_clients.mjs"], urls, ROOT / ".node-clients")
    found = table(rows)
    sys.stdout.write("\n".join(["", *found, ""]))
    expected = (HERE / "errors.txt").read_text().splitlines()[2:]  # without what it says of itself
    assert not "\n".join(difflib.unified_diff(expected, found, "errors.txt", "found", lineterm=""))
