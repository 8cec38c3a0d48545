"""The playground and the admin page: static files, which call the service's own routes."""
