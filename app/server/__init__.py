"""uvicorn's configuration: protocols with limits, and startup checks."""
