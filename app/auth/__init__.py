"""Authentication: keys and tokens, the store of keys, and usage per key. No HTTP here."""
