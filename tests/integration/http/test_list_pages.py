"""A page of a list costs a page: what PostgreSQL reads for it does not grow with the tables."""

import json
from collections.abc import Callable
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import pytest
from sqlalchemy import Connection, event

from api_gateway.auth.permissions import PERMISSIONS
from api_gateway.routes import BASE_V2
from enrollment.storage import idempotency, migrate
from enrollment.storage.destinations import removal
from enrollment.storage.engine.sessions import sessions_for
from enrollment.storage.upkeep import retention
from enrollment.storage.webhooks import deliveries
from tests.support.filled_tables import CALLER, fill
from tests.support.gateway import Gateway, ago
from tests.support.in_process_service import COURSE, OTHER, World
from tests.support.servers import create_database, drop_database
from worker.purge import Purge

#: Rows of the smaller and of the larger tables.
SIZES = (2_000, 20_000)
#: Rows of a page.
LIMIT = 20
#: Pages that may be read more: an index has another level, and a small table is read as a whole
#: where the rows of a page are looked up in a larger one.
SLACK = 3 * LIMIT

#: The requests for pages of every list, by route: first pages, filters, and pages far behind, which
#: follow `next` of a page. `{file}` is a file with many outcomes.
LISTS = {
    "submissions": [
        "submissions?limit={limit}",
        *(
            f"submissions?limit={{limit}}&state={state}"
            for state in ("queued", "running", "done", "cancelled", "queued&state=done")
        ),
    ],
    "enrollments": [
        "enrollments?page_size={limit}",
        "enrollments?page_size={limit}&course_id={large}",
        "enrollments?page_size={limit}&course_id={small}",
        "enrollments?page_size={limit}&course_ids={large},{small}",
        "enrollments?page_size={limit}&course_ids=Copy%2BC7",
        "enrollments?page_size={limit}&username=copy7,copy8,ada",
        "enrollments?page_size={limit}&course_id={large}&username=copy7,copy8",
        "enrollments?page_size={limit}&email=copy7@example.org",
    ],
    "changes": [
        "changes?limit={limit}",
        "changes?limit={limit}&since=777",
        "changes?limit={limit}&since={end}",
    ],
    "courses": ["courses?limit={limit}"],
    "submission_outcomes": [
        "submissions/{file}/outcomes?limit={limit}",
        "submissions/{file}/outcomes?limit={limit}&outcome=enrolled",
    ],
    "crosswalk": ["crosswalks/canvas?limit={limit}"],
    "webhook_deliveries": [
        "webhooks/01900000-0000-7000-8000-000000000000/deliveries?limit={limit}",
        "webhooks/01900000-0000-7000-8000-000000000000/deliveries?limit={limit}&state=delivered",
        "webhooks/01900000-0000-7000-8000-000000000000/deliveries?limit={limit}&state=failed",
    ],
    "destination_deliveries": [
        "destinations/lms/deliveries?limit={limit}",
        "destinations/lms/deliveries?limit={limit}&state=delivered",
        "destinations/lms/deliveries?limit={limit}&state=failed",
    ],
    "enrollment": ["enrollment?user=copy7"],
    "enrollment_allowed": ["enrollment_allowed?email=copy7@example.org"],
    "v2_enrollment_allowed": [
        f"{BASE_V2}/enrollment/enrollment_allowed?email=copy7@example.org",
    ],
    "v2_enrollment": [f"{BASE_V2}/enrollment?user=copy7&page_size=1"],
    "v2_enrollments": [
        BASE_V2 + "/enrollments?page_size={limit}" + more
        for more in (
            "",
            "&page=3",
            "&course_key={large}",
            "&course_key={small}",
            "&course_keys={large},{small}",
            "&username=copy7,copy8,ada",
            "&course_key={large}&username=copy7,copy8",
        )
    ],
}
#: Routes that read one thing, or a file of all its rows page by page.
OTHERS = {
    "enrollment_detail",
    "course_details",
    "catalog",  # in the form of Open edX: it counts the courses, which are thousands at most
    "catalog_course",
    "account",
    "accounts",
    "me",
    "roles",
    "course_role",
    "eligibility",
    "v2_enrollment_detail",
    "v2_enrollment_legacy",
    "v2_course_details",
    "v2_course_legacy",
    "v2_allowed_legacy",
    "v2_roles",
    "submission",
    "submission_events",
    "crosswalk_missing",
    "course",
    "learner",
    "invitation",
    "destination_report",  # a range of the primary key
    "webhooks",  # a few, all of which are listed
    "webhook",
    "destinations",  # a few, all of which are listed
    "destination",
    "livez",
    "readyz",
    "metrics",
    "openapi",
    "docs",
    "docs_reasons",
    "docs_style",
}
REQUESTS = [path for paths in LISTS.values() for path in paths]

