"""Batch processing: retries, one transaction per attempt, persistence."""
