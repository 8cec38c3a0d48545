"""Threads and models."""
