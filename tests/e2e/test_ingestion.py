"""Documents that a server of two workers acknowledged, whatever is killed and whenever."""

import os
import random
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from app.settings import Settings
from benchmarks.server import Server, family, running
from scripts.trial import free_port
from tests.conftest import serving
from tests.waiting import PATIENT_S, eventually


@contextmanager
def served(folder: Path) -> Iterator[Server]:
    """A server with two workers and the weight-free model."""
    port = free_port()
    own = {"QRERANK_MODEL": "hash", "QRERANK_DATA_DIR": str(folder), "QRERANK_ENGINE__DRAIN_SECONDS": "0"}
    command = [str(Path(sys.executable).parent / "qrerank"), "serve", "--port", str(port), "--workers", "2"]
    with running(command, port, "/health/ready", os.environ | own | {"TMPDIR": str(folder)}) as server:
        yield server


def ingest(address: str, first: int, kept: dict[str, str], stop: threading.Event) -> None:
    """Put documents, every third of them anew, until the server is gone; keep what was acknowledged."""
    with httpx.Client(base_url=address, timeout=PATIENT_S) as client, suppress(httpx.HTTPError):
        for at in range(first, first + 10_000):
            if stop.is_set():
                return
            documents = [{"id": f"{i}", "text": f"owl {i} of round {at}"} for i in {at, at - at % 3, first}]
            answer = client.post("/v1/collections/birds/documents", json={"documents": documents})
            if answer.status_code == 200:
                kept.update((document["id"], document["text"]) for document in documents)


def searched(client: httpx.Client, number: str) -> list[tuple[str, str]]:
    body = {"query": number, "top_n": 1000, "method": "classical"}
    rows = eventually(lambda: client.post("/v1/collections/birds/search", json=body).json().get("results"))
    return [(row["document"]["id"], row["document"]["text"]) for row in rows]


@pytest.mark.slow
@pytest.mark.parametrize("kills", [1, pytest.param(20, marks=pytest.mark.soak)])
def test_acknowledged_documents_survive_kills_and_are_found_once(tmp_path, kills):
    chance, kept = random.Random(kills), dict[str, str]()  # noqa: S311 - the same in every run
    for round_ in range(kills):
        with served(tmp_path) as server:
            address, stop = f"http://127.0.0.1:{server.port}", threading.Event()
            # The other worker may still be loading its model.
            eventually(
                lambda address=address: httpx.put(f"{address}/v1/collections/birds", timeout=PATIENT_S).is_success
            )
            writer = threading.Thread(target=ingest, args=(address, 1000 * round_, kept, stop))
            wanted = len(kept) + chance.randrange(5, 40)
            writer.start()
            eventually(lambda wanted=wanted: len(kept) > wanted)
            for process in family(server.pid):
                os.kill(process, signal.SIGKILL)
            stop.set()
            writer.join()
    with serving(Settings(model="hash", data_dir=tmp_path)) as client:
        eventually(lambda: client.get("/v1/collections/birds").json()["waiting"] == 0)
        counts = client.get("/v1/collections/birds").json()
        assert counts["passages"] == counts["documents"] >= len(kept)
        page = client.get("/v1/collections/birds/documents", params={"limit": 1000}).json()
        texts = {document["id"]: document["text"] for document in page["data"]}
        changed = {i for i, text in kept.items() if texts.get(i) != text}
        assert len(changed) <= 3 * kills, "only the last request to each server was written and not acknowledged"
        for number in chance.sample(sorted(kept), 5):
            found = searched(client, texts[number])
            assert found.count((number, texts[number])) == 1
            assert sum(i == number for i, _ in found) == 1
