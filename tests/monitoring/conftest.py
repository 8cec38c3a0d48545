import pytest

from app.cli.index import DEMO, build_demo
from app.settings import Settings
from monitoring.check import SETTINGS, exercise
from retrieval.encoder.hash_encoder import HashEncoder
from tests.conftest import quiet, serving
from tests.monitoring.asked import Sample, samples


def fail():
    raise RuntimeError("a fault, on purpose")


@pytest.fixture(scope="session")
def exercised(tmp_path_factory) -> list[Sample]:
    """/metrics of a real service after requests of every kind and one fault."""
    settings = Settings(**SETTINGS, data_dir=tmp_path_factory.mktemp("data"))
    build_demo(settings, HashEncoder(), quiet)
    with serving(settings) as client:
        client.app.add_api_route("/fault", fail)
        exercise(client, DEMO)
        assert client.get("/fault").status_code == 500
        return samples(client.get("/metrics").text)
