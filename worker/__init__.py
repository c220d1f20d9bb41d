"""The Celery worker: processes stored batches, and runs the scheduled maintenance."""
