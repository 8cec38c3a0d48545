"""Small fidelity circuits, simulated as array programs: arrays in, arrays out."""
