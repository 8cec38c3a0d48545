"""What runs the circuits: exact simulation, Qiskit Aer, or any SamplerV2; `Backend` is what they have in common."""

from quantum.backends.exact import ExactBackend
from quantum.backends.protocol import Backend, Cost, cost_of

__all__ = ["Backend", "Cost", "ExactBackend", "cost_of"]
