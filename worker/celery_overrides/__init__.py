"""Replacements of Celery's consumer and Beat scheduler."""
