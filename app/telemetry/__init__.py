"""Telemetry of requests and of the process: metrics, logs, traces."""
