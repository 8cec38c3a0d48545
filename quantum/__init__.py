"""Small fidelity circuits, simulated with NumPy: functions take and return arrays."""
