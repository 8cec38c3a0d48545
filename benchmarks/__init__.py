"""Scripts that print the tables in docs/, peers beside us in one run."""
