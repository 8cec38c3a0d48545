import re
import subprocess

import pytest
import redis
import yaml
from compose_pydantic import ComposeSpecification
from redis.backoff import NoBackoff
from redis.retry import Retry

from app.server.asgi import _STOPS_WITHIN_S
from monitoring.rows import ALERTS, DASHBOARD
from scripts.trial import free_port
from tests.deploy.files import ROOT, SECRETS, compose, seconds, settings_of
from tests.redis_server import _binary
from tests.waiting import PATIENT_S, eventually

FULL, MINIMAL = "docker-compose.yml", "compose.minimal.yml"
REDIS = {"redis": "allkeys-lru", "redis-quotas": "noeviction"}  # each with what it does when it is full
SERVICES = [(name, service) for name in (FULL, MINIMAL) for service in compose(name)["services"]]
AT_ONCE = Retry(NoBackoff(), 0)  # by default a client asks a lost server for seconds
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")


def service(name, which="api"):
    return compose(name)["services"][which]


@pytest.mark.parametrize("name", [FULL, MINIMAL])
def test_the_file_is_of_the_specification_and_lets_nobody_in_without_a_key(name, monkeypatch):
    file = compose(name)
    assert ComposeSpecification(**{key: value for key, value in file.items() if not key.startswith("x-")}).services
    found = settings_of(service(name)["environment"], monkeypatch)
    assert found.auth.enabled
    assert not found.auth.force_open


@pytest.mark.parametrize(("name", "which"), SERVICES)
def test_every_service_is_hardened_bounded_and_watched(name, which):
    found = service(name, which)
    assert found["read_only"] is True
    assert found["cap_drop"] == ["ALL"]
    assert found["security_opt"] == ["no-new-privileges:true"]
    assert found["restart"] == "unless-stopped"
    assert {"max-size", "max-file"} <= found["logging"]["options"].keys()
    assert {"cpus", "memory", "pids"} <= found["deploy"]["resources"]["limits"].keys()
    assert not {"privileged", "cap_add", "network_mode", "pid", "ipc", "devices"} & found.keys()
    user = found.get("user") or re.findall(r"^USER (\S+)", DOCKERFILE, re.MULTILINE)[-1]
    assert user.split(":")[0] not in {"0", "root"}
    assert "healthcheck" in found or ("build" in found and "/health/ready" in DOCKERFILE)
    assert all(re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port) for port in found.get("ports", []))
    for source, target in (mount.split(":", 1) for mount in found.get("volumes", [])):
        file = source.startswith(".") and (ROOT / source).exists() and target.endswith(":ro")
        assert file or source in compose(name)["volumes"], source


@pytest.mark.parametrize("name", [FULL, MINIMAL])
def test_the_service_is_what_the_image_makes_it(name, monkeypatch):
    found = service(name)
    exposed = re.findall(r"^EXPOSE (.*)$", DOCKERFILE, re.MULTILINE)[0].split()
    assert [port.split(":")[-1] for port in found["ports"]] == ["8000"]
    assert "8000" in exposed
    assert found["volumes"] == ["data:/data"]  # the image's QRERANK_DATA_DIR
    assert "QRERANK_DATA_DIR=/data" in DOCKERFILE
    assert found["tmpfs"][0].startswith("/tmp:")  # noqa: S108 - the container's
    drain = settings_of(found["environment"], monkeypatch).engine.drain_seconds
    assert seconds(found["stop_grace_period"]) >= drain + _STOPS_WITHIN_S + 5


def test_prometheus_alone_reads_the_metrics_and_nobody_but_the_service_reaches_redis(monkeypatch):
    file = compose(FULL)
    port = settings_of(service(FULL)["environment"], monkeypatch).operations.metrics_port
    assert str(port) in re.findall(r"^EXPOSE (.*)$", DOCKERFILE, re.MULTILINE)[0].split()
    assert not [each for each in file["services"]["api"]["ports"] if each.endswith(f":{port}")]
    assert f'targets: ["api:{port}"]' in (ROOT / "deploy" / "prometheus.yml").read_text(encoding="utf-8")
    with_redis = [name for name, found in file["services"].items() if "states" in found.get("networks", [])]
    assert sorted(with_redis) == ["api", *REDIS]
    assert file["networks"]["states"]["internal"] is True
    for name in REDIS:
        assert file["services"][name]["networks"] == ["states"]
        assert "ports" not in file["services"][name]


