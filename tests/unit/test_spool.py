"""Uploads on their way in: slow ones are taken, those that hardly come are not."""

import asyncio
from contextlib import AsyncExitStack

import falcon.asgi
import pytest
from falcon import testing

from api_gateway.auth.caller import Caller
from api_gateway.http.problems import Problem
from api_gateway.intake.spool import Spooler, UploadPace
from enrollment.domain.codes import CallerKind


class Sender:
    """Sends chunks, each so many seconds after the one before; then the end, or nothing."""

    def __init__(self, chunks, *, seconds, ends=True):
        self.now = 0.0
        self._seconds = seconds
        self._chunks = list(chunks)
        self._ends = ends

    def monotonic(self):
        return self.now

    async def receive(self):
        if not self._chunks and not self._ends:
            await asyncio.Event().wait()
        self.now += self._seconds
        body = self._chunks.pop(0) if self._chunks else b""
        more = bool(self._chunks) or not self._ends
        return {"type": "http.request", "body": body, "more_body": more}

    def request(self, caller="key:sis", **headers):
        scope = testing.create_scope(path="/", method="POST", headers=headers)
        made = falcon.asgi.Request(scope, self.receive)
        made.context.caller = Caller(caller, CallerKind.SERVER)
        return made


def spool(sender, **more):
    spooler = Spooler(10_000_000, monotonic=sender.monotonic, **more)

    async def taken():
        async with spooler.spool(sender.request()) as (file, _):
            file.seek(0)
            return len(file.read())

    return asyncio.run(taken())


@pytest.mark.parametrize(
    ("size", "seconds"),
    [(100_000, 1.0), (10_000, 1.0), (1_000, 1.0), (29_000, 29.0), (1, 0.1)],
)
def test_an_upload_may_be_slow(size, seconds):
    assert spool(Sender([b"x" * size] * 90, seconds=seconds)) == 90 * size


def test_an_upload_may_begin_slowly():
    assert spool(Sender([b"x"] * 29, seconds=1.0)) == 29


def test_an_upload_that_trickles_is_408():
    sender = Sender([b"x" * 900] * 10_000, seconds=1.0)
    with pytest.raises(Problem) as caught:
        spool(sender)
    assert (caught.value.status, caught.value.code) == (408, "request_timeout")
    assert sender.now == 30.0


def test_an_upload_that_begins_fast_may_not_trickle_later():
    sender = Sender([b"x" * 1_000_000, *[b"x" * 900] * 10_000], seconds=1.0)
    with pytest.raises(Problem) as caught:
        spool(sender)
    assert caught.value.status == 408
    assert sender.now == 31.0


@pytest.mark.parametrize(("used", "minimum"), [(1, 1_000), (2, 1_000), (3, 5_500), (4, 10_000)])
def test_the_more_places_are_taken_the_faster_an_upload_must_be(used, minimum):
    def pace_of(size):
        sender = Sender([b"x" * size] * 60, seconds=1.0)
        spooler = Spooler(10_000_000, max_concurrent=4, monotonic=sender.monotonic)

        async def taken():
            async with AsyncExitStack() as others:
                for _ in range(used - 1):
                    other = Sender([b"x"], seconds=0.0).request("key:other")
                    await others.enter_async_context(spooler.spool(other))
                async with spooler.spool(sender.request()):
                    return "taken"

        return asyncio.run(taken())

    assert pace_of(minimum) == "taken"
    with pytest.raises(Problem) as caught:
        pace_of(minimum - 1)
    assert caught.value.status == 408


def test_one_caller_cannot_take_all_places():
    sender = Sender([b"x"], seconds=0.0)
    spooler = Spooler(10, max_concurrent=4, max_per_caller=2)

    async def at_once():
        async with spooler.spool(sender.request()), spooler.spool(sender.request()):
            with pytest.raises(Problem) as caught:
                async with spooler.spool(sender.request()):
                    pytest.fail("there was a place")
            async with spooler.spool(sender.request("key:other")) as (file, _):
                assert not file.closed
        async with spooler.spool(sender.request()):
            return caught.value

    problem = asyncio.run(at_once())
    assert (problem.status, problem.code) == (429, "quota_exceeded")
    assert "ENROLL_MAX_UPLOADS_PER_CALLER" in problem.detail
    assert int(problem.headers["Retry-After"]) >= 1


def test_an_upload_that_falls_silent_is_408():
    with pytest.raises(Problem) as caught:
        spool(Sender([b"x"], seconds=0.0, ends=False), pace=UploadPace(max_idle_seconds=0.01))
    assert (caught.value.status, caught.value.code) == (408, "request_timeout")


def test_one_upload_too_many_is_told_to_come_back_and_places_are_given_back():
    sender = Sender([b"x"], seconds=0.0)
    spooler = Spooler(10, max_concurrent=2)

    async def at_once():
        async with spooler.spool(sender.request()), spooler.spool(sender.request()):
            with pytest.raises(Problem) as caught:
                async with spooler.spool(sender.request()):
                    pytest.fail("there was no place")
        async with spooler.spool(sender.request()) as (file, _):
            assert not file.closed
        return caught.value

    problem = asyncio.run(at_once())
    assert (problem.status, problem.code) == (503, "unavailable")
    assert int(problem.headers["Retry-After"]) >= 1


def test_a_refused_upload_gives_its_place_back():
    spooler = Spooler(10, max_concurrent=1)

    async def in_turn():
        with pytest.raises(Problem, match="may have at most 10 bytes"):
            async with spooler.spool(Sender([b"x" * 11], seconds=0.0).request()):
                pytest.fail("it was too long")
        async with spooler.spool(Sender([b"x"], seconds=0.0).request()) as (_, packed):
            return packed

    assert asyncio.run(in_turn()) is False


FORM = (
    b'--xyz\r\nContent-Disposition: form-data; name="lane"\r\n\r\nbulk\r\n'
    b'--xyz\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n'
    b"Content-Type: text/csv\r\n\r\nuser,course_id\r\n--xy\r\n--xyz--\r\n"
)


def spool_form(sender, most=10_000_000, **headers):
    async def taken():
        spooler = Spooler(most, monotonic=sender.monotonic)
        async with spooler.spool_form(sender.request(**headers), "xyz") as form:
            form.file.seek(0)
            return form.file.read(), form.file_name, form.media_type, form.fields

    return asyncio.run(taken())


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_a_form_is_taken_apart_while_it_comes_in(size):
    chunks = [FORM[at : at + size] for at in range(0, len(FORM), size)]

    assert spool_form(Sender(chunks, seconds=0.0)) == (
        b"user,course_id\r\n--xy",
        "a.csv",
        "text/csv",
        {"lane": "bulk"},
    )


@pytest.mark.parametrize("end", [10, 60, 150, len(FORM) - 9])
def test_a_form_that_breaks_off_says_so(end):
    sender = Sender([FORM[:end]], seconds=0.0)
    with pytest.raises(Problem) as caught:
        spool_form(sender, **{"Content-Length": str(len(FORM))})
    assert (caught.value.status, caught.value.code) == (400, "incomplete_upload")


def test_a_form_has_the_bounds_of_any_upload():
    with pytest.raises(Problem, match="may have at most 100 bytes"):
        spool_form(Sender([FORM[:60], FORM[60:]], seconds=0.0), most=100)
    with pytest.raises(Problem) as caught:
        spool_form(Sender([FORM], seconds=0.0), **{"Content-Encoding": "gzip"})
    assert caught.value.status == 415
