"""One event has one id and one source on every way out, and no other installation has them."""

import json
from uuid import UUID

import orjson

from enrollment.storage.events import events_after
from enrollment.storage.outbox.installation import installation_id
from enrollment.storage.webhooks import endpoints
from enrollment.storage.webhooks.deliveries import find_due
from tests.integration.http.test_change_stream import enroll_all, listed
from tests.support.event_reader import Reader
from tests.support.gateway import AUDIT, BASE, fresh, utc_now
from worker.deliveries.bodies import render_bodies
from worker.deliveries.fan_out import read_feed, read_submissions
from worker.relay.channels import EventStreamChannel


def test_every_way_out_carries_the_same_event(alone):
    gateway = alone
    course_id, ada = gateway.course(AUDIT), fresh("ada")
    hook = {"url": "https://lms.example.org/hook", "courses": [course_id]}
    added = gateway.call("POST", "webhooks", gateway.admin, json=hook).json
    with gateway.sessions.begin() as session:
        endpoints.verify(session, UUID(added["id"]), hook["url"])
    since = enroll_all(gateway, ada, course_id=course_id)

    (event,) = listed(gateway, f"since={since}")
    (in_history,) = gateway.get(f"enrollment/{ada},{course_id}/history", gateway.admin).json[
        "events"
    ]
    reader = Reader(gateway, f"{BASE}/changes?since={since}", gateway.key("read"))
    reader.until(lambda: reader.events)
    reader.go_away()
    reader.until_ended()
    while read_feed(gateway.sessions):
        continue
    read_submissions(gateway.sessions)
    with gateway.sessions.read() as session:
        installation = installation_id(session)
        (recorded,) = events_after(session, since, limit=1)
        channel = EventStreamChannel("redis://127.0.0.1:1/0", "events", length=1)
        (entry,) = channel.render(session, [recorded])
        (found,) = [each for each in endpoints.find_all(session) if str(each.id) == added["id"]]
        due = find_due(session, found.id, now=utc_now(), limit=10)
        bodies = list(map(json.loads, render_bodies(session, due).values()))

    assert event["source"] == f"{BASE}/installations/{installation}"
    of_change = [body for body in bodies if body["type"].startswith("enrollment.")]
    assert [event] == of_change
    assert event == in_history == reader.events[0].shown == orjson.loads(entry.fields["event"])
    assert {body["source"] for body in bodies} == {event["source"]}
    assert len(bodies) == 3
