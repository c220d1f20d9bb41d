"""Baseline: the usual design, Flask with a Celery task and a transaction per enrollment."""
