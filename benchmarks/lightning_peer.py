"""PennyLane's lightning.qubit, in an environment of its own: `python -m benchmarks simulation` runs it if it is there.

usage: lightning_peer.py FOLDER REPEATS, which holds gates.json, [[name, qubits, parameter or angle], …] of one circuit,
and angles.npy (circuits, parameters). It prints JSON: the milliseconds of each run of all circuits, and P(0…0) of each.
"""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pennylane as qml
import typer


def main(folder: Path, repeats: int) -> None:
    """Run the circuits, one after the other, and print what it took."""
    gates, angles = json.loads((folder / "gates.json").read_text()), np.load(folder / "angles.npy")
    qubits = 1 + max(qubit for _, wires, _ in gates for qubit in wires)
    kinds = {"ry": qml.RY, "rz": qml.RZ}

    def outcomes(values: Any) -> Any:
        for name, wires, at in gates:
            if name == "cx":
                qml.CNOT(wires)
            else:
                kinds[name](values[at] if isinstance(at, int) else at, wires)
        return qml.probs(range(qubits))

    ms, node = [], qml.QNode(outcomes, qml.device("lightning.qubit", wires=qubits))
    for _ in range(1 + repeats):  # the first warms up
        begun = time.perf_counter()
        found = [float(node(values)[0]) for values in angles]
        ms.append(1e3 * (time.perf_counter() - begun))
    print(json.dumps({"ms": ms[1:], "found": found}))


if __name__ == "__main__":
    typer.run(main)
