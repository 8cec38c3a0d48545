"""What is asked for, from a resolved request to a result; no HTTP."""