def test_passwords_are_of_the_environment_file_which_git_ignores():
    text = (ROOT / FULL).read_text(encoding="utf-8")
    example = (ROOT / "deploy" / "compose.env.example").read_text(encoding="utf-8")
    asked = {name for name, _ in re.findall(r"(?<!\$)\$\{(\w+)(:\?[^}]+)\}", text)}
    assert asked == set(re.findall(r"^(\w+)=$", example, re.MULTILINE)) == SECRETS.keys()
    assert ".env" in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert not re.search(r"(PASSWORD|SECRET|PEPPER)\w*: *[\w\"']", text)


def test_every_image_is_carried_to_where_there_is_no_network():
    page = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
    images = {service["image"] for service in compose(FULL)["services"].values()}
    assert set(re.search(r"docker save (.*?) \|", page)[1].split()) == images


def loaded(path):
    return yaml.safe_load((ROOT / "deploy" / path).read_text(encoding="utf-8"))


def mounts(which):
    return dict(mount.split(":")[:2] for mount in service(FULL, which)["volumes"])


def test_grafana_reads_the_dashboard_that_the_metrics_make():
    (provider,) = loaded("grafana/provisioning/dashboards/quantum-rerank.yml")["providers"]
    target = mounts("grafana")[f"./{DASHBOARD.relative_to(ROOT)}"]
    assert target.rsplit("/", 1)[0] == provider["options"]["path"]
    assert mounts("grafana")["./deploy/grafana/provisioning"] == "/etc/grafana/provisioning"


def test_its_source_is_the_prometheus_of_the_file():
    (source,) = loaded("grafana/provisioning/datasources/prometheus.yml")["datasources"]
    assert source["type"] == "prometheus"
    assert source["isDefault"]  # which the dashboard's variable begins with
    assert source["url"] == "http://prometheus:9090"
    config = loaded("prometheus.yml")
    assert source["jsonData"]["timeInterval"] == config["global"]["scrape_interval"]


def test_prometheus_knows_the_service_by_the_job_of_the_rules():
    config = loaded("prometheus.yml")
    assert [job["job_name"] for job in config["scrape_configs"]] == ["quantum-rerank"]
    mounted = mounts("prometheus")
    folder = mounted["./deploy/prometheus.yml"].rsplit("/", 1)[0]
    assert [f"{folder}/{name}" for name in config["rule_files"]] == [mounted[f"./{ALERTS.relative_to(ROOT)}"]]


def answers(client):
    try:
        return client.ping()
    except redis.ConnectionError:
        return False


@pytest.fixture(params=REDIS)
def redis_of_the_file(tmp_path, request):
    """Each Redis as the file starts it, but for its port."""
    (tmp_path / "redis-server").symlink_to(_binary())
    found = service(FULL, request.param)
    shell, flag, text = found["command"]
    port = free_port()
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", **found["environment"], **SECRETS}
    command = [shell, flag, f"{text.replace('$$', '$')} --port {port} --bind 127.0.0.1"]
    process = subprocess.Popen(command, env=environment, cwd=tmp_path, stdout=subprocess.DEVNULL)  # noqa: S603 - ours
    client = redis.Redis(port=port, password=SECRETS["REDIS_PASSWORD"], retry=AT_ONCE)
    eventually(lambda: answers(client))
    yield client, port, request.param
    client.close()
    process.terminate()
    process.wait(PATIENT_S)


def test_redis_keeps_nothing_and_opens_to_the_password_alone(redis_of_the_file, tmp_path):
    client, port, name = redis_of_the_file
    told = client.config_get("save", "appendonly", "maxmemory", "maxmemory-policy")
    assert (told["save"], told["appendonly"], told["maxmemory-policy"]) == ("", "no", REDIS[name])
    limit = int(service(FULL, name)["deploy"]["resources"]["limits"]["memory"].removesuffix("M")) * 2**20
    assert 0 < int(told["maxmemory"]) <= 0.85 * limit
    with redis.Redis(port=port, retry=AT_ONCE) as stranger, pytest.raises(redis.AuthenticationError):
        stranger.ping()
    url = service(FULL)["environment"][f"QRERANK_{'CACHE' if name == 'redis' else 'QUOTAS'}__REDIS_URL"]
    with redis.Redis.from_url(url.replace(f"@{name}:6379", f"@127.0.0.1:{port}")) as ours:
        assert ours.set("text", "states")
    client.shutdown(nosave=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["redis-server"]
