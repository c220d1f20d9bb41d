"""Measures of speed and memory, side by side with a baseline: ``python -m bench``."""
