"""Encoding, lexical scoring, indexing and evaluation: everything classical that ranking needs."""
