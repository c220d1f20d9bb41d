"""What tests and benchmarks share: servers to run against."""
