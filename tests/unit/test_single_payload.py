"""Batches of single requests, as this release and the one before store them."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enrollment.domain.codes import CallerKind
from enrollment.domain.model import Attribute, microseconds
from schemas.encoding.compact import pack_json, unpack_json
from schemas.requests.parsed import ParsedRequest
from schemas.requests.single_payload import Single, decode_singles, encode_singles

KEY = "course-v1:edX+DemoX+2026"
AT = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
ID = UUID(int=7)
FULL = ParsedRequest(
    "ada",
    "ada@example.org",
    KEY,
    is_active=False,
    mode="credit",
    attributes=(Attribute("credit", "provider_id", "x"),),
    cohort="red",
    force=True,
    requested_at=AT,
)
#: The same as the release before stored it.
FULL_CELLS = [
    *("ada", "ada@example.org", KEY, False, "credit", [["credit", "provider_id", "x"]], "red"),
    *(True, microseconds(AT)),
]


def single(request):
    return Single(ID, "key:sis", CallerKind.SERVER, AT, request)


def row(cells):
    return [ID.hex, "key:sis", CallerKind.SERVER.value, microseconds(AT), cells]


@given(
    st.builds(
        ParsedRequest,
        username=st.sampled_from(["ada", None]),
        email=st.just(None),
        course_id=st.just(KEY),
        attributes=st.sampled_from([None, (), (Attribute("a", "b", "c"),)]),
        requested_at=st.sampled_from([None, AT]),
        email_opt_in=st.sampled_from([None, True, False]),
    )
)
def test_what_is_stored_is_read(request):
    assert decode_singles(encode_singles([single(request)])) == [single(request)]


@pytest.mark.parametrize(
    ("cells", "request_"),
    [
        (FULL_CELLS, FULL),
        ([*("ada", None, KEY, True), *[None] * 3, False, None], ParsedRequest("ada", None, KEY)),
    ],
)
def test_batches_of_the_release_before_are_read(cells, request_):
    assert decode_singles(pack_json([row(cells)])) == [single(request_)]


@pytest.mark.parametrize("opt_in", [None, True, False])
def test_the_release_before_reads_ours_and_ignores_the_opt_in(opt_in):
    (stored,) = unpack_json(encode_singles([single(FULL._replace(email_opt_in=opt_in))]))
    assert stored[:5] == row(FULL_CELLS)
    assert stored[5:] == ([] if opt_in is None else [opt_in])
