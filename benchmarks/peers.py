"""The peers: their own environment, and their rows of the latency table. One is loaded at a time."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
import venv
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import orjson
from rich.progress import Progress

from benchmarks.corpus import Task
from benchmarks.measure import Sample
from benchmarks.server import running
from benchmarks.wire import get, in_turn, post
from retrieval.encoder import weights
from scripts.trial import free_port

ENVIRONMENT = Path(__file__).parent.parent / ".venv-peers"
TORCH = "torch==2.13.0"  # first and alone: left to the resolver it brings gigabytes of CUDA
_HERE = Path(__file__).parent
_REQUIREMENTS = _HERE / "peers-requirements.txt"
_WORKER = _HERE / "peer_worker.py"
_WEIGHTS = ENVIRONMENT / "weights"

Work = Mapping[int, Sequence[Task]]


@dataclass(frozen=True)
class Infinity:
    """A way to run infinity: its row's name, the weights' folder and the options beyond the defaults."""

    row: str
    weights: str
    options: tuple[str, ...] = ()


INFINITY = (
    Infinity("infinity, as installed (torch f32)", "cross-encoder"),
    Infinity("infinity, torch bf16", "cross-encoder", ("--dtype", "bfloat16", "--no-bettertransformer")),
    Infinity("infinity, onnxruntime int8", "onnx-int8", ("--engine", "optimum")),
)
LIBRARIES = {
    "sentence-transformers CrossEncoder": "cross-encoder",
    "sentence-transformers encode + cosine": "bi-encoder",
    "FlashRank, onnxruntime int8": "flashrank",
}


def prepare(progress: Progress) -> None:
    """Make the environment and the weights, each unless it stands and was made from the same recipe."""
    bar = progress.add_task("preparing the peers", total=2)
    source = weights.find(weights.DEFAULT_MODEL)
    for stamp, recipe, make in (
        (ENVIRONMENT / "made-of", TORCH.encode() + _REQUIREMENTS.read_bytes(), _make_environment),
        (_WEIGHTS / "made-of", _WORKER.read_bytes(), lambda: _make_weights(source)),
    ):
        wanted = hashlib.sha256(recipe).hexdigest()
        if not stamp.is_file() or stamp.read_text(encoding="ascii") != wanted:
            make()
            stamp.write_text(wanted, encoding="ascii")
        progress.advance(bar)


def _make_environment() -> None:
    venv.create(ENVIRONMENT, with_pip=True, clear=True)
    (ENVIRONMENT / ".gitignore").write_text("*\n", encoding="ascii")
    for arguments in ([TORCH], ["--requirement", str(_REQUIREMENTS)]):
        _python("-m", "pip", "install", "--quiet", *arguments)


def _make_weights(source: Path | None) -> None:
    shutil.rmtree(_WEIGHTS, ignore_errors=True)
    _python(str(_WORKER), "prepare", str(source), str(_WEIGHTS))


def versions() -> dict[str, str]:
    """The peers' versions, by package."""
    code = "import importlib.metadata as m, json; print(json.dumps({d.name: d.version for d in m.distributions()}))"
    found: dict[str, str] = json.loads(_python("-c", code))
    names = ("infinity_emb", "sentence-transformers", "transformers", "torch", "onnxruntime", "FlashRank")
    return {name: found[name] for name in names}


def infinity_row(peer: Infinity, work: Work, warm_up: Task, progress: Progress) -> list[Sample]:
    """Requests to infinity's own server, like ours over HTTP; its cache of vectors is off, as it is by default."""
    bar = progress.add_task(peer.row, total=sum(map(len, work.values())))
    with _infinity(peer) as port:
        model = orjson.loads(in_turn(port, [get("/models")])[0].body)["data"][0]["id"]

        def request(task: Task) -> bytes:
            return post("/rerank", orjson.dumps({"model": model, "query": task.query, "documents": task.documents}))

        in_turn(port, [request(warm_up)])
        samples = []
        for documents, tasks in work.items():
            answers = in_turn(port, map(request, tasks), lambda: progress.advance(bar))
            samples.append(Sample(peer.row, documents, [answer.ms for answer in answers]))
    return samples


@contextmanager
def _infinity(peer: Infinity) -> Iterator[int]:
    port = free_port()
    command = [str(ENVIRONMENT / "bin" / "infinity_emb"), "v2", "--model-id", ".", "--device", "cpu", *peer.options]
    command += ["--host", "127.0.0.1", "--port", str(port), "--log-level", "warning"]
    # Its optimum engine finds a local ONNX file only from inside the model's folder.
    with running(command, port, "/health", _offline(), _WEIGHTS / peer.weights):
        yield port


def library_row(row: str, work: Work, warm_up: Task, progress: Progress) -> list[Sample]:
    """Calls of a library in a process of its own; the worker times them, so no pipe and no HTTP is counted."""
    bar = progress.add_task(row, total=sum(map(len, work.values())))
    samples = []
    with _worker(LIBRARIES[row]) as rank:
        rank(warm_up)
        for documents, tasks in work.items():
            times = []
            for task in tasks:
                times.append(rank(task))
                progress.advance(bar)
            samples.append(Sample(row, documents, times))
    return samples


@contextmanager
def _worker(kind: str) -> Iterator[Callable[[Task], float]]:
    """A function that ranks a task in the worker and gives its milliseconds."""
    command = [str(_interpreter()), str(_WORKER), kind, str(_WEIGHTS)]
    with (
        tempfile.TemporaryFile() as log,
        subprocess.Popen(  # noqa: S603 - our own command
            command, text=True, env=_offline(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log
        ) as process,
    ):
        stdin, stdout = process.stdin, process.stdout
        assert stdin is not None
        assert stdout is not None

        def line() -> dict[str, float]:
            answer = stdout.readline()
            if not answer:
                log.seek(0)
                raise RuntimeError(f"the {kind} worker ended:\n{log.read()[-2000:].decode(errors='replace')}")
            fields: dict[str, float] = json.loads(answer)
            return fields

        def rank(task: Task) -> float:
            stdin.write(json.dumps({"query": task.query, "documents": task.documents}) + "\n")
            stdin.flush()
            return line()["ms"]

        line()  # that it is ready
        yield rank
        stdin.close()


def _python(*arguments: str) -> str:
    """What the peers' Python prints; RuntimeError with its error output if it fails."""
    done = subprocess.run([_interpreter(), *arguments], env=_offline(), capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise RuntimeError(f"in {ENVIRONMENT}, python {' '.join(arguments)} failed:\n{done.stderr[-2000:]}")
    return done.stdout


def _interpreter() -> Path:
    return ENVIRONMENT / "bin" / "python"


def _offline() -> dict[str, str]:
    """Nothing is fetched from a hub and nothing is told to one; what a peer caches stays in its environment."""
    return os.environ | {"HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1", "HF_HOME": str(ENVIRONMENT / "hub")}
