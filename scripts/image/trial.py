"""One life of a container: started, asked, checked, stopped."""

from __future__ import annotations

import json
import secrets
import time
from typing import Any

from scripts import trial
from scripts.image.engine import Container, Engine
from scripts.image.judgement import IDLE, READY, Judgement

PAPERS = "/usr/share/doc/quantum-rerank"
_SETTLED_S = 2
_BUSY_REQUESTS, _BUSY_DOCUMENTS = 20, 100
_FORBIDDEN = {"torch", "transformers", "sentence-transformers", "nncf", "pip", "setuptools"}


def try_image(engine: Engine, tag: str, judgement: Judgement, *, locked: bool) -> None:
    """Start the image with a key of its own, rank with and without that key, check its health, and stop it.

    locked: as `Engine.run`; what is slow to learn, and needs no second look, is then left out.
    """
    key = secrets.token_urlsafe(32)
    environment = {"QRERANK_AUTH__ENABLED": "true", "QRERANK_AUTH__KEYS": json.dumps([key])}
    since = time.monotonic()
    with engine.run(tag, environment, locked=locked) as container:
        try:
            ready_s = trial.seconds_until_ready(container.port, since, container.alive)
            if not locked:
                judgement.measured(READY, ready_s)
                time.sleep(_SETTLED_S)
                judgement.measured(IDLE, container.resident_mb())
            _ask(container, key, judgement)
            if not locked:
                _look_inside(container, key, judgement)
            judgement.found("HEALTHCHECK", f"exit status {(status := container.health())}", status == 0)
            judgement.found("stopped by SIGTERM", f"exit status {(status := container.stop())}", status == 0)
        except (RuntimeError, OSError):
            print(container.log()[-4000:], flush=True)
            raise


def _ask(container: Container, key: str, judgement: Judgement) -> None:
    judgement.found("POST /rerank", "the right document first", trial.ranks(container.port, key))
    body = {"query": trial.QUERY, "documents": trial.DOCUMENTS}
    status, _ = trial.ask(container.port, "POST", "/rerank", body)
    judgement.found("POST /rerank without a key", str(status), status == 401)


def _look_inside(container: Container, key: str, judgement: Judgement) -> None:
    trial.keep_busy(container.port, _BUSY_REQUESTS, _BUSY_DOCUMENTS, key)
    judgement.told(
        f"memory after {_BUSY_REQUESTS} requests of {_BUSY_DOCUMENTS} new documents",
        f"{container.resident_mb():.0f} MB",
    )
    bill: dict[str, Any] = json.loads(container.read(f"{PAPERS}/sbom.cdx.json"))
    names = {component["name"].lower() for component in bill["components"]}
    judgement.told("SBOM", f"{bill['bomFormat']} {bill['specVersion']}, {len(names)} components")
    unwanted = names & _FORBIDDEN
    judgement.found(
        "serves without torch, transformers and pip", ", ".join(sorted(unwanted)) or "none there", not unwanted
    )
    papers = {name: len(container.read(f"{PAPERS}/{name}")) for name in ("licenses.txt", "LICENSE", "debian.txt")}
    judgement.found(
        "papers", ", ".join(f"{name} {size // 1024} KiB" for name, size in papers.items()), all(papers.values())
    )
