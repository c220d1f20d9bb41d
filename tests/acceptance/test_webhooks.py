"""Webhooks of a whole service: registered over HTTP, sent by beat, also after it was killed."""

import pytest

from tests.support.service import Service
from tests.support.service_processes import open_course, wait_until
from tests.support.webhook_receiver import WebhookReceiver, answers

COURSE = "course-v1:Uni+Hooks+2026"
#: Of three requests: a change and an end of each.
MESSAGES = 6
TYPES = ["enrollment.created", "submission.done"]


@pytest.mark.slow
def test_each_change_arrives_although_beat_is_killed(tmp_path, redis_url):
    with (
        WebhookReceiver(answers(500), answers(200)) as receiver,
        Service(
            tmp_path, ENROLL_REDIS_URL=redis_url, ENROLL_PRIVATE_DESTINATIONS="true"
        ) as service,
    ):
        service.start_all()
        with service.http() as http:
            http.post("/courses", json=open_course(COURSE))
            added = http.post("/webhooks", json={"url": receiver.url, "types": TYPES})
            assert added.status_code == 201, added.text
            for n in range(3):
                body = {"user": f"ada{n}", "course_details": {"course_id": COURSE}}
                http.post("/enrollment", json=body, headers={"Prefer": "wait=20"})
            log = f"/webhooks/{added.json()['id']}/deliveries"

            def delivered():
                found = http.get(log, params={"state": "delivered"}).json()["deliveries"]
                return {each["message_id"] for each in found}

            # the first failure is stored, so no lease is left by the process that is killed
            wait_until(lambda: '"status":500' in http.get(log).text, service.log)
            service.beat.kill()
            service.start("beat")
            wait_until(lambda: len(delivered()) == MESSAGES, service.log)
            assert delivered() <= set(receiver.verified(added.json()["secret"]))
