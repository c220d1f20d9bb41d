"""Ids of events, and the stored form of their states."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import literal, select

from enrollment.domain.events import MAX_ORDINAL, EnrollmentState
from enrollment.domain.model import Attribute
from enrollment.storage.event_ids import batch_id_column, batch_id_of, event_id, is_event_of
from enrollment.storage.events import decode_state, encode_state

BATCHES, ORDINALS = st.integers(0, 2**48), st.integers(0, MAX_ORDINAL)
TEXT = st.text(st.characters(codec="utf-8"), max_size=9)
STATES = st.builds(
    EnrollmentState,
    TEXT,
    st.booleans(),
    st.lists(st.builds(Attribute, TEXT, TEXT, TEXT), max_size=3).map(tuple),
    st.none() | TEXT,
)


@given(BATCHES, ORDINALS)
def test_an_event_id_names_its_batch(batch_id, ordinal):
    assert batch_id_of(event_id(batch_id, ordinal)) == batch_id


@given(BATCHES, BATCHES, ORDINALS, ORDINALS)
def test_event_ids_are_in_the_order_of_batches_then_places(one, other, first, second):
    pairs = (one, first), (other, second)

    assert (event_id(*pairs[0]) < event_id(*pairs[1])) == (pairs[0] < pairs[1])


def test_sql_and_python_agree(sessions):
    given_id = event_id(7, MAX_ORDINAL)
    with sessions.read() as session:
        row = session.execute(
            select(
                batch_id_column(literal(given_id)),
                is_event_of(literal(given_id), literal(7)),
                is_event_of(literal(given_id + 1), literal(7)),
                is_event_of(literal(given_id), literal(8)),
            )
        ).one()

    assert tuple(map(int, row)) == (batch_id_of(given_id), 1, 0, 0)


@given(STATES)
def test_a_state_comes_back_from_its_stored_form(state):
    assert decode_state(encode_state(state)) == state


def test_members_without_a_value_are_left_out_of_the_stored_form():
    stored = encode_state(EnrollmentState("audit", is_active=True))

    assert json.loads(stored) == {"mode": "audit", "is_active": True}


@pytest.mark.parametrize(
    "stored", ["", "{", "[]", "1", "null", "{}", '{"mode": "audit"}', '{"mode":"a","is_active":true,"attributes":[1]}']
)  # fmt: skip
def test_what_is_no_state_is_refused(stored):
    with pytest.raises(ValueError, match="state"):
        decode_state(stored)
