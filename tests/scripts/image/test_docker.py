"""What is asked of Docker's command line, by a program that notes what it was asked and answers as Docker does."""

import pytest

from scripts.image.docker import Docker

PROGRAM = """#!/bin/sh
printf '%s\\n' "$*" >> "$NOTED"
case "$*" in
  "image inspect"*) echo '[{"Size": 812000000, "RepoDigests": ["else/where@sha256:0", "here/it@sha256:1"]}]' ;;
  "container inspect"*)
    echo '[{"State": {"Running": true, "ExitCode": 3}, "Config": {"Healthcheck": {"Test": ["CMD", "ask"]}}}]' ;;
  *" cat /proc/1/status") printf 'VmRSS:\\t1000 kB\\n' ;;
  *" ask") exit 1 ;;
  create*) printf 'pulling\\nc0ffee\\n' ;;
  logs*) echo out; echo err >&2 ;;
esac
"""


@pytest.fixture
def noted(tmp_path, monkeypatch):
    """The file of the commands that were given."""
    for name in ("docker", "podman"):
        (tmp_path / name).write_text(PROGRAM)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("NOTED", str(tmp_path / "noted"))
    return tmp_path / "noted"


def test_a_container_is_asked_stopped_and_removed(noted):
    with Docker("docker").run("it:1", {"A": "1"}, locked=False) as container:
        assert container.alive()
        assert container.resident_mb() == pytest.approx(1.024)
        assert container.health() == 1
        assert container.log() == "out\nerr\n"
        assert container.stop() == 3
    first, *_, last = noted.read_text().splitlines()
    assert first == f"create --cpus 2 --publish 127.0.0.1:{container.port}:8000 --env A=1 it:1"
    assert noted.read_text().splitlines()[1] == "start c0ffee"
    assert "stop -t 40 c0ffee" in noted.read_text()
    assert last == "rm --force --volumes c0ffee"


def test_locked_means_a_root_to_read_and_nothing_to_be_allowed(noted):
    with Docker("docker").run("it:1", {}, locked=True):
        pass
    started = noted.read_text().splitlines()[0]
    for option in ("--read-only", "--tmpfs /tmp", "--cap-drop ALL", "--security-opt no-new-privileges"):
        assert option in started


def test_a_container_is_removed_whatever_happens(noted):
    with pytest.raises(ZeroDivisionError), Docker("docker").run("it:1", {}, locked=False):
        _ = 1 / 0
    assert noted.read_text().splitlines()[-1].startswith("rm ")


@pytest.mark.parametrize(("program", "form"), [("docker", ""), ("podman", "--format docker ")])
def test_podman_builds_in_the_format_that_has_a_healthcheck(noted, tmp_path, program, form):
    Docker(program).build(tmp_path, "it:1", {"MODEL": "m"})
    assert noted.read_text() == f"build {form}--build-arg MODEL=m --tag it:1 {tmp_path}\n"


def test_an_image_has_a_size_and_once_pushed_a_digest(noted):
    engine = Docker("docker")
    assert engine.size_mb("it:1") == 812
    assert engine.push("it:1", "here/it:v1") == "sha256:1"
    assert noted.read_text().splitlines()[1:3] == ["tag it:1 here/it:v1", "push here/it:v1"]
