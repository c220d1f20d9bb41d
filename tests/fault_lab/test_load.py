"""A load on a real service ends with everything known, processed, read and checked."""

import pytest

from enrollment.storage.engine.sessions import sessions_for
from tests.fault_lab.checker.check import CheckResult, Trace, check
from tests.fault_lab.checker.ledger import mark
from tests.fault_lab.history import History, Op, Phase, read_history
from tests.fault_lab.load.client import RequestedChange
from tests.fault_lab.load.generator import Load
from tests.fault_lab.load.workload import Mix
from tests.fault_lab.stack.proxy import Proxy
from tests.fault_lab.stack.proxy_modes import CutBeforeReply, Pass
from tests.support.servers import free_port
from tests.support.service_processes import Stack, needs_proc, wait_until

pytestmark = [needs_proc, pytest.mark.slow]

#: A small load, so that a busy machine keeps up.
SMALL = Mix(singles=60.0, files=2.0, rows=(20, 200), learners=8, repeats=0.1, reuses=0.1)


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    stack = Stack(tmp_path_factory.mktemp("service")).start()
    try:
        wait_until(stack.is_ready, stack.log)
        yield stack
        assert stack.end() == 0
    finally:
        stack.bury()


@pytest.fixture
def sessions(service):
    made = sessions_for(f"sqlite:///{service.data / 'enrollment.sqlite3'}")
    yield made
    made.dispose()


@pytest.fixture
def history(tmp_path):
    with History(tmp_path / "history.jsonl") as made:
        yield made


def test_a_calm_run_is_good_and_has_something_of_everything(service, sessions, history):
    since = mark(sessions)
    with Load(
        [service.url], service.key(), history, 1, run="calm", mix=SMALL, since=since.position
    ) as load:
        load.prepare()
        load.start()
        wait_until(lambda: load.accepted >= 150 and load.accepted_items >= 300)
        history.heal()
        assert load.settle(60.0)

    verdict = check(history.path, sessions, since=since, minimum=200)
    assert verdict.result is CheckResult.OK, verdict.text()
    assert verdict.accepted_items == load.accepted_items
    assert verdict.accepted == load.accepted
    assert verdict.p50 <= verdict.p99
    records = list(read_history(history.path))
    done = {(record.op, record.phase) for record in records}
    assert done >= {(op, Phase.OK) for op in set(Op) - {Op.REUSE, Op.FAULT}}
    assert (Op.REUSE, Phase.FAIL) in done
    codes = {
        outcome[1]
        for record in records
        if record.op in {Op.STATUS, Op.OUTCOMES}
        for outcome in record.facts.get("outcomes", ())
    }
    assert codes >= {"enrolled", "deactivated", "unchanged", "mode_changed", "refused"}


def test_who_never_hears_202_asks_again_until_it_is_known(service, sessions, history):
    """One answer in five is lost after the service stored the request."""
    since = mark(sessions)
    port = int(service.url.rpartition(":")[2])
    with (
        Proxy("127.0.0.1", port) as proxy,
        Load(
            [f"http://127.0.0.1:{proxy.port}"], service.key(), history, 2, run="cut", mix=SMALL
        ) as load,
    ):
        load.prepare()
        with history.fault("cut") as active_fault:
            proxy.set(CutBeforeReply(b"POST /api", p=0.2))
            load.start()
            wait_until(lambda: proxy.seen.replies_swallowed >= 10 and load.accepted >= 40)
            active_fault.witness(replies_swallowed=proxy.seen.replies_swallowed)
            load.stop()
            proxy.set(Pass())
        history.heal()
        assert load.settle(60.0)

    lost = [Trace.UNKNOWN_ANSWERS, Trace.REPLAYED_KEYS]
    verdict = check(history.path, sessions, since=since, minimum=40, traces=lost)
    assert verdict.result is CheckResult.OK, verdict.text()


def test_what_others_ask_is_followed_to_its_end_too(service, sessions, history):
    since = mark(sessions)
    course = "course-v1:others+Course+2026"
    quiet = Mix(singles=0.0, files=0.0, courses=0, scarce_courses=0)
    with (
        Load([service.url], service.key(), history, 3, run="others", mix=quiet) as load,
        load.new_client("other") as other,
    ):
        load.start()
        assert other.course(course, capacity=1)
        for number in range(3):
            load.watch(other.single(RequestedChange(f"someone{number}", course)))
        load.watch(other.file([RequestedChange("someone0", course, is_active=False)]))
        assert load.settle(60.0)

    verdict = check(history.path, sessions, since=since, minimum=4)
    assert verdict.result is CheckResult.OK, verdict.text()
    assert load.accepted_items == 4


def test_a_load_on_a_service_that_is_away_knows_nothing_and_ends(history):
    with Load([f"http://127.0.0.1:{free_port()}"], "key", history, 4, mix=SMALL) as load:
        load.start()
        wait_until(
            lambda: sum(one.phase is Phase.UNKNOWN for one in read_history(history.path)) > 9
        )
        assert not load.settle(0.2)
    assert load.accepted_items == 0
