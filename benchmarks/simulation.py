"""Our simulation beside Qiskit's, and our short cuts beside our simulation: `python -m benchmarks simulation`.

It prints the tables of docs/quantum.md. First one register, 1 query against 100 documents, from vectors to fidelities,
for every peer in its exact mode if it has one; PennyLane is in .venv-peers (`make .venv-peers/.setup`). Then late
interaction of 20 query tokens with 100 documents of 138 tokens, from int8 rows to scores, and Gram matrices of pooled
rows, on states of the default model for the demo collection.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qiskit import transpile
from qiskit.circuit import ParameterVector
from qiskit_aer import AerSimulator
from qiskit_machine_learning.kernels import FidelityQuantumKernel, FidelityStatevectorKernel

from app.settings import Settings
from benchmarks.report import number, percentile, table, timed, verdict
from quantum.backends.aer import AerBackend
from quantum.circuits import bound_angles, fidelity_circuit, state_circuit
from quantum.feature_maps import FeatureMap, feature_map
from quantum.gates import check_limits, compute_uncompute
from quantum.kernel import gram
from quantum.maxsim import mean_fidelities, score_documents
from quantum.simulator import log_register_fidelity
from quantum.vectors import directions
from retrieval.encoder.prepare import load_encoder
from retrieval.encoder.states import Encoded
from retrieval.text.demo import demo_passages

DOCUMENTS, TOKENS, QUERY_TOKENS = 100, 138, 20
PEERS = Path(__file__).parents[1] / ".venv-peers" / "bin" / "python"
MANY = 20_000  # documents whose kept states are read
REPEATS = 20  # of a peer; of what is quick, many times as many
OFFSETS = np.arange(DOCUMENTS + 1) * TOKENS
QUESTION = (
    "how does python decide which method of a class it calls when several base classes define a method of one name"
)
PER_PAIR, KERNEL, OURS = "Aer, one circuit per pair", "FidelityStatevectorKernel", "ours, from vectors"
AT_LEAST = {PER_PAIR: 1000, KERNEL: 20}  # times faster
LATE_TARGET_MS, GRAM_TARGETS_MS = 15, {100: 2, 300: None, 1000: 60}

Rows = NDArray[Any]


def aer(fm: FeatureMap, query: Rows, documents: Rows) -> Rows:
    """Aer's fidelities as a first program computes them: one circuit for each pair, transpiled, each in a run."""
    simulator = AerSimulator(method="statevector")

    def zero(document: Rows) -> float:
        made = fidelity_circuit(fm, query[0], document)
        made.save_statevector()
        return float(abs(simulator.run(transpile(made, simulator)).result().get_statevector().data[0]) ** 2)

    return np.array([zero(document) for document in documents])


def lightning(fm: FeatureMap, query: Rows, documents: Rows, repeats: int) -> tuple[list[float], Rows] | None:
    """PennyLane's times and fidelities; None without its environment."""
    if not PEERS.exists():
        return None
    numbers = count()
    gates = [
        (gate.name, gate.qubits, gate.constant if gate.is_bound else next(numbers)) for gate in compute_uncompute(fm)
    ]
    with TemporaryDirectory() as folder:
        (Path(folder) / "gates.json").write_text(json.dumps(gates))
        angles = bound_angles(fm, fm.angles(query)[:, 0], fm.angles(documents)[:, 0])
        np.save(Path(folder) / "angles.npy", angles.T)
        command = [str(PEERS), str(Path(__file__).with_name("lightning_peer.py")), folder, str(repeats)]
        found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)  # noqa: S603
    return found["ms"], np.array(found["found"])


def beside_others(fm: FeatureMap, repeats: int = REPEATS) -> str:
    """The table of one feature map: milliseconds for all documents."""
    x = directions(np.random.default_rng(20).normal(size=(1 + DOCUMENTS, fm.features_per_register)), np.float64)
    query, documents = x[:1], x[1:]
    circuit = state_circuit(fm, ParameterVector("x", fm.features_per_register))
    warm = FidelityStatevectorKernel(feature_map=circuit, auto_clear_cache=False)
    states, bulk = (fm.register_states(query), fm.register_states(documents)), AerBackend()

    def cold() -> Rows:
        return np.asarray(FidelityStatevectorKernel(feature_map=circuit).evaluate(query, documents)[0])

    runs: dict[str, tuple[Callable[[], Rows], int]] = {
        OURS: (lambda: fm.fidelity(query, documents)[0], 50 * repeats),
        "ours, states kept": (lambda: np.exp(log_register_fidelity(*states))[0], 50 * repeats),
        KERNEL: (cold, repeats),
        f"{KERNEL}, states kept": (lambda: warm.evaluate(query, documents)[0], 5 * repeats),
        "backend `aer`, one circuit with arrays": (lambda: bulk.estimate(fm, query, documents).fidelity[0], repeats),
        "FidelityQuantumKernel": (lambda: FidelityQuantumKernel(feature_map=circuit).evaluate(query, documents)[0], 1),
        PER_PAIR: (partial(aer, fm, query, documents), 1),
    }
    measured = {}
    for name, (run, times) in runs.items():
        if times > 1:
            run()  # warm up
        measured[name] = timed(run, times)
    if peer := lightning(fm, query, documents, repeats):
        measured["PennyLane lightning.qubit, one circuit per pair"] = peer
    base, exact = percentile(measured[OURS][0], 0.5), measured[OURS][1]
    lines = []
    for name, (taken, values) in measured.items():
        ms = percentile(taken, 0.5)
        target = f"≥ {AT_LEAST[name]}, {verdict(ms / base >= AT_LEAST[name])}" if name in AT_LEAST else ""
        lines.append((name, f"{ms:.3f}", number(ms / base), f"{np.abs(values - exact).max():.0e}", target))
    return table((f"`{fm.name}`, depth {check_limits(fm).depth}", "ms", "ratio", "difference", "target"), lines)


