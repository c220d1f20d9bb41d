"""Outcomes as they are kept, counted and told."""

from hypothesis import given
from hypothesis import strategies as st

from enrollment.domain.codes import Code, Reason
from enrollment.domain.model import Outcome
from enrollment.domain.submissions import Tally, decode_tally
from schemas.outcomes import decode_outcomes, dump_outcome, encode_outcomes, tally_outcomes

TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
OUTCOMES = st.builds(
    Outcome,
    st.integers(1, 2**31 - 1),
    st.none() | TEXT,
    st.none() | TEXT,
    st.sampled_from(Code),
    st.none() | st.sampled_from(Reason),
    st.none() | st.dictionaries(TEXT, st.none() | TEXT | st.integers(0, 99) | st.lists(TEXT)),
    st.none() | TEXT,
    st.none() | st.booleans(),
)


@given(outcomes=st.lists(OUTCOMES, max_size=20))
def test_outcomes_come_back_as_they_were_kept(outcomes):
    assert decode_outcomes(encode_outcomes(outcomes)) == outcomes


def test_a_thousand_outcomes_are_kept_in_little_room():
    outcomes = [Outcome(n, f"learner{n}", "course-v1:A+B+C", Code.ENROLLED) for n in range(1_000)]

    assert len(encode_outcomes(outcomes)) < 15_000


@given(outcomes=st.lists(OUTCOMES, max_size=20))
def test_every_outcome_is_counted_once(outcomes):
    tally = tally_outcomes(outcomes)

    assert tally.completed == len(outcomes)
    assert sum(tally.reasons.values()) == sum(o.reason is not None for o in outcomes)
    assert decode_tally(tally.as_json()) == tally


def test_tallies_add_up():
    one = Tally(counts={Code.ENROLLED: 2, Code.REFUSED: 1}, reasons={"course_full": 1})
    two = Tally(counts={Code.REFUSED: 2}, reasons={"course_full": 1, "aborted": 1})

    assert one + two == Tally(
        counts={Code.ENROLLED: 2, Code.REFUSED: 3}, reasons={"course_full": 2, "aborted": 1}
    )
    assert decode_tally(None) == decode_tally({}) == Tally()


# --- what programs read -------------------------------------------------------------------


def test_an_outcome_shows_what_it_has_and_nothing_else():
    assert dump_outcome(Outcome(3, "ada", "C", Code.ENROLLED, None, None, "audit", True)) == {  # noqa: FBT003
        "line": 3,
        "user": "ada",
        "course_id": "C",
        "outcome": "enrolled",
        "mode": "audit",
        "is_active": True,
    }


def test_a_refusal_shows_its_reason_and_its_facts():
    refused = Outcome(
        3, "ada", "C", Code.REFUSED, Reason.ENROLLMENT_CLOSED, {"closed_at": "2026-01-01T00:00:00Z"}
    )

    assert dump_outcome(refused) == {
        "line": 3,
        "user": "ada",
        "course_id": "C",
        "outcome": "refused",
        "reason": "enrollment_closed",
        "message": (
            "Enrollment in the course was open until 2026-01-01T00:00:00Z: invite the learner, or "
            "move the end of enrollment."
        ),
        "closed_at": "2026-01-01T00:00:00Z",
    }


def test_facts_never_take_the_place_of_what_every_outcome_has():
    refused = Outcome(
        1,
        "ada",
        "C",
        Code.REFUSED,
        Reason.MODE_EXPIRED,
        {"requested_mode": "verified"},
        "audit",
        True,  # noqa: FBT003
    )

    assert dump_outcome(refused)["outcome"] == "refused"
    assert dump_outcome(refused)["mode"] == "audit"
    assert dump_outcome(refused)["requested_mode"] == "verified"


def test_errors_of_an_invalid_row_have_sentences():
    error = {"field": "is_active", "value": "perhaps", "rule": "type"}
    invalid = Outcome(3, "ada", "C", Code.INVALID, Reason.INVALID_ROW, {"errors": [error]})
    sentence = "is_active: 'perhaps' is neither true nor false: write true, false, 1, 0, yes or no."

    assert dump_outcome(invalid)["errors"] == [{**error, "message": sentence}]
    assert dump_outcome(invalid)["message"] == sentence
    assert invalid.details == {"errors": [error]}
