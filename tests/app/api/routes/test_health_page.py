"""docs/operations/health.md is correct: its example, its tables, and its probes."""

import json
import re

import pytest
import yaml

from app.api.dialects.health import HealthResponse
from app.settings import Settings
from retrieval.encoder.hash_encoder import HashEncoder
from retrieval.store.indexer import build
from retrieval.text.passages import Passage
from tests.conftest import serving, wait_for_redis
from tests.embeddings_peer import as_second_model, serving_peer
from tests.paths import ROOT
from tests.redis_server import RedisServer
from tests.retrieval.cross_encoder.tiny_models import save_onnx

PAGE = (ROOT / "docs" / "operations" / "health.md").read_text(encoding="utf-8")


def block(language):
    (text,) = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return text


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    """A service with all components configured."""
    folder = tmp_path_factory.mktemp("data")
    build(folder / "collections" / "demo", [Passage("p", "", "an owl")], HashEncoder(), lambda *_: None)
    (folder / "keys.json").write_text('{"keys": []}')
    with (
        RedisServer() as redis,
        serving_peer(tmp_path_factory.mktemp("peer"), {"hash": HashEncoder()}) as peer,
        pytest.MonkeyPatch.context() as patch,
    ):
        wait_for_redis(patch)
        patch.setattr("app.engine.engine.check_pairs", lambda _: None)  # the tiny model knows nothing of birds
        settings = Settings(
            model="hash",
            **as_second_model(peer),
            data_dir=folder,
            model_dir=folder / "models",
            default_collection="demo",
            cross_encoder={"model": str(save_onnx(folder / "cross"))},
            index={"url": "milvus://127.0.0.1:9"},
            cache={"redis_url": redis.url},
            quotas={"redis_timeout_s": 10},
            auth={"enabled": True, "jwt": {"jwks_file": folder / "keys.json"}},
        )
        with serving(settings) as started:
            yield started


def shape(value):
    """The members and their types."""
    if isinstance(value, dict):
        return {name: shape(each) for name, each in value.items()}
    return [shape(each) for each in value] if isinstance(value, list) else type(value)


def test_the_example_has_the_shape_of_a_real_report(client):
    example = json.loads(block("json"))
    HealthResponse.model_validate(example, strict=True)
    report = client.get("/health/detailed").json()
    assert example.keys() == report.keys()
    assert shape(example["targets"]).keys() == report["targets"].keys()
    assert {name: target["target"] for name, target in example["targets"].items()} == {
        name: target["target"] for name, target in report["targets"].items()
    }
    for name, component in example["components"].items():
        assert shape(component["facts"]) == shape(report["components"][name]["facts"]), name


def test_the_table_names_every_component(client):
    names = re.findall(r"^\| `(\w+)` \| (?:always|with|once)", PAGE, re.MULTILINE)
    assert names == list(client.get("/health/detailed").json()["components"])


def test_the_probes_are_answered(client):
    probes = yaml.safe_load(block("yaml"))
    assert probes.keys() == {"startupProbe", "livenessProbe", "readinessProbe"}
    for probe in probes.values():
        assert client.get(probe["httpGet"]["path"]).status_code == 200


def test_the_defaults_of_the_settings_are_correct():
    defaults = dict(re.findall(r"^\| `QRERANK_HEALTH__(\w+)` \| (\d+) \|", PAGE, re.MULTILINE))
    assert {name.lower(): float(value) for name, value in defaults.items()} == Settings().health.model_dump()
