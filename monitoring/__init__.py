"""The Grafana dashboard and the Prometheus alert rules, checked against the service's catalogue of metrics."""
