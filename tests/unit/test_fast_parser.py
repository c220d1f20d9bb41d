import pytest
from hypothesis import given
from hypothesis import strategies as st
from marshmallow import ValidationError

from schemas.requests.fast_parser import parse_request_fast
from schemas.requests.schema import RequestSchema

KEY = "course-v1:edX+DemoX+Demo"
SCHEMA = RequestSchema()

ODD = st.sampled_from([None, "", 0, 1, True, False, [], {}, 1.5, "\0", "\ud800", "\x1f", "ﬀ"])
TEXTS = st.text(st.characters(), max_size=6) | st.sampled_from(["x" * 100, "x" * 101, "İ" * 100])
USERS = st.sampled_from(["ada", "a b", "a.b_c@d+e-f", "é", " a", "a" * 255, "a" * 256, "a\n"])
EMAILS = st.sampled_from(
    ["A@b", "a@b.example", "İ@b", "İ" * 125 + "@b", "a" * 252 + "@b", "a@b@c", "a b@c", "a@b\n"]
)
KEYS = st.sampled_from(
    [KEY, "a/b/c", "course-v1:a+b", "course-v1:" + "a" * 250 + "+b+c", KEY + "\n"]
)
MOMENTS = st.sampled_from(
    [
        "2026-01-02T03:04:05Z",
        "2026-01-02",
        "20260102T030405.123456+0530",
        "2026-01-02t03:04:05z",
        "9999-12-31T23:00-02:00",
    ]
)
ATTRIBUTES = st.lists(
    st.fixed_dictionaries(
        {},
        optional=dict.fromkeys(["namespace", "name", "value", "more"], TEXTS | ODD),
    )
    | ODD,
    max_size=3,
) | st.just([{"namespace": "a", "name": "b", "value": "c"}] * 101)
BODIES = st.fixed_dictionaries(
    {},
    optional={
        "user": USERS | TEXTS | ODD,
        "email": EMAILS | TEXTS | ODD,
        "course_id": KEYS | ODD,
        "course_details": st.fixed_dictionaries(
            {}, optional={"course_id": KEYS | ODD, "email_opt_in": ODD}
        )
        | ODD,
        "mode": TEXTS | ODD,
        "is_active": st.booleans() | ODD,
        "force_enrollment": st.booleans() | ODD,
        "email_opt_in": st.booleans() | ODD,
        "cohort": TEXTS | ODD,
        "requested_at": MOMENTS | TEXTS | ODD,
        "enrollment_attributes": ATTRIBUTES | ODD,
        "more": ODD,
    },
)


#: Most of these are well-formed, so that the fast path has something to say.
NEAR = st.builds(
    lambda good, odd: good | odd,
    st.fixed_dictionaries(
        {"course_id": st.just(KEY), "user": USERS},
        optional={
            "email": EMAILS,
            "mode": st.sampled_from(["audit", "é", "m" * 100]),
            "is_active": st.booleans(),
            "email_opt_in": st.booleans() | st.none(),
            "course_details": st.fixed_dictionaries({}, optional={"email_opt_in": ODD}),
            "cohort": st.sampled_from(["blue", None]),
            "requested_at": MOMENTS,
            "enrollment_attributes": st.just([{"namespace": "a", "name": "b", "value": "c"}]),
        },
    ),
    st.dictionaries(st.sampled_from(["user", "email", "course_details", "mode"]), ODD, max_size=1),
)


@given(NEAR | BODIES | ODD)
def test_what_the_fast_path_answers_the_schema_answers_too(body):
    asked = parse_request_fast(body)

    if asked is not None:
        answered = SCHEMA.load(body)
        assert asked == answered
        assert [type(part) for part in asked] == [type(part) for part in answered]


@given(NEAR | BODIES)
def test_what_the_schema_refuses_the_fast_path_never_answers(body):
    try:
        SCHEMA.load(body)
    except ValidationError:
        assert parse_request_fast(body) is None


@pytest.mark.parametrize(
    "body",
    [
        pytest.param({"user": "ada", "course_id": KEY}, id="least"),
        pytest.param({"user": "a.b", "course_details": {"course_id": KEY}}, id="details"),
        pytest.param({"email": "A@b.example", "course_id": KEY, "mode": "audit"}, id="email"),
        pytest.param(
            {
                "user": "a",
                "course_id": KEY,
                "is_active": False,
                "force_enrollment": True,
                "cohort": "c",
            },
            id="flags",
        ),
        pytest.param(
            {
                "user": "a",
                "course_id": KEY,
                "requested_at": "2026-01-02T03:04:05Z",
                "enrollment_attributes": [{"namespace": "a", "name": "b", "value": "c"}],
            },
            id="all",
        ),
    ],
)
def test_what_clients_send_takes_the_fast_path(body):
    assert parse_request_fast(body) is not None
