"""Test collections, ranking metrics and significance tests."""
