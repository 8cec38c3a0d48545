"""Exact simulation beside Qiskit Aer and qiskit-machine-learning: `python -m benchmarks.simulation`.

One query against 100 documents on one register of 4 qubits, the same numbers for everyone, in one process.
Every peer gets its exact (shot-free) mode, and every time includes what it takes from vectors to fidelities.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit, transpile
from qiskit.circuit import ParameterVector
from qiskit_aer import AerSimulator
from qiskit_machine_learning.kernels import FidelityStatevectorKernel
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from quantum.circuits import check_limits, fidelity_circuit, state_circuit
from quantum.feature_maps import FeatureMap, feature_map
from quantum.simulator import log_register_fidelity

DOCUMENTS = 100
SEED = 20
PER_PAIR = "Aer, one circuit per pair"
KERNEL = "FidelityStatevectorKernel"
TARGETS = {PER_PAIR: 1000.0, KERNEL: 20.0}

Rows = NDArray[np.float64]
Step = Callable[[], None]


@dataclass(frozen=True)
class Row:
    """One line of the table: median milliseconds for all documents, beside ours."""

    name: str
    ms: float
    ratio: float
    max_difference: float
    target: float | None

    @property
    def met(self) -> bool | None:
        """Whether we are as many times faster as we said; None without a target."""
        return None if self.target is None else self.ratio >= self.target


def inputs(fm: FeatureMap) -> tuple[Rows, Rows]:
    """A query (1, k) and documents (DOCUMENTS, k): unit rows as wide as one register."""
    x = np.random.default_rng(SEED).normal(size=(1 + DOCUMENTS, fm.features_per_register))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return x[:1], x[1:]


def aer_per_pair(fm: FeatureMap, query: Rows, documents: Rows, step: Step, *, transpiled: bool) -> Rows:
    """What a first program does: build, transpile and run one circuit for each pair.

    Most of that is transpilation, which Aer does not need for RY and CX, so it is timed without as well.
    """
    simulator = AerSimulator(method="statevector")
    out = np.empty(len(documents))
    for i, document in enumerate(documents):
        circuit = fidelity_circuit(fm, query[0], document)
        circuit.save_statevector()
        result = simulator.run(transpile(circuit, simulator) if transpiled else circuit).result()
        out[i] = abs(result.get_statevector().data[0]) ** 2
        step()
    return out


def aer_batched(fm: FeatureMap, query: Rows, documents: Rows) -> Rows:
    """All circuits in one run; Aer knows RY and CX, so nothing is transpiled."""
    circuits: list[QuantumCircuit] = []
    for document in documents:
        circuit = fidelity_circuit(fm, query[0], document)
        circuit.save_statevector()
        circuits.append(circuit)
    result = AerSimulator(method="statevector").run(circuits).result()
    return np.array([abs(result.get_statevector(i).data[0]) ** 2 for i in range(len(circuits))])


def kernel_of(fm: FeatureMap, *, keep_cache: bool) -> FidelityStatevectorKernel:
    """The peer's kernel on our map's circuit. It clears its cache at each evaluation unless told to keep it."""
    circuit = state_circuit(fm, ParameterVector("x", fm.features_per_register))
    return FidelityStatevectorKernel(feature_map=circuit, auto_clear_cache=not keep_cache)


def timed(run: Callable[[], Rows], repeats: int, step: Step) -> tuple[float, Rows]:
    """Median milliseconds of `repeats` calls, and the last result."""
    times = []
    for _ in range(repeats):
        start = perf_counter()
        result = run()
        times.append(1000 * (perf_counter() - start))
        step()
    return median(times), result


def compare(fm: FeatureMap, repeats: int, progress: Progress) -> list[Row]:
    """Every peer on one map, ours first."""
    query, documents = inputs(fm)
    warm = kernel_of(fm, keep_cache=True)
    states = fm.register_states(query), fm.register_states(documents)

    def ours() -> Rows:
        return np.asarray(fm.fidelity(query, documents)[0])

    def ours_from_states() -> Rows:
        return np.asarray(np.exp(log_register_fidelity(*states))[0])

    def tick(name: str, total: int) -> Step:
        task = progress.add_task(f"{fm.name}: {name}", total=total)
        return lambda: progress.advance(task)

    ours(), warm.evaluate(query, documents), aer_batched(fm, query, documents)  # warm up
    measured: dict[str, tuple[float, Rows]] = {}
    for name, count, run in (
        ("ours, from vectors", 50 * repeats, ours),
        ("ours, states kept", 50 * repeats, ours_from_states),
        ("Aer, one run of all circuits", repeats, lambda: aer_batched(fm, query, documents)),
        (KERNEL, repeats, lambda: kernel_of(fm, keep_cache=False).evaluate(query, documents)[0]),
        (f"{KERNEL}, states kept", 5 * repeats, lambda: warm.evaluate(query, documents)[0]),
    ):
        measured[name] = timed(run, count, tick(name, count))
    for name, transpiled in ((f"{PER_PAIR}, untranspiled", False), (PER_PAIR, True)):
        step = tick(name, DOCUMENTS)
        pairs = partial(aer_per_pair, fm, query, documents, step, transpiled=transpiled)
        measured[name] = timed(pairs, 1, lambda: None)

    base, exact = measured["ours, from vectors"]
    return [
        Row(name, ms, ms / base, float(np.abs(values - exact).max()), TARGETS.get(name))
        for name, (ms, values) in measured.items()
    ]


def table_of(fm: FeatureMap, rows: list[Row]) -> Table:
    """The rows for a terminal."""
    size = check_limits(fm)
    title = f"{fm.name} map, {size.qubits} qubits, circuit depth {size.depth}: 1 query, {DOCUMENTS} documents"
    table = Table("", title=title, caption="ms: for all documents; beside ours: from vectors; difference: the largest")
    for heading in ("ms", "beside ours", "difference", "target"):
        table.add_column(heading, justify="right")
    for row in rows:
        target = "" if row.target is None else f"{row.target:.0f}x {'met' if row.met else 'not met'}"
        table.add_row(row.name, f"{row.ms:.3f}", f"{row.ratio:.1f}x", f"{row.max_difference:.0e}", target)
    return table


def main() -> None:
    """Print one table per map; with --json, write the numbers too."""
    parser = argparse.ArgumentParser(description="Exact simulation beside Qiskit Aer and qiskit-machine-learning.")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows as JSON")
    parser.add_argument("--repeats", type=int, default=20, help="repetitions of the batched peers (default 20)")
    arguments = parser.parse_args()
    console = Console()
    report: dict[str, list[dict[str, object]]] = {}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    for name in ("angle", "entangled"):
        fm = feature_map(name)
        with Progress(*columns, console=console, transient=True) as progress:
            rows = compare(fm, arguments.repeats, progress)
        console.print(table_of(fm, rows))
        report[name] = [{**vars(row), "met": row.met} for row in rows]
    if arguments.json:
        arguments.json.write_text(json.dumps({"documents": DOCUMENTS, "maps": report}, indent=2) + "\n")


if __name__ == "__main__":
    main()
