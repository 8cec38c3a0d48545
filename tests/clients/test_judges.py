"""Every client against a real server: all pass without keys and with the right one, none with a wrong one.

Most are called by the conformance tests of shared/wire, which are not ours and not copied: WIRE says where they are.
The others are ours to call, in check_clients.py.
"""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

pytestmark = pytest.mark.clients

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
WIRE = (ROOT / os.environ.get("WIRE", "../shared/wire")).resolve()
NODE = ROOT / ".node-clients"  # where the Node judge looks for its packages


def judge(name: str) -> Path:
    path = WIRE / name
    if not path.exists():
        pytest.fail(
            f"there is no judge {path}: run `make clients WIRE=FOLDER` with the folder of {name}", pytrace=False
        )
    return path


def verdicts(command: list[str | Path]) -> dict[str, int]:
    """How many clients got which verdict; the judge's lines are shown as they come."""
    counted: Counter[str] = Counter()
    sys.stdout.write("\n")
    with subprocess.Popen(command, cwd=NODE, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        for line in process.stdout:
            sys.stdout.write(line)
            sys.stdout.flush()
            counted[line[:4]] += 1
    return {verdict: counted[verdict] for verdict in ("PASS", "FAIL", "SKIP")}


def python_judge(url: str, key: str | None) -> list[str | Path]:
    given = ["--api-key", key] if key else []
    return [ROOT / ".venv-clients/bin/python", judge("clients_check.py"), "--base-url", url, *given]


def node_judge(url: str, key: str | None) -> list[str | Path]:
    return ["node", judge("clients_check.mjs"), url, key or "any"]


def own_check(url: str, key: str | None) -> list[str | Path]:
    return [ROOT / ".venv-clients/bin/python", HERE / "check_clients.py", url, key or "any"]


@pytest.mark.parametrize(
    ("language", "clients", "command"),
    [("Python", 53, python_judge), ("Node", 11, node_judge), ("more Python", 13, own_check)],
)
def test_all_clients_pass_or_with_the_wrong_key_none(language, clients, command, caller, summarise):
    found = verdicts(command(caller.url, caller.key))
    summarise(f"{language} clients, {caller.name}: {found['PASS']} of {clients} pass")
    refused = 0 if caller.let_in else clients
    assert found == {"PASS": clients - refused, "FAIL": refused, "SKIP": 0}
