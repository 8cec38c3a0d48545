"""The examples do what they promise: the passage that answers the question comes first."""

import json
import os
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.clients

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
QUIET = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "HAYSTACK_TELEMETRY_ENABLED": "False"}  # nothing else is reached


def run(command: list[str | Path], caller) -> subprocess.CompletedProcess[str]:
    given = {"QRERANK_API_KEY": caller.key} if caller.key else {}
    environment = os.environ | QUIET | {"QRERANK_URL": caller.url} | given
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)  # noqa: S603


@pytest.mark.parametrize("example", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_a_program_prints_the_answer_first(example, caller):
    done = run([ROOT / ".venv-clients/bin/python", example], caller)
    assert (done.returncode == 0) == caller.let_in, done.stderr
    if caller.let_in:
        assert "within 30 days" in done.stdout.splitlines()[0]


@pytest.mark.parametrize("example", sorted(EXAMPLES.glob("*.sh")), ids=lambda path: path.name)
def test_a_script_gets_the_answer_first(example, caller):
    done = run([example], caller)
    assert (done.returncode == 0) == caller.let_in, done.stderr
    if caller.let_in:
        assert json.loads(done.stdout)["results"][0]["index"] == 2
