"""Opt-ins to e-mail: kept by learner and organization, where the request is applied."""

import json

import pytest

from enrollment.domain.codes import Code
from enrollment.storage import learners
from enrollment.storage.people import opt_ins
from tests.support.in_process_service import (
    ADA,
    OTHER,
    csv_of,
    hours_ago,
    request,
    row,
)

LEGACY = "Uni/Drama/2026"
ELSEWHERE = "course-v1:Academy+Algebra+2026"


def stated(world, *names):
    with world.sessions.read() as session:
        return {name: found for name in names if (found := opt_ins.find(session, name))}


@pytest.mark.parametrize("opt_in", [True, False, None])
def test_an_opt_in_is_kept_by_learner_and_organization(world, opt_in):
    world.course()
    world.course(LEGACY)
    world.course(ELSEWHERE)
    world.ask(request("ada", email_opt_in=opt_in), request("bob", ELSEWHERE, email_opt_in=opt_in))
    world.ask(request("ada", LEGACY), request("ada", ELSEWHERE), caller=ADA)

    world.work()

    kept = {"ada": {"Uni": opt_in}, "bob": {"Academy": opt_in}}
    assert stated(world, "ada", "bob") == ({} if opt_in is None else kept)
    world.check()


def test_the_last_one_counts_in_a_batch_and_from_batch_to_batch(world):
    world.course()
    world.course(OTHER)
    world.ask(request("ada", email_opt_in=True), request("ada", OTHER, email_opt_in=False))
    world.work()
    assert stated(world, "ada") == {"ada": {"Uni": False}}

    world.ask(request("ada", email_opt_in=True))
    world.work()
    assert stated(world, "ada") == {"ada": {"Uni": True}}


@pytest.mark.parametrize(
    ("wish", "code"),
    [
        ({}, Code.UNCHANGED),
        ({"mode": "verified"}, Code.MODE_CHANGED),
        ({"is_active": False}, Code.DEACTIVATED),
        ({"mode": "gone"}, Code.REFUSED),
        ({"course_id": "course-v1:Uni+None+2026"}, Code.REFUSED),
    ],
)
def test_every_request_that_is_applied_or_holds_already_counts_and_no_other(world, wish, code):
    world.course(modes=["audit", "verified"])
    world.ask(request("ada"))
    world.work()
    (single,) = world.ask(request("ada", email_opt_in=True, **wish))

    world.work()

    assert world.answer(single)[0] is code
    assert stated(world, "ada") == ({} if code is Code.REFUSED else {"ada": {"Uni": True}})


def test_a_stale_request_does_not_undo_a_newer_opt_in(world):
    world.course()
    stale = csv_of([row("ada", requested_at=hours_ago(5), email_opt_in=True)])
    world.send(stale)
    world.work()
    world.ask(request("ada", email_opt_in=False))
    world.work()
    again = world.send(stale)

    world.work()

    assert world.codes(again) == [Code.SUPERSEDED]
    assert stated(world, "ada") == {"ada": {"Uni": False}}


@pytest.mark.parametrize("kind", ["csv", "ndjson", "json"])
def test_rows_of_files_state_opt_ins(world, kind):
    world.course()
    rows = [row("ada", email_opt_in=True), row("bob", email_opt_in=False), row("cyd")]
    content, media_type = {
        "csv": (csv_of(rows), "text/csv"),
        "ndjson": ("\n".join(map(json.dumps, rows)).encode(), "application/x-ndjson"),
        "json": (json.dumps(rows).encode(), "application/json"),
    }[kind]
    file = world.send(content, media_type=media_type)

    world.work()

    assert world.codes(file) == [Code.ENROLLED] * 3
    assert stated(world, "ada", "bob", "cyd") == {"ada": {"Uni": True}, "bob": {"Uni": False}}
    world.check()


@pytest.mark.parametrize("option", [{"dry_run": True}, {"on_error": "abort"}])
def test_dry_runs_and_aborted_files_store_none(world, option):
    world.course()
    rows = [row("ada", email_opt_in=True), row("bob", "course-v1:Uni+None+2026")]
    world.send(csv_of(rows), **option)

    world.work()

    assert stated(world, "ada", "bob") == {}


def test_who_is_deleted_leaves_no_opt_in(world):
    world.learner("ada")
    with world.sessions.begin() as session:
        opt_ins.set_many(session, {("ada", "Uni"): True, ("bob", "Uni"): True})
        learners.delete(session, "ada")
    assert stated(world, "ada", "bob") == {"bob": {"Uni": True}}


def test_many_are_written_by_one_statement_and_again(world):
    many = {(f"ada{n}", org): n % 2 == 0 for n in range(50) for org in ("Uni", 'A "b" \\{,}')}
    for known in (many, {key: not flag for key, flag in many.items()}):
        with world.sessions.begin() as session:
            opt_ins.set_many(session, known)
            opt_ins.set_many(session, {})
        with world.sessions.read() as session:
            found = {
                (f"ada{n}", org): flag
                for n in range(50)
                for org, flag in opt_ins.find(session, f"ada{n}").items()
            }
        assert found == known
