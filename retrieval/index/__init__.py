"""Vector indexes, and collections of passages on disk."""
