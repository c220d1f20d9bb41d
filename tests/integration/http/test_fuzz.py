"""Whatever comes over the wire, the answer is never a fault of ours."""

import csv
import io
import json
from string import Formatter
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from api_gateway.auth.permissions import PERMISSIONS
from api_gateway.routes import ROUTES
from tests.support.gateway import AUDIT

KNOWN = "course-v1:Fuzz+Known+1"
ODD = [
    "",
    "\0",
    "\0\0",
    "\r\n",
    "%",
    "%00",
    "+",
    ",",
    ".",
    "..",
    "'",
    '"',
    "=1+1",
    "٣",
    "²",
    "1e9",
    "-0",
]
LONG = [
    "9" * 19,
    "9" * 40,
    "0" * 40,
    "\u2028",
    "\U0010ffff",
    "NaN",
    "null",
    "a" * 300,
    KNOWN,
    "a/b/c",
]
odd = st.sampled_from([*ODD, *LONG])
words = odd | st.text(max_size=40) | st.integers().map(str)
FILTERS = ["user", "username", "course_id", "course_ids", "email", "state", "outcome", "reason"]
PLACES = ["cursor", "page_size", "limit", "since", "include_expired"]
OPTIONS = ["format", "default_mode", "on_error", "lane", "source", "dry_run", "mode"]
PARAMETERS = [*FILTERS, *PLACES, *OPTIONS]
queries = st.lists(st.tuples(st.sampled_from(PARAMETERS), words), max_size=4)
READ = sorted(
    route for route, method in PERMISSIONS if method == "GET" and route not in {"livez", "readyz"}
)
wire = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40)
HEADERS = [
    "Prefer",
    "If-None-Match",
    "Idempotency-Key",
    "Accept",
    "X-Request-ID",
    "Content-Encoding",
]
HEADERS += [
    "Accept-Encoding",
    "If-Match",
    "Range",
    "Expect",
    "X-Forwarded-For",
    "Forwarded",
    "Cookie",
]


@pytest.fixture(scope="module", autouse=True)
def known_course(gateway):
    gateway.course(AUDIT, course_id=KNOWN)


def asked_for(query):
    return "&".join(f"{name}={quote(value, safe='')}" for name, value in query)


@hypothesis_settings(max_examples=60)
@given(route=st.sampled_from(READ), part=words, query=queries)
def test_no_address_and_no_query_breaks_a_read(gateway, route, part, query):
    template = ROUTES[route].replace(":path", "")
    names = [name for _, name, _, _ in Formatter().parse(template) if name]
    given_parts = dict.fromkeys(names, quote(part, safe=""))
    path = template.format(**given_parts)
    for who in (gateway.admin, gateway.learner("ann")):
        answer = gateway.get(path, who, query_string=asked_for(query))
        assert answer.status_code < 500, answer.text
        if answer.status_code >= 400 and answer.content:
            assert answer.json["message"]


@hypothesis_settings(max_examples=40)
@given(username=words, course_id=words | st.just(KNOWN))
def test_no_name_breaks_the_reading_of_one_enrollment(gateway, username, course_id):
    path = f"enrollment/{quote(username, safe='')},{quote(course_id, safe='')}"
    for tail in ("", "/history"):
        assert gateway.get(path + tail, gateway.admin).status_code in {200, 400, 404}


@hypothesis_settings(max_examples=40)
@given(
    headers=st.dictionaries(st.sampled_from(HEADERS), wire, max_size=3),
    content_type=st.sampled_from(["application/json", "text/csv", "application/x-ndjson"]) | wire,
)
def test_no_header_breaks_anything(gateway, headers, content_type):
    body = json.dumps({"user": "ann", "course_id": KNOWN}).encode()
    headers = {name: value for name, value in headers.items() if "wait" not in value.lower()}
    sent = headers | {"Content-Type": content_type}
    for path in ("enrollment", "submissions"):
        answer = gateway.post(path, gateway.server, body=body, headers=sent)
        assert answer.status_code < 500, answer.text
    for path in ("submissions", f"course/{KNOWN}", f"enrollment/ann,{KNOWN}"):
        assert gateway.get(path, gateway.server, headers=headers).status_code < 500


cells = (
    odd | st.text(max_size=20) | st.sampled_from(["ann", "bob", "audit", "true", "false", KNOWN])
)
columns = st.sampled_from(
    ["user", "email", "course_id", "mode", "is_active", "requested_at", "cohort", "note"]
)
names = st.sampled_from(["enrollment_attributes", "force_enrollment", "outcome", ""]) | words


@st.composite
def tables(draw):
    head = ["user", "course_id", *draw(st.lists(columns | names, max_size=3, unique=True))]
    rows = draw(st.lists(st.lists(cells, max_size=6), max_size=5))
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=draw(st.sampled_from(",;\t"))).writerows([head, *rows])
    return text.getvalue().encode(errors="replace")


lines = st.lists(
    st.dictionaries(columns, cells | st.none() | st.booleans(), max_size=4), max_size=5
)
files = st.one_of(
    st.tuples(st.just("text/csv"), tables()),
    st.tuples(st.just("text/csv"), st.binary(max_size=200)),
    st.tuples(
        st.just("application/x-ndjson"),
        lines.map(lambda rows: "\n".join(map(json.dumps, rows)).encode()),
    ),
    st.tuples(st.just("application/x-ndjson"), st.binary(max_size=100)),
    st.tuples(st.just("application/json"), lines.map(lambda rows: json.dumps(rows).encode())),
)


@hypothesis_settings(max_examples=25)
@given(file=files, abort=st.booleans())
def test_whatever_file_is_taken_in_is_answered_to_its_last_row(gateway, file, abort):
    content_type, body = file
    answer = gateway.post(
        "submissions",
        gateway.admin,
        body=body,
        headers={"Content-Type": content_type},
        query_string="on_error=abort" if abort else "",
    )
    assert answer.status_code in {202, 400, 413, 415, 422}, answer.text
    if answer.status_code != 202:
        assert answer.json["message"]
        return
    gateway.work()
    place = answer.headers["location"]
    shown = gateway.get(place, gateway.admin).json
    assert (shown["state"], shown["counts"]["pending"]) == ("done", 0)
    assert "internal_error" not in shown["reasons"]
    outcomes = gateway.get(f"{place}/outcomes?limit=1000", gateway.admin).json["outcomes"]
    assert len(outcomes) == shown["counts"]["total"]
    text = gateway.get(f"{place}/outcomes", gateway.admin, headers={"Accept": "text/csv"}).text
    again = gateway.post(
        "submissions", gateway.admin, body=text.encode(), headers={"Content-Type": "text/csv"}
    )
    assert (again.status_code, again.json["counts"]["total"]) == (202, shown["counts"]["total"])
    gateway.work()
