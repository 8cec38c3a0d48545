import subprocess
import sys

import pytest

from scripts.rehearsal.place import Place
from scripts.rollout.releases import NOW, install, next_version


@pytest.mark.parametrize(("now", "then"), [("0.1.0", "0.1.1"), ("0.9.9", "0.9.10"), ("2.0.0rc1", "2.0.0rc2")])
def test_the_next_version(now, then):
    assert next_version(now) == then


def test_a_version_without_a_number_at_its_end_has_no_next_one():
    with pytest.raises(ValueError, match=r"0\.1\.0a does not end in a number"):
        next_version("0.1.0a")


def test_an_installed_version_is_found_first_and_says_its_number(tmp_path):
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / ".venv").symlink_to(sys.prefix)
    found = install(Place(tmp_path / "here", {"PATH": "/usr/bin:/bin"}), tmp_path / "there", "9.8.7")
    told = "import app, importlib.metadata as m; print(m.version('quantum-rerank'), app.__file__)"
    command = [found.folder / ".venv" / "bin" / "python", "-c", told]
    done = subprocess.run(command, cwd=tmp_path, env=found.environment, capture_output=True, text=True, check=True)  # noqa: S603 - ours
    assert done.stdout.split() == ["9.8.7", str(tmp_path / "there" / "site" / "app" / "__init__.py")]
    assert NOW != "9.8.7"
    assert "serve" in found.qrerank("--help")
