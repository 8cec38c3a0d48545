"""Encoded texts (states): their binary record, the in-process cache, the shared Redis cache and the lookup."""
