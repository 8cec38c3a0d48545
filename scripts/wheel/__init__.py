"""`make wheel`: a wheel that brings the default model, installed in an empty environment and tried."""
