"""Traces by OpenTelemetry, which is imported only where the variables `OTEL_…` ask for traces."""
