"""Encoders: the models that turn texts into vectors, their runtimes and batching."""