def bandwidth(repeats: int = REPEATS) -> str:
    """How fast kept states are read by one query, beside a sum over the same memory."""
    fm, rng = feature_map(), np.random.default_rng(0)
    query, documents = (fm.register_states(rng.normal(size=(m, 384)).astype(np.float32)) for m in (1, MANY))
    runs = partial(log_register_fidelity, query, documents), documents.reshape(-1).view(np.float32).sum
    ms = [percentile(timed(run, 1 + repeats)[0][1:], 0.5) for run in runs]  # the first warms up
    read, summed = (documents.nbytes / each / 1e6 for each in ms)
    return f"One query with {MANY} documents of 96 registers, states kept: {read:.1f} GB/s; a sum: {summed:.1f} GB/s"


def simulate(fm: FeatureMap, query: Rows, tokens: Rows, dtype: type = np.float32) -> Rows:
    """Scores from int8 rows by simulating every pair."""
    log_f = fm.log_fidelity(directions(query, dtype), directions(tokens, dtype))
    return mean_fidelities(np.maximum.reduceat(log_f, OFFSETS[:-1], axis=1))


def short_cuts(fm: FeatureMap, question: Rows, documents: Encoded, repeats: int = REPEATS) -> str:
    """The table of late interaction and Gram matrices, closed form beside simulation; errors against float64.

    question: (20, D) int8 tokens. documents: states of 1000 texts or more, with 13 800 tokens or more.
    """
    tokens = documents.tokens[: DOCUMENTS * TOKENS]
    exact = simulate(fm, question, tokens, np.float64)
    late = partial(score_documents, fm, question, tokens, OFFSETS), partial(simulate, fm, question, tokens)
    lines = [_beside("late interaction", *late, exact, (5 * repeats, LATE_TARGET_MS))]
    for n, target in GRAM_TARGETS_MS.items():
        rows = documents.pooled[:n].astype(np.float64)
        each = partial(gram, fm, rows), partial(fm.fidelity, rows, rows)
        lines.append(_beside(f"Gram matrix, n = {n}", *each, each[1](), (repeats, target)))
    return table(("", "closed form p50", "p95", "simulation p50", "p95", "target", "largest relative error"), lines)


def _beside(
    name: str, closed: Callable[[], Rows], simulated: Callable[[], Rows], exact: Rows, how: tuple[int, int | None]
) -> list[str]:
    repeats, target = how
    error = np.abs(closed() / exact - 1).max()
    simulated()  # warm up
    times = timed(closed, repeats)[0], timed(simulated, max(1, repeats // 4))[0]
    cells = [f"{percentile(ms, share):.2f}" for ms in times for share in (0.5, 0.95)]
    return [name, *cells, "" if target is None else str(target), f"{error:.0e}"]


def model_states() -> tuple[Rows, Encoded]:
    """A question's tokens, and the states of half passages of the demo collection, by the default model."""
    encoder = load_encoder("all-MiniLM-L6-v2", Settings().model_dir, lambda *_: None)
    texts = [passage.content for passage in demo_passages()[: max(GRAM_TARGETS_MS) // 2]]
    halves = [half for text in texts for half in (text[: len(text) // 2], text[len(text) // 2 :])]
    return encoder.encode([QUESTION], "query").tokens[:QUERY_TOKENS], encoder.encode(halves)


def main() -> None:
    """Print the tables."""
    print(f"1 query, {DOCUMENTS} documents, one register, milliseconds for all\n")
    for name in ("angle", "entangled"):
        print(f"{beside_others(feature_map(name))}\n")
    print(f"{bandwidth()}\n")
    print(f"{QUERY_TOKENS} query tokens, {DOCUMENTS} documents of {TOKENS} tokens, milliseconds\n")
    print(short_cuts(feature_map(), *model_states()))
