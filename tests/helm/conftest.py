"""What needs Helm's engine runs in an environment of its own: `make chart`."""

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("helm_python") else ["test_*.py"]

if find_spec("helm_python"):
    import pytest

    from scripts.chart.engine import chart

    @pytest.fixture(scope="session")
    def helm():
        with chart() as loaded:
            yield loaded

    def pytest_collection_modifyitems(items):
        for item in items:
            item.add_marker(pytest.mark.chart)
