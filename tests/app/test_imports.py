"""What is not imported before it is needed, step by step in one process: each import costs every start."""

import subprocess
import sys

PROGRAM = """
import sys

def imported(*names):
    return sorted(name for name in sys.modules if name.startswith(names))

import app.cli.main
assert imported("openvino.", "retrieval.cross_encoder.") == []
# Workers set the folder of the Prometheus client, which it reads when it is imported.
import uvicorn, app.server.asgi, app.telemetry.metrics_port
assert imported("prometheus_client") == []
from app.main import create_app
from app.settings import Settings
from starlette.testclient import TestClient
with TestClient(create_app(Settings(model="hash", data_dir=sys.argv[1]))) as client:
    while client.get("/health/ready").status_code != 200: pass
    body = {"documents": ["an owl"], "method": "quantum"}
    assert client.post("/rerank", json=body | {"query": "owl"}).status_code == 200
    assert client.post("/v1/batch-similarity", json=body | {"queries": ["owl"]}).status_code == 200
assert imported("openvino.", "retrieval.cross_encoder.", "qiskit") == []
assert imported("app.telemetry.tracing", "opentelemetry.sdk", "opentelemetry.exporter") == []
"""


def test_a_part_is_imported_only_where_it_is_used(tmp_path):
    subprocess.run([sys.executable, "-c", PROGRAM, str(tmp_path)], check=True)  # noqa: S603 - our own
