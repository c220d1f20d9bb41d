"""What somebody would write instead: Flask, and one Celery task and transaction an enrollment."""
