"""Schemathesis against a live server: responses conform to the OpenAPI document, and valid requests cause no 5xx."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from app.settings import Settings
from tests.app.live import live

pytestmark = pytest.mark.slow

_LEAST = 10_000  # cases of the soak test
# 504 is the documented response if a deadline cannot be met. A document may have the id "delete": its path is also that
# of a route of its own, which takes more methods than the description, where no path is two, says there.
_CONFIGURATION = """
[warnings]
enabled = false
[checks]
enabled = false
not_a_server_error = { enabled = true, expected-statuses = ["2xx", "3xx", "4xx", "504"] }
status_code_conformance.enabled = true
content_type_conformance.enabled = true
response_headers_conformance.enabled = true
response_schema_conformance.enabled = true
allow_header_conformance.enabled = true
[[operations]]
include-path = "/v1/collections/{name}/documents/delete"
checks.allow_header_conformance.enabled = false
"""


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    settings = Settings(data_dir=tmp_path_factory.mktemp("data"))
    with pytest.MonkeyPatch.context() as patch, live(settings, patch) as here:
        yield f"http://127.0.0.1:{here.port}/openapi.json"


def cases(address: str, folder: Path, *options: str) -> int:
    """Run Schemathesis, which must pass; the number of cases."""
    (folder / "schemathesis.toml").write_text(_CONFIGURATION)
    command = [Path(sys.executable).parent / "schemathesis", "run", address]
    environment = os.environ | {"PYTHONPATH": ""}
    done = subprocess.run(  # noqa: S603 - our own command
        [*command, "--seed", "1", "--continue-on-failure", *options],
        cwd=folder,
        env=environment,
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    return int(re.search(r"(\d+) generated", done.stdout)[1])


def test_what_the_description_promises_is_so(address, tmp_path, count):
    tried = cases(address, tmp_path, "--phases", "examples,fuzzing", "--max-examples", "5")
    count("cases of Schemathesis", tried, 0, tried)
    assert tried > 100


@pytest.mark.soak
def test_what_the_description_promises_is_so_many_times(address, tmp_path, count):
    tried = cases(address, tmp_path, "--phases", "examples,coverage,fuzzing,stateful", "--max-examples", "500")
    count("cases of Schemathesis", tried, 0, tried)
    assert tried >= _LEAST
