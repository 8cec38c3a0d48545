"""`make wheel`: build a wheel that includes the default model, and test it in an empty environment."""
