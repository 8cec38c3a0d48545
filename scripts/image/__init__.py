"""`make image`: build the serving image, run it, and judge it."""
