import pytest

from tests.retrieval.store.tables import Tables


@pytest.fixture
def database(tmp_path):
    return Tables(tmp_path, create=True)
