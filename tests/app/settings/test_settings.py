from pathlib import Path

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
        ("QRERANK_AUTH__KEYS", '["a-key-that-is-not-used"]'),
        ("QRERANK_MODELS", '["all-MiniLM-L6-v2"]'),
        ("QRERANK_MODELS", '["hash", "hash"]'),
        ("QRERANK_ALIASES", '{"rerank-v3.5": "nobody"}'),
        ("QRERANK_ALIASES", '{"rerank-v3.5": "all-MiniLM-L6-v2:magic"}'),
        ("QRERANK_DEFAULT_COLLECTION", "../x"),
        ("QRERANK_QUOTAS__GOLD__DOCUMENTS", "5"),
        ("QRERANK_QUOTAS__UNLIMITED__DOCUMENTS", "5"),
        ("QRERANK_QUOTAS__PUBLIC__DOCUMENTS", "0"),
        ("QRERANK_DATA_DIR", ""),
        ("QRERANK_DATA_DIR", "~nobody-has-this-name/data"),
        ("QRERANK_PARAMETERS", ""),
        ("QRERANK_HOSTS", '["https://a.example"]'),
        ("QRERANK_HOSTS", '["a.example:8000"]'),
        ("QRERANK_HOSTS", '["a.example/"]'),
        ("QRERANK_HOSTS", '["a.example."]'),
        ("QRERANK_HOSTS", '["bücher.example"]'),
        ("QRERANK_CORS__ORIGINS", '["https://a.example/"]'),
        ("QRERANK_CORS__ORIGINS", '["a.example"]'),
        ("QRERANK_CORS__ORIGINS", '["https://A.example"]'),
    ],
)
def test_unknown_names_and_values_out_of_bounds_are_refused(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError):
        Settings()


def test_names_of_hosts_and_origins_as_requests_have_them_are_taken():
    Settings(hosts=("a.example", "*.B.example", "*", "10.0.0.5", "::1", "xn--bcher-kva.example", "my_host"))
    Settings(cors={"origins": ["https://a.example", "http://localhost:3000", "http://[::1]:80", "null", "*"]})


def test_a_home_folder_is_expanded_as_in_a_shell(monkeypatch):
    monkeypatch.setenv("HOME", "/home/ada")
    monkeypatch.setenv("QRERANK_DATA_DIR", "~/data")
    assert Settings(model_dir="~").model_dir == Path("/home/ada")
    assert Settings().data_dir == Path("/home/ada/data")


def test_settings_do_not_change():
    with pytest.raises(ValidationError):
        Settings().candidates = 3


def test_keys_models_and_aliases(monkeypatch):
    monkeypatch.setenv("QRERANK_AUTH__ENABLED", "true")
    monkeypatch.setenv("QRERANK_AUTH__KEYS", '["a-key-of-16-chars"]')
    monkeypatch.setenv("QRERANK_MODELS", '["hash"]')
    monkeypatch.setenv("QRERANK_ALIASES", '{"rerank-v3.5": "all-MiniLM-L6-v2:quantum", "tiny": "hash"}')
    settings = Settings()
    assert settings.models == ("hash",)
    assert settings.aliases["tiny"] == "hash"
    assert settings.auth.keys[0].get_secret_value() == "a-key-of-16-chars"
    assert "a-key-of-16-chars" not in repr(settings)
    monkeypatch.setenv("QRERANK_AUTH__KEYS", '["a-key-of-15-char"]'.replace("15-char", "15-ch"))
    with pytest.raises(ValidationError, match="16"):
        Settings()


def test_one_quota_of_a_tier_is_overridden_without_changing_the_others(monkeypatch):
    monkeypatch.setenv("QRERANK_QUOTAS__PUBLIC__REQUESTS_PER_MINUTE", "5")
    monkeypatch.setenv("QRERANK_QUOTAS__PREMIUM", '{"documents": null}')
    quotas = Settings().quotas
    assert tuple(quotas.public.model_dump().values()) == (5, 1000, 10)
    assert tuple(quotas.standard.model_dump().values()) == (300, 10_000, 50)
    assert tuple(quotas.premium.model_dump().values()) == (1000, 50_000, None)
