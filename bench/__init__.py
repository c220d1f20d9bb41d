"""Benchmarks of speed and memory, each beside a baseline: `python -m bench`."""
