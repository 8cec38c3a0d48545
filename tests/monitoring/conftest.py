from collections.abc import Iterator

import pytest

from app.cli.index import DEMO, build_demo
from app.settings import Settings
from monitoring.check import SETTINGS, exercise
from retrieval.encoder.hash_encoder import HashEncoder
from tests.conftest import quiet, serving
from tests.embeddings_peer import as_second_model, serving_peer
from tests.monitoring.asked import Sample, samples


def fail():
    raise RuntimeError("a fault, on purpose")


@pytest.fixture(scope="session")
def exercised(tmp_path_factory) -> Iterator[list[Sample]]:
    """/metrics of a real service after requests of every kind and one fault."""
    with serving_peer(tmp_path_factory.mktemp("peer"), {"hash": HashEncoder()}) as peer:
        yield _exercised(Settings(**SETTINGS, **as_second_model(peer), data_dir=tmp_path_factory.mktemp("data")))


def _exercised(settings: Settings) -> list[Sample]:
    build_demo(settings, HashEncoder(), quiet)
    with serving(settings) as client:
        client.app.add_api_route("/fault", fail)
        exercise(client, DEMO)
        assert client.get("/fault").status_code == 500
        return samples(client.get("/metrics").text)
