"""PgBouncer in transaction mode, set up as docs/operations.md says: all works, nothing is held."""

import json
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.engine import make_url

from api_gateway.audit.verify import verify
from enrollment.storage import migrate
from enrollment.storage.engine import durability
from enrollment.storage.engine.sessions import sessions_for
from tests.support.pgbouncer import NEWER, pgbouncer
from tests.support.servers import create_database, drop_database, redis_process
from tests.support.service import Service, ask, hand_in, open_for_all
from tests.support.service_processes import ended, needs_proc
from tests.support.silent_cut import SilentCut

pytestmark = [
    needs_proc,
    pytest.mark.slow,
    pytest.mark.timeout(240),
    pytest.mark.skipif(NEWER is None, reason="no PgBouncer 1.21: run tests/servers/fetch.sh"),
]

PAGE = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
SECTION = PAGE.partition("### Connection poolers\n")[2].partition("\n### ")[0]
#: The lines for `pgbouncer.ini`; the first one is in the file of the tests already.
LINES = re.findall(r"^    (\w+ = \w+)$", SECTION, re.MULTILINE)[1:]
#: Fewer server sessions than the service opens connections.
FEW = "default_pool_size = 6"
#: Seconds until PgBouncer ends a client that vanished; without its settings, two hours.
FREED = 100.0
OPEN = "SELECT count(*) FROM pg_stat_activity WHERE xact_start IS NOT NULL AND datname = %s"


@pytest.fixture
def direct(server) -> Iterator[str]:
    """A database of a server whose role has the settings of the page."""
    made = create_database(server.url)
    with psycopg.connect(server.url.replace("+psycopg", ""), autocommit=True) as session:
        for statement in re.findall(r"^    (ALTER ROLE enroll SET .*;)$", SECTION, re.MULTILINE):
            session.execute(statement.replace("ROLE enroll", "ROLE postgres"))
        yield made
        session.execute("ALTER ROLE postgres RESET ALL")
    drop_database(server.url, made)


@pytest.fixture
def pooled(direct) -> Iterator[str]:
    more = "\n".join((FEW, *LINES))
    with pgbouncer(direct, mode="transaction", more=more, program=NEWER) as url:
        yield url


def errors(service):
    """Returns the names of the errors in the logs."""
    lines = [json.loads(line) for line in service.log().splitlines() if line.startswith("{")]
    return {line["event"] for line in lines if line["level"] in {"error", "critical"}}


def test_the_whole_service_works_through_few_sessions(pooled, tmp_path):
    course = "course-v1:Uni+PgBouncer+2026"
    with (
        redis_process() as redis,
        Service(tmp_path, database_url=pooled, ENROLL_REDIS_URL=redis.url) as service,
    ):
        service.start_all()
        service.start("worker")
        with service.http() as http:
            open_for_all(http, course)
            taken = [
                each
                for number in range(5)
                for each in hand_in(http, course, f"n{number}x", singles=40, rows=1_500)
            ]
            for each in taken:
                ended(http, each, service.log)
            waited = ask(http, "ada", course, Prefer="wait=30")
            assert waited.status_code == 200, waited.text
        assert service.enrolled(course) == 5 * (40 + 1_500) + 1
        assert "prepared statement" not in service.log()
        assert errors(service) <= {"records.not_durable"}
    sessions = sessions_for(pooled, pool_size=1)
    assert verify(sessions).is_sound
    with sessions.read() as session:
        facts = durability.load_durability_facts(session, inspects_pooler=True)
    sessions.dispose()
    assert "pooler" not in " ".join(fact.message for fact in facts)


def test_a_client_that_vanishes_gives_its_locks_back(pooled, direct):
    migrate.upgrade(direct)
    there = make_url(pooled)
    with (
        SilentCut(there.port, 1, without_sync=True) as cut,
        psycopg.connect(direct.replace("+psycopg", ""), autocommit=True) as watching,
        psycopg.connect(
            host=there.host, port=cut.port, user=there.username, dbname=there.database
        ) as client,
    ):
        client.execute("LOCK TABLE course")
        held = [there.database]
        assert watching.execute(OPEN, held).fetchone() == (2,)  # its own statement is one
        cut.arm()
        client.pgconn.send_query_params(b"SELECT $1", [b"1"])
        client.pgconn.flush()
        deadline = time.monotonic() + FREED
        while watching.execute(OPEN, held).fetchone() != (1,) and time.monotonic() < deadline:
            threading.Event().wait(0.5)
        assert watching.execute(OPEN, held).fetchone() == (1,)
        client.pgconn.finish()
