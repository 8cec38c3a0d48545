"""Programs for whoever develops or runs the service; not installed with it."""
