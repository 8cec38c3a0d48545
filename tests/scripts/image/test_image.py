"""The choice of the container engine, with fake programs on the PATH, and forbidden components."""

import pytest

from scripts.image.__main__ import NoEngine, choose
from scripts.image.trial import unwanted


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
    with pytest.raises(NoEngine, match=reasons):
        choose(None, tmp_path / "no-tools")
    (tmp_path / "build_image.sh").touch()
    assert choose(None, tmp_path).name == "buildah"
    program("podman", 0)
    assert choose(None, tmp_path).name == "podman"
    program("docker", 0)
    assert choose(None, tmp_path).name == "docker"
    assert choose("buildah", tmp_path).name == "buildah"
    with pytest.raises(NoEngine, match="'runc' is not an engine: use one of docker, podman, buildah"):
        choose("runc", tmp_path)


def test_torch_among_the_components_is_found():
    assert unwanted({"components": [{"name": "Torch"}, {"name": "numpy"}]}) == {"torch"}
