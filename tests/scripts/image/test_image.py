"""The choice of the container engine, with fake programs on the PATH, and forbidden components."""

import json

import pytest

from scripts.image.__main__ import NoEngine, choose
from scripts.image.trial import unwanted


@pytest.fixture
def program(tmp_path, monkeypatch):
    """A function that adds a program with an exit status to an otherwise empty PATH."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))

    def put(name, status):
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\nexit {status}\n")
        (tmp_path / "bin" / name).chmod(0o755)

    return put


def test_docker_comes_first_then_podman_then_the_scripts_and_a_client_without_an_engine_does_not_count(
    program, tmp_path
):
    (tmp_path / "build_image.sh").touch()
    assert choose(None, tmp_path).name == "buildah"
    program("docker", 1)
    program("podman", 0)
    assert choose(None, tmp_path).name == "podman"
    program("docker", 0)
    assert choose(None, tmp_path).name == "docker"
    assert choose("buildah", tmp_path).name == "buildah"


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        (None, "docker cannot reach an engine.*podman is not installed.*no-tools has no build_image.sh"),
        ("runc", "'runc' is not an engine: use one of docker, podman, buildah"),
    ],
)
def test_where_there_is_none_the_message_says_what_would_do(program, tmp_path, wanted, reason):
    program("docker", 1)
    with pytest.raises(NoEngine, match=reason):
        choose(wanted, tmp_path / "no-tools")


def test_torch_among_the_components_is_found():
    bill = json.dumps({"components": [{"name": "Torch"}, {"name": "numpy"}]})
    assert unwanted(json.loads(bill)) == {"torch"}