#: Portions of the purge: they find what is expired, and delete or hide it.
PURGES: dict[str, Callable[[Any, Any], object]] = {
    "keys": lambda session, before: idempotency.purge(session, before=before, limit=LIMIT),
    "files": lambda session, before: retention.hide_expired_files(
        session, before=before, limit=LIMIT
    ),
    "uploads": lambda session, before: retention.hide_abandoned_uploads(
        session, before=before, now=before, limit=LIMIT
    ),
    "hidden files": lambda session, before: retention.delete_hidden_files(session, limit=LIMIT),
    "deliveries": lambda session, before: deliveries.purge(session, before=before, limit=LIMIT),
    "destinations": lambda session, _: removal.purge(session, limit=LIMIT),
    "singles": lambda session, before: retention.purge_singles(session, before=before, limit=LIMIT),
}


class Filled(NamedTuple):
    """A gateway on tables of some size."""

    gateway: Gateway
    names: dict[str, object]

    def get(self, path: str) -> Any:
        who = self.gateway.key("admin", name=CALLER.removeprefix("key:"))
        answer = self.gateway.get(path.format(**self.names), who)
        assert answer.status_code == 200, answer.text
        return answer.json

    def pages_of(self, path: str) -> int:
        """Returns the pages that are read for a list, and for its second page."""
        with pages_read(self.gateway) as pages:
            found = self.get(path)
            if isinstance(found, dict) and isinstance(found.get("next"), str):
                self.get(next_page(path, found["next"]))
        return sum(pages)


def next_page(path, following):
    """Returns the request for the next page, from a link or a cursor."""
    cursor = following.rpartition("cursor=")[2]
    return f"{path}&cursor={cursor}"


@contextmanager
def pages_read(gateway: Gateway):
    """Collects the number of pages that each statement reads inside the block.

    But for counts, which read what they count (docs/decisions/0025-v2-pages.md).
    """
    pages: list[int] = []
    explaining = False

    def explain(connection: Connection, _cursor: Any, sql: str, parameters: Any, *_: Any) -> None:
        nonlocal explaining
        if explaining or not sql.startswith(("SELECT", "WITH", "DELETE", "UPDATE", "(")):
            return
        if sql.startswith("SELECT count("):
            return
        explaining = True
        plan = connection.exec_driver_sql(
            f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql}", parameters
        ).scalar()
        explaining = False
        top = (json.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"]
        pages.append(top["Shared Hit Blocks"] + top["Shared Read Blocks"])

    engine = gateway.sessions.engine
    event.listen(engine, "before_cursor_execute", explain)
    yield pages
    event.remove(engine, "before_cursor_execute", explain)


class RolledBack(Exception):
    """Ends a transaction without a commit."""


@pytest.fixture(scope="module")
def filled(postgres_base_url):
    """Gateways on tables of both sizes, by their size."""
    made, urls = {}, []
    for rows in SIZES:
        url = create_database(postgres_base_url)
        urls.append(url)
        migrate.upgrade(url)
        made[rows] = open_gateway(url, rows)
    yield made
    for each in made.values():
        each.gateway.close()
    for url in urls:
        drop_database(postgres_base_url, url)


def open_gateway(url, rows):
    sessions = sessions_for(url)
    world = World(sessions)
    file = fill(world, url, rows)
    world.close()
    sessions.dispose()
    names = {
        "limit": LIMIT,
        "large": COURSE.replace("+", "%2B"),
        "small": OTHER.replace("+", "%2B"),
        "file": file,
        "end": rows,
    }
    return Filled(Gateway(url), names)


def assert_no_growth(small: int, large: int) -> None:
    assert large <= small + SLACK, f"{small} pages of the smaller tables, {large} of the larger"


@pytest.mark.parametrize("path", REQUESTS)
def test_a_page_reads_no_more_of_large_tables_than_of_small_ones(filled, path):
    small, large = (filled[rows].pages_of(path) for rows in SIZES)

    assert large > 0
    assert_no_growth(small, large)


@pytest.mark.parametrize("name", PURGES)
@pytest.mark.parametrize("days", [-1, 365], ids=["all is expired", "nothing is expired"])
def test_a_portion_of_the_purge_reads_no_more_of_large_tables(filled, name, days):
    pages = []
    for rows in SIZES:
        gateway = filled[rows].gateway
        with pages_read(gateway) as read, suppress(RolledBack), gateway.sessions.begin() as session:
            PURGES[name](session, ago(days=days))
            raise RolledBack
        pages.append(sum(read))

    assert_no_growth(*pages)


def test_every_part_of_the_purge_is_measured():
    parts = Purge(sessions=None)._parts(ago(), first=0)

    assert {name.replace("_", " ") for name in parts} == set(PURGES)


def test_every_list_is_measured():
    reading = {route for route, method in PERMISSIONS if method == "GET"}

    assert set(LISTS) | OTHERS == reading
