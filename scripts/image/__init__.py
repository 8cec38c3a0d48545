"""`make image`: build the serving image and test it."""
