import pytest

from tests.retrieval.store.tables import Tables


@pytest.fixture
def database(tmp_path):
    return Tables(tmp_path, create=True)


@pytest.fixture(params=[None, "nfs4"], ids=["local", "network"])
def disk(request, monkeypatch):
    """What the folder of the collection is on, as far as the store can tell."""
    monkeypatch.setattr("retrieval.store.connection.network_file_system", lambda _: request.param)
    return request.param
