"""Locust load tests: users by tier, shapes, thresholds, and the plots in docs/performance.md."""
