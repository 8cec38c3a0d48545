"""Collections: documents in SQLite, and what is derived from them in segments."""
