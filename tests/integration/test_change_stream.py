"""Streams of the change feed: each event once and in order, however often a client comes back."""

import asyncio
from itertools import count

import pytest
from falcon import testing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api_gateway.auth.caller import Caller
from api_gateway.auth.quotas import Quota
from api_gateway.database import Database
from api_gateway.feed import change_stream, feed_reader
from api_gateway.feed.change_filter import ChangeFilter
from api_gateway.feed.change_stream import ChangeStream, ChangeStreams
from api_gateway.feed.feed_reader import FeedReader
from enrollment.domain.codes import CallerKind
from enrollment.domain.errors import DatabaseUnavailable
from enrollment.storage import events as event_store
from tests.support.feed import append_batch
from tests.support.statements import recorded_statements

CALLER = Caller("key:lms", CallerKind.SERVER, frozenset({"read"}))
COURSES = ("course-v1:Uni+A+1", "course-v1:Uni+B+1")
PATIENCE = 30
#: Batches of all examples: their ids never repeat.
batch_ids = count(1)


@pytest.fixture(autouse=True)
def _small_and_eager(monkeypatch):
    """Pages have borders everywhere, and nobody waits between two reads."""
    monkeypatch.setattr(feed_reader, "PAGE_EVENTS", 3)
    monkeypatch.setattr(feed_reader, "MIN_FEED_POLL_SECONDS", 0.0)
    monkeypatch.setattr(change_stream, "MIN_READ_INTERVAL_SECONDS", 0.0)
    monkeypatch.setattr(change_stream, "READ_RETRY_SECONDS", 0.0)


@pytest.fixture
def database(sessions):
    made = Database(sessions, threads=2)
    yield made
    made._pool.shutdown()


class Client:
    """A client that reconnects with the last id it has heard, as a browser does."""

    def __init__(self, reader, position, wanted):
        async def identify(req):
            return CALLER

        quota = Quota("streams", setting="", per_caller=9, total=9)
        self.streams = ChangeStreams(reader=reader, identify=identify, quota=quota)
        self.last_id, self.wanted = position, wanted
        self.heard = []
        self.stream = None

    async def hear(self, number):
        """Takes events until it has heard so many more; marks only say where to go on."""
        if self.stream is None:
            req = testing.create_asgi_req()
            req.context.caller = CALLER
            self.stream = ChangeStream(self.streams, req, self.last_id, self.wanted).events()
        until = len(self.heard) + number
        while len(self.heard) < until:
            event = await anext(self.stream)
            self.last_id = int(event.event_id)
            if event.data is not None:
                self.heard.append(self.last_id)

    async def cut(self):
        if self.stream is not None:
            await self.stream.aclose()
        self.stream = None


WANTED = st.sampled_from(
    [
        ChangeFilter(),
        ChangeFilter(course_ids=frozenset(COURSES[:1])),
        ChangeFilter(usernames=frozenset({"learner1", "learner2"})),
        ChangeFilter(types=frozenset({"enrollment.deactivated"})),
    ]
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(1, 8), st.sampled_from(COURSES)),
        st.tuples(st.just("hear"), st.integers(0, 2), st.integers(1, 7)),
        st.tuples(st.just("cut"), st.integers(0, 2)),
    ),
    max_size=14,
)


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(filters=st.tuples(WANTED, WANTED, WANTED), steps=STEPS)
def test_every_client_gets_each_event_once_and_in_order(database, filters, steps):
    with database.sessions.read() as session:
        start = event_store.last_position(session)

    async def run():
        reader = FeedReader(database)
        clients = [Client(reader, start, wanted) for wanted in filters]

        def expected(client):
            with database.sessions.read() as session:
                found = event_store.events_after(session, start, limit=1_000)
            return [
                event.position
                for event in found
                if client.wanted.passes(
                    f"enrollment.{event.kind.value}", event.course_id, event.username
                )
            ]

        for action, *values in steps:
            if action == "append":
                append_batch(database.sessions, next(batch_ids), values[0], course_id=values[1])
                reader.on_completed(())
            elif action == "cut":
                await clients[values[0]].cut()
            else:
                client = clients[values[0]]
                left = len(expected(client)) - len(client.heard)
                await client.hear(min(values[1], left))
        for client in clients:
            await client.hear(len(expected(client)) - len(client.heard))
            assert client.heard == expected(client)
            await client.cut()
        await reader.stop()

    asyncio.run(asyncio.wait_for(run(), PATIENCE))


def test_many_streams_at_the_end_cost_one_question(database):
    """However many wait, the database is asked once where the feed ends, and once for the page."""

    async def run():
        reader = FeedReader(database)
        clients = [Client(reader, 0, ChangeFilter()) for _ in range(50)]
        append_batch(database.sessions, next(batch_ids), 2)
        await asyncio.gather(*(client.hear(2) for client in clients))
        with recorded_statements(database.sessions.engine) as statements:
            hearing = [asyncio.create_task(client.hear(3)) for client in clients]
            while len(reader._waiting) < len(clients):  # noqa: ASYNC110 (nothing tells)
                await asyncio.sleep(0.005)
            append_batch(database.sessions, next(batch_ids), 3)
            reader.on_completed(())
            await asyncio.gather(*hearing)
        assert all(client.heard == [1, 2, 3, 4, 5] for client in clients)
        pages = [one for one in statements if "FROM" in one and "spans" in one]
        assert len(pages) <= 4
        for client in clients:
            await client.cut()
        await reader.stop()

    asyncio.run(asyncio.wait_for(run(), PATIENCE))


def test_a_stream_outlives_an_outage_of_the_database(database, monkeypatch):
    async def run():
        reader = FeedReader(database)
        client = Client(reader, 0, ChangeFilter())
        append_batch(database.sessions, next(batch_ids), 4)
        await client.hear(1)
        read, failures = database.read, []

        async def away(*args):
            failures.append(args)
            if len(failures) > 3:
                monkeypatch.setattr(database, "read", read)
            message = "away"
            raise DatabaseUnavailable(message)

        monkeypatch.setattr(database, "read", away)
        await client.hear(3)
        assert (client.heard, len(failures)) == ([1, 2, 3, 4], 4)
        await client.cut()
        await reader.stop()

    asyncio.run(asyncio.wait_for(run(), PATIENCE))
