"""What is done behind one's back is done in order, waited for, and told of when it fails."""

import threading
from contextvars import ContextVar

import pytest

from worker.behind import Behind

NAME = ContextVar("name", default="nobody")


class Broken(Exception):
    """Something went wrong behind."""


def fail():
    raise Broken


@pytest.fixture(params=[True, False], ids=["apart", "here"])
def behind(request):
    return Behind(is_apart=request.param)


def test_things_are_done_one_after_the_other_and_waited_for(behind):
    done = []
    with behind:
        for number in range(50):
            behind.do(lambda number=number: done.append(number))
    assert done == list(range(50))


def test_only_what_is_apart_has_a_thread_of_its_own():
    for is_apart in (True, False):
        with Behind(is_apart=is_apart) as behind:
            threads = []
            behind.do(lambda threads=threads: threads.append(threading.current_thread()))
        assert (threads == [threading.current_thread()]) is not is_apart


def test_a_failure_is_told_and_nothing_is_done_after_it(behind):
    done = []

    def block():
        with behind:
            behind.do(fail)
            behind.do(lambda: done.append(1))
            behind.do(lambda: done.append(2))

    with pytest.raises(Broken):
        block()
    assert done == []


def test_where_the_block_fails_that_is_told_once_nothing_is_under_way_any_more():
    begun, end = threading.Event(), threading.Event()
    done = []

    def slowly():
        begun.set()
        end.wait(10)
        done.append("slowly")

    def block():
        with Behind(is_apart=True) as behind:
            behind.do(slowly)
            behind.do(lambda: done.append("later"))
            begun.wait(10)
            threading.Timer(0.01, end.set).start()
            raise LookupError

    with pytest.raises(LookupError):
        block()
    assert done == ["slowly"]


def test_it_knows_what_its_owner_is_about(behind):
    NAME.set("batch 7")
    seen = []
    with behind:
        behind.do(lambda: seen.append(NAME.get()))
    assert seen == ["batch 7"]
