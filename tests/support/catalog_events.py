"""Catalog events of Open edX's bus, as its producer writes them."""

import io
from typing import Any

import fastavro
from redis import Redis

from tests.support.in_process_service import COURSE
from worker.relay.catalog_consumer import CatalogConsumer

KEY = "course-catalog-info-changed"
TYPE = "org.openedx.content_authoring.course.catalog_info.changed.v1"
OPTIONAL = ["null", "string"]
#: Written from the contract.
WRITER = fastavro.parse_schema(
    {
        "type": "record",
        "name": "CloudEvent",
        "fields": [
            {
                "name": "catalog_info",
                "type": {
                    "type": "record",
                    "name": "I",
                    "fields": [
                        {"name": "course_key", "type": "string"},
                        {"name": "name", "type": "string"},
                        {
                            "name": "schedule_data",
                            "type": {
                                "type": "record",
                                "name": "S",
                                "fields": [
                                    {"name": "start", "type": "string"},
                                    {"name": "pacing", "type": "string"},
                                    {"name": "end", "type": OPTIONAL},
                                    {"name": "enrollment_start", "type": OPTIONAL},
                                    {"name": "enrollment_end", "type": OPTIONAL},
                                ],
                            },
                        },
                        {"name": "hidden", "type": "boolean"},
                        {"name": "invitation_only", "type": "boolean"},
                    ],
                },
            }
        ],
    }
)


def body(
    course_id: str = COURSE,
    name: str = "Algebra II",
    *,
    invitation_only: bool = True,
    **schedule: Any,
) -> bytes:
    """Returns the Avro body of an event."""
    info = {
        "course_key": course_id,
        "name": name,
        "schedule_data": {
            "start": "2026-09-01T08:00:00+00:00",
            "pacing": "self",
            "end": "2026-12-01T00:00:00+00:00",
            "enrollment_start": None,
            "enrollment_end": "2026-10-01T02:00:00+02:00",
            **schedule,
        },
        "hidden": False,
        "invitation_only": invitation_only,
    }
    written = io.BytesIO()
    fastavro.schemaless_writer(written, WRITER, {"catalog_info": info})
    return written.getvalue()


def send(client: Redis, data: bytes, type_: str = TYPE) -> None:
    """Appends an event to the topic."""
    client.xadd(KEY, {"type": type_, "id": "x", "event_data": data})


def consume_all(consumer: CatalogConsumer) -> int:
    """Consumes until two calls in a row find nothing: the first may only make the group."""
    total, empty = 0, 0
    while empty < 2:
        number = consumer.consume_next()
        total, empty = total + number, 0 if number else empty + 1
    return total
