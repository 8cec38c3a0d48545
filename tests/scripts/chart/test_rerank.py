"""The program of `helm test`, against a real server in each of the chart's configurations."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from app.settings import Settings
from scripts.chart import CHART
from tests.app.live import live

pytestmark = pytest.mark.slow

KEY = "a-key-of-the-environment"
ON = {"QRERANK_AUTH__ENABLED": "true"}


def reranked(port, settings):
    """Run the chart's program with `qrerank` on the PATH, as in the image; its exit status and output."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("QRERANK_")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(  # noqa: S603 - ours
        [sys.executable, CHART / "files" / "rerank.py", f"http://127.0.0.1:{port}"],
        env=kept | settings | {"PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_without_keys_anybody_reranks_and_a_service_that_asks_for_none_where_it_should_fails(
    hash_settings, monkeypatch
):
    with live(hash_settings, monkeypatch) as server:
        without = reranked(server.port, {"QRERANK_AUTH__ENABLED": "false"})
        status, said = reranked(server.port, ON)
    assert without == (0, "ok: reranked 2 documents, the nightingale first\n")
    assert status == 1
    assert "without a key it answered 200, not 401" in said


@pytest.fixture(scope="module")
def keyed(tmp_path_factory):
    """A server with authentication, and its data folder."""
    data = tmp_path_factory.mktemp("data")
    settings = Settings(model="hash", auth={"enabled": True, "keys": (KEY,)}, data_dir=data)
    with pytest.MonkeyPatch.context() as patch, live(settings, patch) as server:
        yield server, data


def test_a_key_of_the_secret_opens_and_where_only_tokens_do_the_rest_is_left_to_their_holders(keyed):
    status, said = reranked(keyed[0].port, ON | {"QRERANK_AUTH__KEYS": json.dumps([KEY])})
    assert (status, said.count("ok: ")) == (0, 2)
    status, said = reranked(keyed[0].port, ON | {"TEST_STORE": "apart"})
    assert status == 0
    assert "a token's holder" in said


def test_a_key_is_made_in_the_shared_store_and_ended(keyed):
    server, data = keyed
    store = ON | {"QRERANK_DATA_DIR": str(data), "TEST_STORE": "shared"}
    status, said = reranked(server.port, store)
    assert (status, said.count("ok: ")) == (0, 2), said
    listed = subprocess.run(  # noqa: S603 - ours
        [Path(sys.executable).parent / "qrerank", "keys", "list", "--json"],
        env=os.environ | store,
        capture_output=True,
        text=True,
        check=True,
    )
    assert [(key["name"], key["status"]) for key in json.loads(listed.stdout)["data"]] == [("helm test", "revoked")]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"QRERANK_AUTH__ENABLED": "false"}, "FAILED: the service answered 401"),
        (ON | {"QRERANK_AUTH__KEYS": '["not-one-of-its-keys"]'}, "FAILED: the service answered 401"),
        (ON | {"TEST_STORE": "shared", "QRERANK_DATA_DIR": "/proc/no"}, "keys create ended with"),
    ],
)
def test_what_is_set_up_wrongly_fails(keyed, settings, said):
    status, told = reranked(keyed[0].port, settings)
    assert status == 1
    assert said in told
