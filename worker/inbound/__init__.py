"""Ways in beside HTTP: a Redis stream, and a Celery task that other applications call."""
