"""The dashboard and the alert rules, written from the service's own list of metrics."""
