"""The states of texts, and where they are kept."""
