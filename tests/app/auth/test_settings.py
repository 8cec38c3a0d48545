"""Settings of authentication: invalid values are rejected, and secrets are not shown."""

import pytest
from pydantic import ValidationError

from app.settings import Settings

HIDDEN = "a-hidden-text-of-thirty-two-characters"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("KEYS", f'["{HIDDEN}"]', "authentication is off"),
        ("KEYS", '["hidden"]', "16"),
        ("PEPPER", "hidden", "32"),
        ("DATABASE_URL", "sqlite:///hidden", "postgresql://"),
        ("JWT__SECRET", HIDDEN, "authentication is off"),
        ("JWT__SECRET", "hidden", "32"),
        ("JWT__SECRET", f"-----BEGIN PUBLIC KEY----- {HIDDEN}", "HS256 must not"),
        ("JWT__JWKS_URL", "http://issuer.example/hidden", "https://"),
        ("JWT__JWKS_URL", "file:///hidden", "https://"),
        ("JWT__JWKS_URL", "https://user:hidden@issuer.example/", "no user and password"),
        ("JWT__ALGORITHMS", '["none"]', "RS256"),
        ("JWT__ALGORITHMS", "[]", "at least 1"),
        ("JWT__TIER", "gold", "standard"),
    ],
)
def test_error_messages_do_not_contain_the_value(monkeypatch, name, value, message):
    monkeypatch.setenv(f"QRERANK_AUTH__{name}", value)
    with pytest.raises(ValidationError, match=message) as refused:
        Settings()
    assert "hidden" not in str(refused.value)


def test_jwks_file_and_jwks_url_exclude_each_other(monkeypatch):
    monkeypatch.setenv("QRERANK_AUTH__ENABLED", "true")
    monkeypatch.setenv("QRERANK_AUTH__JWT__JWKS_URL", "http://127.0.0.1:1/keys")
    assert Settings().auth.jwt.taken
    monkeypatch.setenv("QRERANK_AUTH__JWT__JWKS_FILE", "keys.json")
    with pytest.raises(ValidationError, match="not both"):
        Settings()


def test_secrets_do_not_show(monkeypatch):
    monkeypatch.setenv("QRERANK_AUTH__ENABLED", "true")
    for name in ("PEPPER", "JWT__SECRET"):
        monkeypatch.setenv(f"QRERANK_AUTH__{name}", HIDDEN)
    monkeypatch.setenv("QRERANK_AUTH__KEYS", f'["{HIDDEN}"]')
    monkeypatch.setenv("QRERANK_AUTH__DATABASE_URL", f"postgresql://user:{HIDDEN}@host/name")
    settings = Settings()
    assert settings.auth.jwt.secret.get_secret_value() == HIDDEN
    assert HIDDEN not in repr(settings) + str(settings) + settings.model_dump_json()
