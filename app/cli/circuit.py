"""`qrerank circuit`: draw the circuits, run texts through them, export and check them."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from rich.table import Table

from app.cli.errors import naming
from app.cli.options import JUDGED, AsJson, Query, check_apart, not_blank, writable
from app.cli.progress import bar
from app.cli.terminal import note, out, show
from app.engine.loader import open_encoder
from app.settings import MapName, Settings
from app.telemetry.printable import escaped
from quantum.backends import Backend, Cost, ExactBackend, cost_of
from quantum.diagnostics import check_spread
from quantum.estimates import Estimates, rank_intervals
from quantum.feature_maps import MAPS, FeatureMap, feature_map
from quantum.gates import check_limits

if TYPE_CHECKING:
    from quantum.backends.noise import Noise

circuit = typer.Typer(invoke_without_command=True)

_IN_ASCII = str.maketrans("┌┐└┘├┤┬┴┼─│■«»", "+++++++++-|#<>")  # ASCII replacements in circuit drawings
_LONG_S = 60.0  # a run that takes longer is asked for with --yes
_EXCERPT = 60
_WIDTH = 384  # of the default model's vectors


class BackendName(StrEnum):
    """What runs the circuits."""

    exact = "exact"
    aer = "aer"
    sampler = "sampler"


MapOption = Annotated[MapName | None, typer.Option("--map", help="The feature map. Absent: the configured one.")]
Qubits = Annotated[int | None, typer.Option(min=2, max=4, help="Qubits per register. Absent: as configured.")]
Bandwidth = Annotated[
    float | None, typer.Option(help="Rotation angle per unit of a feature, in radians. Absent: as configured.")
]
Device = Annotated[
    str | None,
    typer.Option(
        help="fake_… of qiskit-ibm-runtime, such as fake_manila; of the sampler, also a device of your saved account."
    ),
]
AllowDeep = Annotated[bool, typer.Option("--allow-deep", help="Run circuits deeper than 15 after routing.")]


def chosen_map(name: MapName | None, qubits: int | None, bandwidth: float | None = None) -> FeatureMap:
    """The configured map with what the options change; QuantumError for what is not supported."""
    configured = Settings().circuit
    chosen = configured.bandwidth if bandwidth is None else bandwidth
    return feature_map(name or configured.map, qubits or configured.qubits, chosen)


@circuit.callback()
def draw_circuit(
    context: typer.Context,
    map_name: MapOption = None,
    qubits: Qubits = None,
    svg: Annotated[Path | None, typer.Option(callback=writable, help="Write the drawing to this file as SVG.")] = None,
) -> None:
    """Draw the fidelity circuit of one register. Its size in the basis {ry, rz, cx} is printed, too."""
    if context.invoked_subcommand:
        if given := [f"--{name}" for name, value in (("map", map_name), ("qubits", qubits), ("svg", svg)) if value]:
            command = context.invoked_subcommand
            raise typer.BadParameter(
                f"{given[0]} changes the drawing alone: give {given[0]} after {command}, if it has it"
            )
        return
    from quantum.circuits import draw, symbolic_circuit  # imported late: Qiskit takes half a second

    chosen = chosen_map(map_name, qubits)
    size = check_limits(chosen)
    if svg:
        drawing = draw(symbolic_circuit(chosen), "svg")
        with naming(svg):
            svg.write_text(drawing, encoding="utf-8")
    else:
        text = draw(symbolic_circuit(chosen), "text")
        out.print(text.translate(_IN_ASCII) if out.options.ascii_only else text, soft_wrap=True)
    gates = ", ".join(f"{count} {gate}" for gate, count in size.counts)
    out.print(f"{chosen.name}: {size.qubits} qubits, depth {size.depth} ({gates})")


@circuit.command()
def maps(
    width: Annotated[int, typer.Option(min=1, help="Features of a vector.")] = _WIDTH, as_json: AsJson = False
) -> None:
    """List the feature maps and their sizes. Composed circuits are counted in the basis {ry, rz, cx}."""
    rows = []
    for each in (feature_map(name, qubits) for name in MAPS for qubits in (2, 3, 4)):
        size = check_limits(each)
        rows.append(
            {
                "map": each.name,
                "qubits": each.n_qubits,
                "features": each.features_per_register,
                "registers": each.register_count(width),
                "depth": size.depth,
                "cx": size.two_qubit_gates,
            }
        )
    table = Table(*rows[0], show_edge=False)
    for row in rows:
        table.add_row(*map(str, row.values()))
    show(rows, table, as_json=as_json)


@circuit.command()
def run(
    query: Query,
    documents: Annotated[list[str], typer.Argument(parser=not_blank, help="The documents, one or more.")],
    backend: Annotated[BackendName, typer.Option(help="What runs the circuits.")] = BackendName.exact,
    shots: Annotated[
        int | None, typer.Option(min=1, help="Of each circuit. Absent: probabilities; of the sampler 1024.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of the shots. Absent: another one each time.")] = None,
    readout: Annotated[float, typer.Option(min=0, max=0.5, help="aer: probability of a wrong readout.")] = 0.0,
    depolarizing: Annotated[
        float, typer.Option(min=0, max=0.1, help="aer: probability of a depolarising RY; of a CX ten times as much.")
    ] = 0.0,
    t1_us: Annotated[
        float | None, typer.Option("--t1-us", min=0.1, help="aer: relaxation time, dephasing alike, microseconds.")
    ] = None,
    device: Device = None,
    mitigate: Annotated[bool, typer.Option("--mitigate", help="Take readout errors out of the counts.")] = False,
    allow_deep: AllowDeep = False,
    map_name: MapOption = None,
    qubits: Qubits = None,
    bandwidth: Bandwidth = None,
    yes: Annotated[bool, typer.Option("--yes", help="Run even what takes more than a minute.")] = False,
    as_json: AsJson = False,
) -> None:
    """Compare texts on a backend of circuits.

    Each text is one vector. Printed are standard errors, and the ranks that they do not settle. The cost is printed
    first: one circuit is run for each register and document, 96 for each document by default.
    """
    from quantum.backends.noise import Noise

    chosen = chosen_map(map_name, qubits, bandwidth)
    noise = Noise(readout, depolarizing, float("inf") if t1_us is None else t1_us)
    used = _backend(backend, shots, seed, noise if noise != Noise() else None, device, mitigate, allow_deep)
    vectors = _vectors(query, documents)
    _announce(used, chosen, cost_of(used, chosen, len(documents), vectors.shape[1]), yes)
    exact = ExactBackend().estimate(chosen, vectors[:1], vectors[1:])
    found = exact if isinstance(used, ExactBackend) else used.estimate(chosen, vectors[:1], vectors[1:])
    rows = _results(found, exact)
    show({"backend": used.name, "shots": used.shots, "results": rows}, _table(documents, rows), as_json=as_json)


def _backend(
    name: BackendName,
    shots: int | None,
    seed: int | None,
    noise: Noise | None,
    device: str | None,
    mitigate: bool,
    allow_deep: bool,
) -> Backend:
    """The backend that the options describe; a usage error for options that it does not have."""
    if name == BackendName.exact:
        if shots or noise or device or mitigate or allow_deep or seed is not None:
            raise typer.BadParameter("exact has neither shots nor noise nor a device; choose --backend aer")
        return ExactBackend()
    if name == BackendName.sampler:
        if noise:
            raise typer.BadParameter("the sampler's noise is its device's; give --device, or choose --backend aer")
        from quantum.backends.devices import sampler_backend

        return sampler_backend(shots or 1024, device, seed=seed, mitigate=mitigate, allow_deep=allow_deep)
    from quantum.backends.aer import AerBackend
    from quantum.backends.devices import fake_device

    target = fake_device(device) if device else None
    return AerBackend(shots, noise, target, seed=seed, mitigate=mitigate, allow_deep=allow_deep)


def _vectors(query: str, documents: Sequence[str]) -> NDArray[np.float64]:
    """(1 + n, D) unit rows, one vector a text."""
    with bar("preparing") as report:
        encoder = open_encoder(Settings(), report)
    rows = np.concatenate([encoder.encode([query], "query").pooled, encoder.encode(documents).pooled])
    return rows.astype(np.float64)


def _announce(backend: Backend, chosen: FeatureMap, cost: Cost, yes: bool) -> None:
    """Say what will run, before it does; a usage error for what is long and not agreed to."""
    note(f"{backend.name}: {chosen.name}, {chosen.n_qubits} qubits: {cost}")
    if routed := getattr(backend, "routed", None):
        size = routed(chosen)
        note(f"after routing: depth {size.depth}, {size.two_qubit_gates} two-qubit gates, on qubits {size.qubits}")
    if not yes and (cost.seconds > _LONG_S or cost.is_remote):
        raise typer.BadParameter("this takes long or another machine's time; add --yes to run it")


def _results(found: Estimates, exact: Estimates) -> list[dict[str, float]]:
    """The documents, best first, with the ranks that they may have."""
    values, errors = found.log_fidelity[0], found.log_standard_error[0]
    ranks = rank_intervals(values, errors)
    return [
        {
            "index": at,
            "best_rank": int(ranks[at, 0]),
            "worst_rank": int(ranks[at, 1]),
            "fidelity": float(found.fidelity[0, at]),
            "standard_error": float(found.standard_error[0, at]),
            "log_fidelity": float(values[at]),
            "log_standard_error": float(errors[at]),
            "exact_log_fidelity": float(exact.log_fidelity[0, at]),
        }
        for at in np.argsort(-values, kind="stable").tolist()
    ]


def _table(documents: Sequence[str], rows: Sequence[dict[str, float]]) -> Table:
    """The same for people."""
    table = Table("rank", "may be", "fidelity", "±", "log F", "±", "exact log F", "document", show_edge=False)
    for rank, row in enumerate(rows, 1):
        index, best, worst, *numbers = row.values()
        text = " ".join(documents[int(index)].split())
        table.add_row(
            str(rank),
            "settled" if best == worst else f"{best}–{worst}",
            *(f"{number:z.4f}" for number in numbers),  # z: no -0.0000
            escaped(text if len(text) <= _EXCERPT else text[:_EXCERPT] + "…"),
        )
    return table


@circuit.command()
def export(
    qpy: Annotated[Path | None, typer.Option(callback=writable, help="Write the circuit to this file as QPY.")] = None,
    qasm3: Annotated[
        Path | None, typer.Option(callback=writable, help="Write the circuit to this file as OpenQASM 3.")
    ] = None,
    map_name: MapOption = None,
    qubits: Qubits = None,
    device: Device = None,
    allow_deep: AllowDeep = False,
    as_json: AsJson = False,
) -> None:
    """Write the one circuit that serves all pairs.

    It has a parameter for each rotation; what they stand for is printed. The probability of reading 0…0 is the fidelity
    of one register.
    """
    if not (qpy or qasm3):
        raise typer.BadParameter("give --qpy FILE or --qasm3 FILE, or both")
    check_apart(qpy=qpy, qasm3=qasm3)
    from quantum.backends.devices import fake_device
    from quantum.backends.routing import route
    from quantum.circuits import as_qasm3, as_qpy, bulk_circuit, parameter_meanings

    chosen = chosen_map(map_name, qubits)
    routed = route(bulk_circuit(chosen), fake_device(device) if device else None, allow_deep=allow_deep)
    for path, content in ((qpy, as_qpy), (qasm3, as_qasm3)):
        if path:
            with naming(path):
                path.write_bytes(content(routed.measured()))
    meanings = parameter_meanings(chosen)
    lines = (
        *(f"{name} = {meaning}" for name, meaning in meanings),
        f"q[i] and d[i] are the angles of a register of the query and the document: {chosen.name}, docs/quantum.md",
        f"depth {routed.depth}, {routed.two_qubit_gates} two-qubit gates, measured qubits {routed.qubits}",
    )
    size = {"depth": routed.depth, "two_qubit_gates": routed.two_qubit_gates, "qubits": routed.qubits}
    show(size | {"parameters": dict(meanings)}, "\n".join(lines), as_json=as_json)


@circuit.command()
def check(
    folder: Annotated[
        Path | None,
        typer.Argument(exists=True, file_okay=False, help=f"{JUDGED} Absent: the demo's texts."),
    ] = None,
    texts: Annotated[int, typer.Option(min=20, max=2000, help="How many texts are compared with each other.")] = 200,
    map_name: MapOption = None,
    qubits: Qubits = None,
    bandwidth: Bandwidth = None,
    plot: Annotated[Path | None, typer.Option(callback=writable, help="Draw the concentration (PNG).")] = None,
    as_json: AsJson = False,
) -> None:
    """Check whether a map tells texts apart.

    Its kernel is computed at several bandwidths and numbers of registers. Printed are the mean and the deviation of
    fidelities between different texts, one vector each, the least eigenvalue of their matrix, the shots of each
    register with which noise is as large as differences between texts, and with a judged collection the centred
    alignment with the judgements of each query. The status is 1 where the chosen configuration saturates, as it is
    refused when the service starts.
    """
    from app.cli.circuit_checks import checked, drawn, shown

    chosen = chosen_map(map_name, qubits, bandwidth)
    with bar("preparing") as report:
        found = checked(open_encoder(Settings(), report), chosen, folder, texts, report)
    if plot:
        drawn(found, plot)
    show(found.as_json(), shown(found), as_json=as_json)
    check_spread(chosen, found.width)
