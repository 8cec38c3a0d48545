"""The judges of shared/wire, which call every client, against a real server: all pass with the right key, none without.

The judges are not ours and not copied: WIRE says where they are.
"""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

pytestmark = pytest.mark.clients

ROOT = Path(__file__).parents[2]
WIRE = (ROOT / os.environ.get("WIRE", "../shared/wire")).resolve()
NODE = ROOT / ".node-clients"


def judge(name: str) -> Path:
    path = WIRE / name
    if not path.exists():
        pytest.fail(
            f"there is no judge {path}: run `make clients WIRE=FOLDER` with the folder of {name}", pytrace=False
        )
    return path


def verdicts(command: list[str | Path], folder: Path) -> Counter[str]:
    """How many clients got which verdict; the judge's lines are shown as they come."""
    counted: Counter[str] = Counter()
    sys.stdout.write("\n")
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        for line in process.stdout:
            sys.stdout.write(line)
            sys.stdout.flush()
            counted[line[:4]] += 1
    return Counter({verdict: counted[verdict] for verdict in ("PASS", "FAIL", "SKIP")})


def test_python_clients(caller, summarise, request):
    url, key, let_in = caller
    given = ["--api-key", key] if key else []
    found = verdicts([ROOT / ".venv-clients/bin/python", judge("clients_check.py"), "--base-url", url, *given], ROOT)
    summarise(f"{request.node.name}: {dict(found)}")
    assert found == ({"PASS": 53, "FAIL": 0, "SKIP": 0} if let_in else {"PASS": 0, "FAIL": 53, "SKIP": 0})


def test_node_clients(caller, summarise, request):
    url, key, let_in = caller
    found = verdicts(["node", judge("clients_check.mjs"), url, key or "any"], NODE)
    summarise(f"{request.node.name}: {dict(found)}")
    assert found == ({"PASS": 11, "FAIL": 0, "SKIP": 0} if let_in else {"PASS": 0, "FAIL": 11, "SKIP": 0})
