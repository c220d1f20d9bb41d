"""The check of deliveries accepts what is promised, and names each fault."""

from dataclasses import replace

import pytest

from tests.fault_lab.checker.deliveries import (
    INTERNAL_ERROR,
    Arrival,
    Change,
    DeliveryRecord,
    Reply,
    StoredResult,
    find_faults,
)

ADA, BOB = "algebra/ada", "algebra/bob"
CHANGES = (Change("1", ADA), Change("2", BOB), Change("3", ADA), Change("4", ADA))
FIRST, SECOND, THIRD, FOURTH = (
    Arrival(change.id, b"body " + change.id.encode()) for change in CHANGES
)
ALL = (FIRST, SECOND, THIRD, FOURTH)
STORED = StoredResult("s1", ("enrolled ada", "enrolled bob"))
REPLY = Reply("m1", *STORED)
REFUSAL = Reply("m1", "", (INTERNAL_ERROR,))
GOOD = DeliveryRecord(
    changes=CHANGES,
    arrivals={"stream": ALL},
    requests={"m1": 2},
    stored={"m1": [STORED]},
    replies=[REPLY],
)


@pytest.mark.parametrize(
    "arrivals",
    [
        pytest.param(ALL, id="once"),
        pytest.param((FIRST, SECOND, *ALL), id="repeated from the start"),
        pytest.param((FIRST, FIRST, THIRD, FIRST, SECOND, FOURTH), id="others overtake"),
        pytest.param(
            (THIRD._replace(lane="b"), FIRST, SECOND, FOURTH), id="parts with orders of their own"
        ),
    ],
)
def test_deliveries_at_least_once_and_in_order_are_right(arrivals):
    assert list(find_faults(replace(GOOD, arrivals={"stream": ALL, "webhook": arrivals}))) == []


@pytest.mark.parametrize(
    ("arrivals", "fault"),
    [
        pytest.param((FIRST, SECOND, FOURTH), "3 of algebra/ada never came", id="skipped"),
        pytest.param(ALL[:3], "4 of algebra/ada never came", id="the last is missing"),
        pytest.param((), "1 of algebra/ada never came", id="nothing"),
        pytest.param(
            (FIRST, SECOND, FOURTH, THIRD),
            "3 of algebra/ada came first after 4, a later change of the enrollment",
            id="out of order",
        ),
        pytest.param((*ALL, Arrival("5", b"")), "5 is the id of no change", id="another id"),
        pytest.param(
            (*ALL, FIRST._replace(content=b"other")),
            "1 came twice with different contents",
            id="another content",
        ),
    ],
)
def test_a_wrong_delivery_is_found(arrivals, fault):
    found = list(find_faults(replace(GOOD, arrivals={"stream": ALL, "webhook": arrivals})))

    assert f"webhook: {fault}" in found
    assert not any(line.startswith("stream") for line in found)


@pytest.mark.parametrize(
    ("wrong", "fault"),
    [
        pytest.param(
            {"stored": {}, "replies": []}, "message m1 became 0 submissions, not 1", id="lost"
        ),
        pytest.param(
            {"stored": {"m1": [STORED, STORED._replace(submission="s2")]}},
            "message m1 became 2 submissions, not 1",
            id="stored twice",
        ),
        pytest.param(
            {"stored": {"m1": [StoredResult("s1", ("enrolled ada", None))]}},
            "message m1 has 1 outcomes for 2 requests",
            id="without an outcome",
        ),
        pytest.param(
            {"stored": {"m1": [STORED], "m2": [STORED]}},
            "message m2 is stored and was never sent",
            id="from nowhere",
        ),
        pytest.param({"replies": []}, "message m1 got no reply", id="no reply"),
        pytest.param(
            {"replies": [REPLY, REPLY._replace(outcomes=("refused ada", "enrolled bob"))]},
            "message m1 got 2 replies that differ",
            id="two replies that differ",
        ),
        pytest.param(
            {"replies": [REPLY._replace(outcomes=STORED.outcomes[::-1])]},
            "message m1 got a reply that is not what is stored",
            id="outcomes out of order",
        ),
        pytest.param(
            {"replies": [REPLY, REPLY._replace(request="m9")]},
            "a reply is for message m9, which was never sent",
            id="a reply to nobody",
        ),
    ],
)
def test_a_wrong_result_or_reply_is_found(wrong, fault):
    assert fault in list(find_faults(replace(GOOD, **wrong)))


def test_replies_may_be_repeated():
    assert list(find_faults(replace(GOOD, replies=[REPLY, REPLY, REPLY]))) == []


@pytest.mark.parametrize(
    "given",
    [
        pytest.param({"stored": {}, "replies": [REFUSAL], "copies": {"m1": 1}}, id="refused"),
        pytest.param({"replies": [REFUSAL, REPLY], "copies": {"m1": 2}}, id="one of two copies"),
        pytest.param({"replies": [REFUSAL, REPLY]}, id="a call that was delivered again"),
    ],
)
def test_a_refusal_that_an_error_explains_is_right(given):
    record = replace(GOOD, explained_refusals=1, **given)

    assert list(find_faults(record)) == []
    (fault,) = find_faults(replace(record, explained_refusals=0))
    assert fault == "1 refusals, and errors explain 0"


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        pytest.param(
            {"replies": [REFUSAL, REPLY], "copies": {"m1": 1}},
            "message m1 became 1 submissions and 1 refusals, not 1",
            id="stored and refused",
        ),
        pytest.param(
            {"stored": {}, "replies": [REFUSAL], "copies": {"m1": 2}},
            "message m1 became 0 submissions and 1 refusals, not 1",
            id="one copy is lost",
        ),
        pytest.param(
            {"stored": {}, "replies": [REFUSAL, REFUSAL], "copies": {"m1": 1}},
            "message m1 became 0 submissions and 2 refusals, not 1",
            id="refused twice",
        ),
        pytest.param(
            {"stored": {}, "replies": [], "copies": {"m1": 1}},
            "message m1 became 0 submissions, not 1",
            id="lost",
        ),
        pytest.param(
            {"replies": [REFUSAL], "copies": {"m1": 2}}, "message m1 got no reply", id="no reply"
        ),
        pytest.param(
            {"replies": [REPLY, REFUSAL._replace(outcomes=("invalid_row",))]},
            "message m1 got 2 replies that differ",
            id="refused for another reason",
        ),
        pytest.param(
            {"stored": {}, "replies": [REFUSAL, REPLY._replace(submission="s9")]},
            "message m1 got 2 replies that differ",
            id="a reply from nowhere",
        ),
    ],
)
def test_a_wrong_refusal_is_found(given, fault):
    assert fault in list(find_faults(replace(GOOD, explained_refusals=2, **given)))
