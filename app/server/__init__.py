"""uvicorn as this service runs it: protocols with bounds, checks at the start, memory."""
