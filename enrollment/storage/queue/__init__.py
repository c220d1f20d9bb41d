"""The work queue in the database: batches, claims, failed attempts."""
