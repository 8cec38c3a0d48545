import pytest
from pydantic import ValidationError

from app.settings import Settings


def test_names_nest_with_two_underscores(monkeypatch, tmp_path):
    monkeypatch.setenv("QRERANK_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("QRERANK_ENCODER__PRECISION", "f32")
    monkeypatch.setenv("QRERANK_AUTH__ENABLED", "false")
    settings = Settings()
    assert settings.collections_dir == tmp_path / "collections"
    assert settings.encoder.precision == "f32"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("QRERANK_DATADIR", "x"),
        ("QRERANK_ENCODER__PRECISON", "f32"),
        ("QRERANK_CANDIDATES", "0"),
        ("QRERANK_CIRCUIT__QUBITS", "5"),
        ("QRERANK_CIRCUIT__BANDWIDTH", "nan"),
        ("QRERANK_AUTH__ENABLED", "true"),
        ("QRERANK_DEFAULT_COLLECTION", "../x"),
    ],
)
def test_unknown_names_and_values_out_of_bounds_are_refused(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError):
        Settings()


def test_settings_do_not_change():
    with pytest.raises(ValidationError):
        Settings().candidates = 3
