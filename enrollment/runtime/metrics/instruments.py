"""Counters and measurements of a process. Labels have few values, and name no people.

They belong to the process that counts: a worker has one child process, which does the work and
serves its metrics, so no numbers are shared between processes.
"""

from importlib import metadata

from prometheus_client import Counter, Gauge, Histogram, disable_created_metrics

disable_created_metrics()  # type: ignore[no-untyped-call]

BUILD = Gauge("enroll_build_info", "The release and the kind of this process.", ["version", "kind"])

HTTP_REQUEST_SECONDS = Histogram(
    "enroll_http_request_duration_seconds",
    "Seconds from the arrival of a request to the beginning of its response.",
    ["route", "method", "status"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
)
COMMIT_GROUP_REQUESTS = Histogram(
    "enroll_commit_group_requests",
    "Requests that were stored together by one transaction.",
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000),
)
COURSE_CACHE_LOOKUPS = Counter(
    "enroll_course_cache_lookups_total",
    "Lookups of course details; hit: this process had them, redis, database.",
    ["result"],
)

ROWS = Counter("enroll_rows_total", "Rows that have an outcome.", ["outcome"])
ROW_REASONS = Counter("enroll_row_reasons_total", "Outcomes that have a reason.", ["reason"])
BATCH_SECONDS = Histogram(
    "enroll_batch_duration_seconds",
    "Seconds of one attempt at batches, by one transaction.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15),
)
BATCHES = Counter("enroll_batches_total", "Batches that were completed.")
BATCH_ATTEMPTS = Counter(
    "enroll_batch_attempts_total",
    "Attempts at batches: done, conflict, timeout, unavailable, deferred, failed.",
    ["result"],
)

WEBHOOK_ATTEMPTS = Counter(
    "enroll_webhook_attempts_total",
    "Attempts to deliver to webhooks: delivered, pending (tried again later), failed (given up).",
    ["result"],
)
DESTINATION_ATTEMPTS = Counter(
    "enroll_destination_attempts_total",
    "Attempts to deliver to destinations: delivered, pending (tried again later), failed.",
    ["result"],
)
INBOUND_REQUESTS = Counter(
    "enroll_inbound_requests_total",
    "Requests of the stream and of the task: accepted, refused, postponed (tried again).",
    ["result"],
)


def describe_process(kind: str) -> None:
    """Sets `enroll_build_info`."""
    BUILD.labels(version=metadata.version("enrollment-service"), kind=kind).set(1)
