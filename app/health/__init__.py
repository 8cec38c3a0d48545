"""Whether the service can serve, and how each part of it is."""
