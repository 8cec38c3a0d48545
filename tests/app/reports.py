"""Reads /health/detailed, for tests of failures."""

from app.api.dialects.health import HealthResponse
from app.settings import Settings

AT_ONCE = {"probe_every_s": 0, "probe_deadline_ms": 600_000}  # no cached results, no timeouts


def settings_of(folder, **others):
    return Settings(**{"model": "hash", "data_dir": folder, "health": AT_ONCE} | others)


def report(client, status=200):
    """The body of /health/detailed, validated against its schema."""
    answer = client.get("/health/detailed")
    assert answer.status_code == status, answer.text
    HealthResponse.model_validate(answer.json(), strict=True)
    assert (answer.headers.get("retry-after") == "5") == (status == 503)
    return answer.json()


def component(client, name, status=200):
    return report(client, status)["components"][name]


def statuses(client):
    """The overall status, and the components that are not ok."""
    answer = client.get("/health/detailed").json()
    return answer["status"], {name for name, component in answer["components"].items() if component["status"] != "ok"}
