"""Health checks: readiness, the state of each component, and the performance targets."""
