"""Replacements of Celery's consumer and beat scheduler."""
