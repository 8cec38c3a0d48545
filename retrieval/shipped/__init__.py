"""Prepared models in a wheel built by `make wheel`, one folder each; the source tree has none."""
