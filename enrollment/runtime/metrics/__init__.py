"""Metrics of a process, in the form of Prometheus."""
