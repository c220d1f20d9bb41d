"""Webhooks of a whole service: registered over HTTP, sent by beat, also after it was killed."""

import threading

import pytest
from sqlalchemy import select, update

from enrollment.storage.engine.sessions import sessions_for
from enrollment.storage.tables import (
    DestinationDeliveryRow,
    DestinationRow,
    WebhookDeliveryRow,
    WebhookRow,
)
from tests.support.service import Service
from tests.support.service_processes import open_course, wait_until
from tests.support.webhook_receiver import WebhookReceiver, answers

COURSE = "course-v1:Uni+Hooks+2026"
#: Of three requests: a change and an end of each.
MESSAGES = 6
TYPES = ["enrollment.created", "submission.done"]


def end_leases(service):
    sessions = sessions_for(service.database_url, pool_size=1)
    with sessions.begin() as session:
        session.execute(update(WebhookRow).values(leased_until=None))
    sessions.dispose()


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

            wait_until(lambda: '"status":500' in http.get(log).text, service.log)
            service.beat.kill()
            end_leases(service)  # of messages that it was sending; else it takes two minutes
            service.start("beat")
            wait_until(lambda: len(delivered()) == MESSAGES, service.log)
            assert delivered() <= set(receiver.verified(added.json()["secret"]))


@pytest.mark.slow
def test_beat_ends_its_attempts_and_its_leases(tmp_path, redis_url):
    """An answer comes a second after SIGTERM, to a webhook and to a destination."""
    arrived, told = [threading.Event(), threading.Event()], threading.Event()

    def late(connection, ended):
        arrived[arrived[0].is_set()].set()
        told.wait(60)
        ended.wait(1)
        answers(200, body=b'{"mode": "audit", "is_active": true}')(connection, ended)

    with (
        WebhookReceiver(late) as receiver,
        Service(
            tmp_path,
            ENROLL_REDIS_URL=redis_url,
            ENROLL_PRIVATE_DESTINATIONS="true",
            ENROLL_ENCRYPTION_KEY="k" * 40,
        ) as service,
    ):
        service.start_all()
        with service.http() as http:
            http.post("/courses", json=open_course(COURSE))
            http.post("/webhooks", json={"url": receiver.url, "types": TYPES[:1]})
            lms = {"kind": "openedx", "url": receiver.url, "auth": {"api_key": "secret"}}
            assert http.put("/destinations/lms", json=lms).status_code == 201
            body = {"user": "ada", "course_details": {"course_id": COURSE}}
            http.post("/enrollment", json=body, headers={"Prefer": "wait=20"})
        for each in arrived:
            assert each.wait(60), service.log()
        threading.Timer(0.2, told.set).start()
        service.beat.end()
        sessions = sessions_for(service.database_url, pool_size=1)
        with sessions.read() as session:
            for row in (WebhookRow, DestinationRow):
                assert session.scalars(select(row.leased_until)).all() == [None]
            for row in (WebhookDeliveryRow, DestinationDeliveryRow):
                assert session.scalars(select(row.state)).all() == ["delivered"]
        sessions.dispose()
