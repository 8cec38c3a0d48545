import shlex
import shutil
import subprocess
from collections import defaultdict

import pytest

from app.server.asgi import _STOPS_WITHIN_S
from tests.deploy.files import ROOT, seconds, settings_of

UNIT = ROOT / "deploy" / "systemd" / "quantum-rerank.service"
TEXT = UNIT.read_text(encoding="utf-8")
SYSTEMD = shutil.which("systemd-analyze")
needs_systemd = pytest.mark.skipif(not SYSTEMD, reason="systemd is not installed")


def options(text=TEXT):
    found, section = defaultdict(list), ""
    for line in text.splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line and not line.startswith("#"):
            name, _, value = line.partition("=")
            found[section, name].append(value)
    return found


def analyzed(*words):
    done = subprocess.run([SYSTEMD, *map(str, words)], capture_output=True, text=True, check=False)  # noqa: S603 - ours
    return done.returncode, done.stderr


def one(name):
    (value,) = options()["Service", name]
    return value


def environment():
    return dict(pair.split("=", 1) for line in options()["Service", "Environment"] for pair in shlex.split(line))


def test_its_variables_are_settings_and_it_may_take_the_time_that_the_service_takes_to_stop(monkeypatch):
    found = settings_of(environment(), monkeypatch)
    assert str(found.data_dir) == f"/var/lib/{one('StateDirectory')}"
    assert str(found.model_dir) == f"/var/cache/{one('CacheDirectory')}"
    assert seconds(one("TimeoutStopSec")) >= found.engine.drain_seconds + _STOPS_WITHIN_S + 5
    assert (one("KillSignal"), one("KillMode")) == ("SIGTERM", "mixed")  # the workers are the main process's


def test_it_is_hardened_and_runs_as_a_user_of_its_own_with_secrets_that_root_reads():
    wanted = {
        "User": "quantum-rerank",
        "Group": "quantum-rerank",
        "EnvironmentFile": "-/etc/quantum-rerank/environment",
        "ProtectSystem": "strict",
        "ProtectHome": "yes",
        "PrivateTmp": "yes",
        "PrivateDevices": "yes",
        "NoNewPrivileges": "yes",
        "CapabilityBoundingSet": "",
        "RestrictAddressFamilies": "AF_INET AF_INET6 AF_UNIX",
        "RestrictNamespaces": "yes",
        "UMask": "0077",
    }
    assert {name: one(name) for name in wanted} == wanted
    assert one("ExecStart").startswith("/opt/quantum-rerank/bin/qrerank serve --host 127.0.0.1 ")
    assert options()["Service", "SystemCallFilter"] == ["@system-service", "~@privileged"]


@needs_systemd
def test_systemd_understands_every_line(tmp_path):
    unit = tmp_path / UNIT.name
    unit.write_text(TEXT.replace("/opt/quantum-rerank/bin/qrerank", "/bin/true"))
    assert analyzed("verify", unit) == (0, "")
    unit.write_text(unit.read_text().replace("ProtectHome=", "ProtectHouse="))
    assert "ProtectHouse" in analyzed("verify", unit)[1]


@needs_systemd
@pytest.mark.parametrize(("threshold", "status"), [(15, 0), (5, 1)])
def test_systemd_finds_little_exposed(threshold, status):
    """In tenths; 9.6 is what a unit without any of this has."""
    assert analyzed("security", "--offline=true", f"--threshold={threshold}", "--no-pager", UNIT)[0] == status
