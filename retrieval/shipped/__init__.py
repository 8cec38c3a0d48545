"""Prepared models that a wheel of `make wheel` brings, a folder each; the sources have none."""
