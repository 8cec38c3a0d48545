"""The errors of this package; each message says what to do."""


class QuantumError(ValueError):
    """Base class: an invalid argument."""


class CircuitTooLarge(QuantumError):
    """The circuit needs more qubits or depth than the configured limits allow."""


class Saturated(QuantumError):
    """The kernel is nearly 1 for all pairs: it tells nothing apart."""


class InvalidVector(QuantumError):
    """A vector that cannot be encoded: zero, not finite, not real, or of the wrong shape."""
