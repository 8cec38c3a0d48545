"""Which engine is taken, by programs that are really run."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.image.buildah import Buildah, _server, in_megabytes
from scripts.image.engines import NoEngine, choose


@pytest.fixture
def path(tmp_path, monkeypatch):
    """A function that puts a program on an otherwise empty PATH, which ends with a status."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def put(name, status):
        (folder / name).write_text(f"#!/bin/sh\nexit {status}\n")
        (folder / name).chmod(0o755)

    return put


@pytest.fixture
def tools(tmp_path):
    folder = tmp_path / "tools"
    folder.mkdir()
    (folder / "build_image.sh").touch()
    return folder


def test_docker_comes_first_then_podman_then_the_scripts(path, tools):
    assert isinstance(choose(None, tools), Buildah)
    path("podman", 0)
    assert choose(None, tools).name == "podman"
    path("docker", 0)
    assert choose(None, tools).name == "docker"


def test_a_client_whose_engine_does_not_answer_is_passed_over(path, tools):
    path("docker", 1)
    assert choose(None, tools).name == "buildah"


def test_one_may_be_asked_for(path, tools):
    path("docker", 0)
    assert choose("buildah", tools).name == "buildah"


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (None, "nothing here that builds images; docker cannot reach an engine.*no-tools has no build_image.sh"),
        ("docker", "docker cannot reach an engine"),
        ("buildah", "no-tools has no build_image.sh"),
        ("runc", "'runc' is no engine: one of docker, podman, buildah"),
    ],
)
def test_where_there_is_none_it_is_said_what_would_do(path, tmp_path, wanted, said):
    path("docker", 1)
    with pytest.raises(NoEngine, match=said):
        choose(wanted, tmp_path / "no-tools")


@pytest.mark.parametrize(
    ("size", "megabytes"), [("512 B", 0.000512), ("3.5 kB", 0.0035), ("712 MB", 712), ("1.02 GB", 1020)]
)
def test_sizes_are_read_as_buildah_writes_them(size, megabytes):
    assert in_megabytes(size) == pytest.approx(megabytes)


def test_the_service_is_found_among_the_processes_of_its_container(tmp_path):
    program = tmp_path / "bin" / "qrerank"
    program.parent.mkdir()
    program.write_text("import time; print('up', flush=True); time.sleep(60)\n")
    shell = ["/bin/sh", "-c", f"{sys.executable} {program} serve; true"]
    with subprocess.Popen(shell, stdout=subprocess.PIPE) as container:  # noqa: S603 - our own
        container.stdout.readline()
        service = _server(container.pid)
        try:
            assert str(program).encode() in Path(f"/proc/{service}/cmdline").read_bytes()
        finally:
            os.kill(service, signal.SIGKILL)
    with subprocess.Popen(["/bin/sleep", "60"]) as other:
        with pytest.raises(RuntimeError, match="runs no service"):
            _server(other.pid)
        other.kill()
