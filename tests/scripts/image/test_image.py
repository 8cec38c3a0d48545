"""The Dockerfile's configuration, the files of a build context, the choice of the engine, forbidden components."""

import json
import re
import subprocess
import sys
import threading
from fnmatch import fnmatch
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from retrieval.encoder.weights import DEFAULT_MODEL
from scripts.image.__main__ import choose
from scripts.image.trial import unwanted

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "Dockerfile").read_text()
LINES = re.sub(r"^#.*\n", "", TEXT, flags=re.MULTILINE).replace("\\\n", " ").splitlines()
STEPS = [(words[0], words[1]) for line in LINES if len(words := line.split(maxsplit=1)) == 2]
LAST = STEPS[max(place for place, (word, _) in enumerate(STEPS) if word == "FROM") :]
IGNORED = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]


def goes_in(path: str) -> bool:
    """Whether a file is in the build context: the last pattern that matches it or a parent folder decides."""
    above = ["/".join(path.split("/")[:depth]) for depth in range(1, path.count("/") + 2)]
    kept = True
    for pattern in IGNORED:
        bare = pattern.removeprefix("!").removeprefix("**/")
        anywhere = "**/" in pattern
        if any(fnmatch(one.rpartition("/")[2] if anywhere else one, bare) for one in above):
            kept = pattern.startswith("!")
    return kept


OUT = """.git/config .venv/bin/python tests/conftest.py dist/a.whl Makefile .env auth.sqlite3 id_rsa scripts/trial.py
helm/quantum-rerank/values.yaml app/__pycache__/cli.pyc retrieval/encoder/shipped/model/int8.bin models/.gitignore"""


@pytest.mark.parametrize("path", OUT.split())
def test_what_no_stage_needs_stays_out(path):
    assert not goes_in(path)
    assert goes_in("app/auth/migrations/env.py")


def test_every_stage_is_built_on_the_one_base_that_may_be_given_and_means_the_same_model():
    assert STEPS[0] == ("ARG", "BASE=python:3.11-slim-bookworm")
    stages = {name for word, rest in STEPS if word == "FROM" for name in re.findall(r" AS (\w+)", rest)}
    bases = {rest.split()[0] for word, rest in STEPS if word == "FROM"}
    assert bases - stages == {"${BASE}"}
    assert {rest for word, rest in STEPS if word == "ARG" and rest.startswith("MODEL")} == {f"MODEL={DEFAULT_MODEL}"}


def test_every_package_is_installed_by_its_hash_but_torch_and_our_own():
    installs = [options for line in LINES for options in re.findall(r"pip[^&]* install ([^&]*)", line)]
    assert len(installs) == 6
    for options in installs:
        assert "--require-hashes" in options or "torch==2.13.0" in options or "--no-deps --no-index" in options
    assert '"torch==2.13.0"' in (ROOT / "pyproject.toml").read_text()


def test_it_runs_as_nobody_that_the_machine_knows():
    told = dict(LAST)
    assert (told["USER"], told["STOPSIGNAL"], told["EXPOSE"]) == ("10001:10001", "SIGTERM", "8000 9090")
    assert json.loads(told["VOLUME"]) == ["/data", "/tmp"]  # noqa: S108 - the image's
    assert (json.loads(told["ENTRYPOINT"]), json.loads(told["CMD"])) == (["qrerank"], ["serve", "--host", "0.0.0.0"])  # noqa: S104


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1)])
def test_the_healthcheck_says_what_readiness_does(status, code):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status if self.path == "/health/ready" else 404)
            self.end_headers()

        def log_message(self, *_):
            pass

    words = json.loads(re.search(r"^HEALTHCHECK.*CMD (\[.*\])$", "\n".join(LINES), re.MULTILINE)[1])
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        command = [sys.executable, *(word.replace("8000", str(server.server_address[1])) for word in words[1:])]
        assert subprocess.run(command, capture_output=True, check=False).returncode == code  # noqa: S603 - our own
        server.shutdown()


@pytest.fixture
def program(tmp_path, monkeypatch):
    """A function that adds a program with an exit status to an otherwise empty PATH."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))

    def put(name, status):
        (tmp_path / "bin").mkdir(exist_ok=True)
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\nexit {status}\n")
        (tmp_path / "bin" / name).chmod(0o755)

    return put


def test_docker_comes_first_then_podman_then_the_scripts_and_a_client_without_an_engine_does_not_count(
    program, tmp_path
):
    program("docker", 1)
    reasons = "docker cannot reach an engine.*podman is not installed.*no-tools has no build_image.sh"
    with pytest.raises(RuntimeError, match=reasons):
        choose(None, tmp_path / "no-tools")
    (tmp_path / "build_image.sh").touch()
    assert choose(None, tmp_path).name == "buildah"
    program("podman", 0)
    assert choose(None, tmp_path).name == "podman"
    program("docker", 0)
    assert choose(None, tmp_path).name == "docker"
    assert choose("buildah", tmp_path).name == "buildah"
    with pytest.raises(RuntimeError, match="'runc' is not an engine: use one of docker, podman, buildah"):
        choose("runc", tmp_path)


def test_torch_among_the_components_is_found():
    assert unwanted({"components": [{"name": "Torch"}, {"name": "numpy"}]}) == {"torch"}
