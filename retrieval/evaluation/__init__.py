"""Test collections, metrics of rankings, significance."""
