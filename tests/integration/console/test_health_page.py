"""The health page: processes, queue, throughput, parked batches and their retry."""

import re

import pytest
from sqlalchemy import select, update

from enrollment.storage.tables import BatchRow
from tests.support.console_browser import logged_in
from tests.support.gateway import AUDIT, fresh, utc_now


@pytest.fixture
def parked(gateway):
    """The id of a batch that is parked, of a file."""
    gateway.work()
    course_id = gateway.course(AUDIT)
    gateway.post(
        "submissions",
        gateway.server,
        body=f"user,course_id\n{fresh('ada')},{course_id}\n",
        headers={"Content-Type": "text/csv"},
    )
    with gateway.worker_sessions.begin() as session:
        number = session.scalar(select(BatchRow.id).where(BatchRow.answered_at.is_(None)))
        values = {"parked_at": utc_now(), "attempts": 3}
        session.execute(update(BatchRow).where(BatchRow.id == number).values(values))
    yield number
    with gateway.worker_sessions.begin() as session:
        freed = {"parked_at": None, "attempts": 0}
        session.execute(update(BatchRow).where(BatchRow.id == number).values(freed))
    gateway.work()


def test_processes_queue_and_throughput_are_shown(gateway, admin):
    course_id = gateway.course(AUDIT)
    gateway.submit(f"user,course_id\nada,{course_id}\nbob,{course_id}\n", gateway.server)
    page = admin.get("/console/health")

    assert page.status_code == 200
    assert "worker" in page.text
    assert '<span class="pill good">Lives</span>' in page.text
    assert page.text.count("<rect ") == 30 + 1  # the icon has one
    heights = [float(one) for one in re.findall(r'<rect x="[^>]* height="([\d.]+)"', page.text)]
    assert heights[-1] > 0
    assert 'hx-trigger="every 10s"' in page.text
    assert "No batch is parked" in page.text


def test_a_parked_batch_is_retried(gateway, admin, parked):
    page = admin.get("/console/health")

    assert "Needs attention" in page.text
    assert f'name="batch" value="{parked}"' in page.text
    sent = admin.send("/console/health/retry", {"batch": str(parked)})
    assert (sent.status_code, sent.headers["location"]) == (303, "/console/health?freed=1")
    page = admin.get(sent.headers["location"])
    assert "1 batch is processed again" in page.text
    assert "No batch is parked" in page.text
    assert (
        admin.send("/console/health/retry", {"batch": str(parked)})
        .headers["location"]
        .endswith("?freed=0")
    )


def test_all_parked_batches_are_retried(admin, parked):
    admin.get("/console/health")
    sent = admin.send("/console/health/retry")

    assert sent.headers["location"] == "/console/health?freed=1"
    assert f'value="{parked}"' not in admin.get("/console/health").text


@pytest.mark.parametrize("batch", ["x", "0", "-1", "1.5", "9" * 30, "9" * 5_000])
def test_what_is_no_batch_frees_none(admin, parked, batch):
    admin.get("/console/health")

    assert admin.send("/console/health/retry", {"batch": batch}).status_code == 400
    assert f'value="{parked}"' in admin.get("/console/health").text


def test_who_only_reads_sees_numbers_and_no_batches_or_urls(gateway, admin, parked):
    admin.get("/console/webhooks")
    url = f"https://{fresh('lms')}.example.org/hook"
    admin.send("/console/webhooks", {"url": url})
    page = logged_in(gateway, gateway.key("read")).get("/console/health")

    assert url in admin.get("/console/health").text
    assert page.status_code == 200
    assert "parked</span>" in page.text
    assert f'value="{parked}"' not in page.text
    assert url not in page.text
    assert "/console/webhooks" not in page.text
