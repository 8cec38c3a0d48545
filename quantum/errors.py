"""Everything that can go wrong in this package; each message says what to do."""


class QuantumError(ValueError):
    """Root of the package's errors: an argument this package cannot work with."""


class CircuitTooLarge(QuantumError):
    """The circuit needs more qubits or depth than the configured limits allow."""


class InvalidVector(QuantumError):
    """A vector that has no state: zero, not finite, not real, or of the wrong shape."""
