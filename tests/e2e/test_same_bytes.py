"""The same documents give the same answers, however they came into a collection."""

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from benchmarks.server import Server, ours
from retrieval.store.collection import Collection
from tests.indexers import indexed_elsewhere
from tests.waiting import eventually

COUNT = 700  # documents: three segments, and one after the command line
WORDS = "owl lamp river stone train coast market price night song wood glass hunts falls shines again".split()
CHUNKING = {"by": "sentence", "size": 40, "overlap": 8}
WAYS = ("cli", "bulk", "killed")
SEARCHES = [
    {"query": query, "top_n": 100} | fields
    for query in ("owl hunts at night", "the same")
    for fields in (
        {"method": "hybrid", "explain": True},
        {"method": "classical", "raw_scores": True},
        {"method": "quantum", "exclude": ["lamp"]},
        {"group_by": "document", "relevant_spans": True},
        {"filter": {"and": [{"range": {"page": {"lt": 90}}}, {"eq": {"tag": "odd"}}]}, "explain": True},
        {"filter": {"eq": {"page": 7}}, "group_by": "document"},
    )
]


def corpus() -> list[dict[str, object]]:
    """Short and long documents; of some the text is the same."""
    chance = random.Random(17)  # noqa: S311 - the same in every run
    documents = []
    for at in range(COUNT):
        words = [chance.choice(WORDS) for _ in range(300 if at % 40 == 0 else 8)]
        text = "The same owl hunts." if at % 50 == 1 else " ".join(words[:8]).capitalize() + ". "
        text += "".join(f"{' '.join(words[begin : begin + 8])}. " for begin in range(8, len(words), 8))
        title = f"On {words[0]}" if at % 3 else ""
        metadata = {"page": at % 100, "tag": ("even", "odd")[at % 2]}
        documents.append({"id": f"d{at}", "title": title, "text": text, "metadata": metadata})
    return documents


def settings(folder: Path, model: str) -> dict[str, str | Path | float]:
    chunking = {f"chunking__{name}": value for name, value in CHUNKING.items()}
    patient = {"engine__deadline_ms": 600_000, "engine__least_part": 0}
    return {"model": model, "data_dir": folder, **patient, **chunking}


@contextmanager
def served(folder: Path, model: str) -> Iterator[tuple[Server, httpx.Client]]:
    with ours(**settings(folder, model)) as server, httpx.Client(base_url=server.url, timeout=600) as client:
        yield server, client


def build(folder: Path, model: str, documents: list[dict[str, object]]) -> None:
    """`qrerank index build cli`."""
    file = folder / "corpus.jsonl"
    file.write_text("".join(json.dumps({"_id": each["id"]} | each) + "\n" for each in documents))
    own = {f"QRERANK_{name.upper()}": str(value) for name, value in settings(folder, model).items()}
    command = [str(Path(sys.executable).parent / "qrerank"), "index", "build", "cli", str(file)]
    subprocess.run(command, env=os.environ | own, check=True, capture_output=True)  # noqa: S603 - ours


def upload(client: httpx.Client, name: str, documents: list[dict[str, object]], wait: str) -> dict[str, object]:
    content = "".join(json.dumps(each) + "\n" for each in documents)
    path, headers = f"/v1/collections/{name}/documents", {"content-type": "application/x-ndjson"}
    return client.post(path, params={"wait": wait}, content=content, headers=headers).raise_for_status().json()


def answers(client: httpx.Client, name: str) -> list[bytes]:
    """What is answered, without what is of one request: its id and how long it took."""
    found = []
    for body in SEARCHES:
        answer = client.post(f"/v1/collections/{name}/search", json=body).raise_for_status().json()
        assert answer["results"]
        del answer["id"], answer["meta"]["timings_ms"]
        found.append(json.dumps(answer).encode())
    return found


@pytest.mark.soak
@pytest.mark.parametrize("model", ["hash", "all-MiniLM-L6-v2"])
def test_a_built_a_sent_and_a_resumed_collection_answer_the_same_bytes(tmp_path, model):
    documents = corpus()
    build(tmp_path, model, documents)
    with served(tmp_path, model) as (server, client):
        client.put("/v1/collections/killed").raise_for_status()
        killed = Collection(tmp_path / "collections" / "killed")
        with indexed_elsewhere(killed.folder):
            assert upload(client, "killed", documents, "stored")["stored"] == COUNT
        eventually(lambda: any((killed.folder / "segments").glob("*")))
        os.kill(server.pid, signal.SIGKILL)
        server.exit_status()
    assert killed.counts().waiting > 0, "it was killed in the middle of it"
    with served(tmp_path, model) as (_, client):
        upload(client, "killed", documents, "searchable")
        client.put("/v1/collections/bulk").raise_for_status()
        upload(client, "bulk", documents, "searchable")
        collections = [Collection(tmp_path / "collections" / name) for name in WAYS]
        assert [len(each.segments.all()) > 1 for each in collections] == [False, True, True]
        built, sent, resumed = (answers(client, name) for name in WAYS)
        assert built == sent
        assert built == resumed
        for name in WAYS:
            client.post(f"/v1/collections/{name}/compact").raise_for_status()
        eventually(lambda: all(len(each.segments.all()) == 1 for each in collections))
        for name in WAYS:
            assert answers(client, name) == built
