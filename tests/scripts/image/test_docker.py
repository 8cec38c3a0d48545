"""The commands that Docker receives, recorded by a fake program."""

import pytest

from scripts.image.docker import Docker

PROGRAM = """#!/bin/sh
printf '%s\\n' "$*" >> "$NOTED"
case "$*" in
  "image inspect"*) echo '[{"RepoDigests": ["else/where@sha256:0", "here/it@sha256:1"]}]' ;;
  create*) printf 'pulling\\nc0ffee\\n' ;;
esac
"""


@pytest.fixture
def noted(tmp_path, monkeypatch):
    """A function that returns the commands so far."""
    (tmp_path / "docker").write_text(PROGRAM)
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("NOTED", str(tmp_path / "noted"))
    return lambda: (tmp_path / "noted").read_text().splitlines()


def test_a_locked_container_may_do_nothing_and_is_removed_whatever_happens(noted):
    with pytest.raises(ZeroDivisionError), Docker("docker").run("it:1", {"A": "1"}, locked=True) as container:
        _ = container.port / 0
    created, started, removed = noted()
    assert created.startswith("create --cpus 2 --publish 127.0.0.1:")
    assert created.endswith(
        ":8000 --env A=1 --read-only --tmpfs /tmp:rw,mode=1777 --cap-drop ALL --security-opt no-new-privileges it:1"
    )
    assert (started, removed) == ("start c0ffee", "rm --force --volumes c0ffee")
