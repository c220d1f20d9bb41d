"""The client of kind `openedx` against an LMS that refuses, throttles, hangs and forgets."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from enrollment.domain.destinations.records import (
    ApplyResult,
    Auth,
    Destination,
    RemoteState,
    WantedState,
)
from enrollment.domain.model import Attribute
from enrollment.runtime.outbound.addresses import OutboundPolicy
from enrollment.runtime.outbound.guarded_http import guarded_client
from tests.support.scripted_lms import (
    API_KEY,
    CLIENT_ID,
    CLIENT_SECRET,
    DROPS,
    DROPS_AFTER,
    HANGS_AFTER,
    Fault,
    ScriptedLms,
    refuses,
    says,
)
from worker.destinations.openedx import reading
from worker.destinations.openedx.answers import LmsFailure
from worker.destinations.openedx.applying import ENROLLMENT_PATH, apply_state
from worker.destinations.openedx.client import OpenedxDestination
from worker.destinations.openedx.reading import CATALOG_PATH, ENROLLMENTS_PATH, LmsReader
from worker.destinations.openedx.session import TOKEN_PATH, LmsSession

CLIENT = Auth(CLIENT_ID, CLIENT_SECRET)
KEY = Auth(api_key=API_KEY)
COURSE = "course-v1:DemoX+ALG101+2025"
ACTIVE = WantedState(COURSE, "ada", None, "verified", is_active=True, is_forced=False)
INACTIVE = ACTIVE._replace(is_active=False)
ADA = (COURSE, "ada")


@pytest.fixture
def lms() -> Iterator[ScriptedLms]:
    with ScriptedLms() as running:
        yield running


@pytest.fixture
def http() -> Iterator[httpx.Client]:
    with guarded_client(OutboundPolicy(allows_private=True)) as client:
        yield client


def session_of(lms: ScriptedLms, http: httpx.Client, auth: Auth = CLIENT) -> LmsSession:
    return LmsSession(root=lms.url, auth=auth, http=http, total=2.0)


@pytest.mark.parametrize("auth", [CLIENT, KEY])
def test_state_is_applied_once_however_often_it_is_sent(
    lms: ScriptedLms, http: httpx.Client, auth: Auth
) -> None:
    session = session_of(lms, http, auth)
    assert [apply_state(session, ACTIVE).error for _ in range(3)] == [None] * 3
    assert lms.states[ADA] == {"mode": "verified", "is_active": True}
    assert (lms.changes, len(lms.posts)) == (1, 3)
    assert lms.tokens_given == (1 if auth is CLIENT else 0)


def test_body_is_the_one_of_servers(lms: ScriptedLms, http: httpx.Client) -> None:
    wanted = ACTIVE._replace(attributes=(Attribute("order", "order_id", "7"),), is_forced=True)
    assert apply_state(session_of(lms, http), wanted).error is None
    assert lms.posts == [
        {
            "user": "ada",
            "mode": "verified",
            "is_active": True,
            "course_details": {"course_id": COURSE},
            "enrollment_attributes": [{"namespace": "order", "name": "order_id", "value": "7"}],
            "force_enrollment": True,
        }
    ]


@pytest.mark.parametrize(
    ("there", "posts"),
    [
        (None, 1),
        ({"mode": "verified", "is_active": True}, 1),
        ({"mode": "audit", "is_active": True}, 3),
        ({"mode": "audit", "is_active": False}, 1),
        ({"mode": "verified", "is_active": False}, 1),
    ],
)
def test_deactivated_in_whatever_state_it_is(
    lms: ScriptedLms, http: httpx.Client, there: dict[str, object] | None, posts: int
) -> None:
    if there is not None:
        lms.states[ADA] = there
    assert apply_state(session_of(lms, http), INACTIVE).error is None
    assert lms.states[ADA] == {"mode": "verified", "is_active": False}
    assert len(lms.posts) == posts


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (refuses(400, "closed"), (400, "refused", True, 0.0)),
        (refuses(403), (403, "refused", True, 0.0)),
        (refuses(404), (404, "refused", True, 0.0)),
        (refuses(406, "The user ada does not exist."), (406, "refused", True, 0.0)),
        (refuses(429, Retry_After="7"), (429, "refused", False, 7.0)),
        (refuses(503), (503, "refused", False, 0.0)),
        (refuses(301, Location="http://127.0.0.1:1/"), (301, "redirect", False, 0.0)),
        (Fault(refuses(202).reply), (202, "not_finished", False, 0.0)),
        (says(b"<html>"), (200, "malformed_answer", False, 0.0)),
        (says(b"[" * 60_000), (200, "malformed_answer", False, 0.0)),
        (says(b"x" * 100_000), (200, "malformed_answer", False, 0.0)),
        (DROPS, (None, "connection_lost", False, 0.0)),
        (DROPS_AFTER, (None, "connection_lost", False, 0.0)),
    ],
)
def test_failures_are_results(
    lms: ScriptedLms,
    http: httpx.Client,
    fault: Fault,
    expected: tuple[int | None, str, bool, float],
) -> None:
    lms.faults[ENROLLMENT_PATH] = [fault]
    session = session_of(lms, http)
    result = apply_state(session, ACTIVE)
    assert (result.status, result.error, result.is_permanent, result.retry_after) == expected
    assert len(result.answer or "") <= 1_000
    assert apply_state(session, ACTIVE).error is None
    assert lms.changes == 1


def test_time_out_after_it_was_applied(lms: ScriptedLms, http: httpx.Client) -> None:
    lms.faults[ENROLLMENT_PATH] = [HANGS_AFTER]
    session = session_of(lms, http)
    session.total = 0.5
    assert apply_state(session, ACTIVE) == ApplyResult(error="timeout", may_follow=True)
    session.total = 5.0
    assert apply_state(session, ACTIVE).error is None
    assert (lms.changes, len(lms.posts)) == (1, 2)


def test_refused_connection(http: httpx.Client) -> None:
    with ScriptedLms() as gone:
        session = session_of(gone, http, KEY)
    assert apply_state(session, ACTIVE) == ApplyResult(error="not_reachable")


def test_other_state_than_sent_is_sent_again_and_then_a_refusal(
    lms: ScriptedLms, http: httpx.Client
) -> None:
    ignored = says({"mode": "verified", "is_active": True})
    lms.faults[ENROLLMENT_PATH] = [ignored]
    session = session_of(lms, http)
    assert apply_state(session, INACTIVE).error is None
    lms.faults[ENROLLMENT_PATH] = [ignored, ignored]
    result = apply_state(session, INACTIVE)
    assert (result.error, result.is_permanent) == ("not_applied", True)


def test_lost_token_is_fetched_anew_once(lms: ScriptedLms, http: httpx.Client) -> None:
    session = session_of(lms, http)
    apply_state(session, ACTIVE)
    lms.forget_tokens()
    assert apply_state(session, INACTIVE).error is None
    assert lms.tokens_given == 2
    lms.faults[ENROLLMENT_PATH] = [refuses(401), refuses(401)]
    result = apply_state(session, ACTIVE)
    assert (result.error, result.is_permanent) == ("unauthorized", False)
    assert lms.tokens_given == 3


def test_wrong_key_is_no_refusal_of_the_state(lms: ScriptedLms, http: httpx.Client) -> None:
    result = apply_state(session_of(lms, http, Auth(api_key="wrong")), ACTIVE)
    assert (result.status, result.error, result.is_permanent) == (401, "unauthorized", False)


def test_token_is_replaced_before_its_end(lms: ScriptedLms, http: httpx.Client) -> None:
    now = [0.0]
    session = session_of(lms, http)
    session.monotonic = lambda: now[0]
    for moment, tokens in ((0.0, 1), (3_500.0, 1), (3_571.0, 2)):
        now[0] = moment
        assert apply_state(session, ACTIVE).error is None
        assert lms.tokens_given == tokens


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (refuses(401), (401, "token_refused", 0.0)),
        (refuses(429, Retry_After="9"), (429, "token_refused", 9.0)),
        (says({"access_token": "a b", "expires_in": 9}), (200, "malformed_token", 0.0)),
        (says({"access_token": "a\r\nX: y", "expires_in": 9}), (200, "malformed_token", 0.0)),
        (says({"access_token": "abc", "expires_in": "9"}), (200, "malformed_token", 0.0)),
        (DROPS, (None, "connection_lost", 0.0)),
    ],
)
def test_token_that_is_not_given(
    lms: ScriptedLms,
    http: httpx.Client,
    fault: Fault,
    expected: tuple[int | None, str, float],
) -> None:
    lms.faults[TOKEN_PATH] = [fault]
    result = apply_state(session_of(lms, http), ACTIVE)
    assert (result.status, result.error, result.retry_after) == expected
    assert not result.is_permanent
    assert not lms.posts


@pytest.mark.parametrize(
    ("auth", "path", "told"),
    [
        (KEY, ENROLLMENT_PATH, API_KEY),
        (Auth(CLIENT_ID, "s/é&cret"), TOKEN_PATH, "client_secret=s%2F%C3%A9%26cret"),
        (Auth(CLIENT_ID, "s/é&cret"), TOKEN_PATH, "s/é&cret"),
    ],
)
def test_credentials_that_an_answer_repeats_are_not_stored(
    lms: ScriptedLms, http: httpx.Client, auth: Auth, path: str, told: str
) -> None:
    lms.faults[path] = [says(f"You sent: {told}".encode(), 400)]
    result = apply_state(session_of(lms, http, auth), ACTIVE)
    assert result.answer is not None
    assert result.answer.startswith("You sent: ")
    assert result.answer.endswith("[hidden]")
    assert "cret" not in result.answer.partition("client_secret")[2]
    assert told not in result.answer


def test_token_that_an_answer_repeats_is_not_stored(lms: ScriptedLms, http: httpx.Client) -> None:
    session = session_of(lms, http)
    apply_state(session, ACTIVE)
    token = lms.credentials[-1].rpartition(" ")[2]
    lms.faults[ENROLLMENT_PATH] = [refuses(400, f"JWT {token}")]
    assert token not in (apply_state(session, ACTIVE).answer or token)


def test_credentials_are_in_no_text_of_objects(lms: ScriptedLms, http: httpx.Client) -> None:
    assert CLIENT_SECRET not in repr(CLIENT)
    assert CLIENT_SECRET not in repr(session_of(lms, http))


def test_one_fetches_a_token_and_the_others_share_its_failure(
    lms: ScriptedLms, http: httpx.Client
) -> None:
    number = 8
    lms.faults[TOKEN_PATH] = [HANGS_AFTER] * number
    session = session_of(lms, http)
    with ThreadPoolExecutor(number) as pool:
        results = list(pool.map(lambda _: apply_state(session, ACTIVE), range(number)))
    assert {each.error for each in results} == {"timeout"}
    assert number - len(lms.faults[TOKEN_PATH]) < number // 2
    lms.faults[TOKEN_PATH] = []
    assert apply_state(session, ACTIVE).error is None


@pytest.mark.parametrize(
    ("fault", "may_follow"),
    [(DROPS, True), (refuses(502), True), (refuses(504), True), (refuses(503), False)],
)
def test_request_that_may_be_applied_later(
    lms: ScriptedLms, http: httpx.Client, fault: Fault, *, may_follow: bool
) -> None:
    lms.faults[ENROLLMENT_PATH] = [fault]
    assert apply_state(session_of(lms, http), ACTIVE).may_follow is may_follow


def test_private_address_is_refused(lms: ScriptedLms) -> None:
    with guarded_client(OutboundPolicy()) as http:
        assert apply_state(session_of(lms, http), ACTIVE).error == "destination_refused"
    assert not lms.credentials


def reader_of(lms: ScriptedLms, http: httpx.Client, waits: list[float]) -> LmsReader:
    return LmsReader(session=session_of(lms, http), pause=waits.append)


def fill(lms: ScriptedLms, number: int) -> None:
    for index in range(number):
        course = COURSE if index % 2 else "course-v1:X+Y+Z"
        lms.states[course, f"u{index}"] = {"mode": "audit", "is_active": index % 3 > 0}


def states_of(reader: LmsReader, course_id: str | None = None) -> list[RemoteState]:
    return [state for states, _ in reader.list_pages(course_id) for state in states]


def test_states_are_read_in_pages(lms: ScriptedLms, http: httpx.Client) -> None:
    fill(lms, 11)
    waits: list[float] = []
    reader = reader_of(lms, http, waits)
    found = states_of(reader)
    assert {(each.course_id, each.username) for each in found} == set(lms.states)
    assert all(
        lms.states[each[:2]] == {"mode": each.mode, "is_active": each.is_active} for each in found
    )
    assert {each.course_id for each in states_of(reader, COURSE)} == {COURSE}
    assert not waits


def test_list_goes_on_at_a_place(lms: ScriptedLms, http: httpx.Client) -> None:
    fill(lms, 11)
    destination = Destination("lms", "openedx", lms.url, frozenset(), 1, None, False, None)  # noqa: FBT003
    client = OpenedxDestination(destination, KEY, http)
    courses = ["course-v1:X+Y+Z", COURSE]
    pages = list(client.list_pages(courses))
    assert len(pages) == 6
    assert pages[-1].following is None
    for number, page in enumerate(pages[:-1], 1):
        assert list(client.list_pages(courses, place=page.following)) == pages[number:]
    place = pages[2].following
    assert len(list(client.list_pages([COURSE], place=place))) == 3  # another list: all of it


@pytest.mark.parametrize(
    "created", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "yesterday", 7, None]
)
def test_time_that_is_none_is_left_out(
    lms: ScriptedLms, http: httpx.Client, created: object
) -> None:
    row = {"course_id": COURSE, "user": "ada", "mode": "audit", "is_active": True}
    lms.faults[ENROLLMENTS_PATH] = [says({"results": [{**row, "created": created}], "next": None})]
    assert states_of(reader_of(lms, http, [])) == [RemoteState(COURSE, "ada", "audit", True)]  # noqa: FBT003


def test_page_that_fails_is_asked_for_again(lms: ScriptedLms, http: httpx.Client) -> None:
    fill(lms, 5)
    waits: list[float] = []
    lms.faults[ENROLLMENTS_PATH] = [refuses(429, Retry_After="7"), DROPS, refuses(503)]
    assert len(states_of(reader_of(lms, http, waits))) == 5
    assert waits == [7.0, 2.0, 4.0]
    lms.faults[ENROLLMENTS_PATH] = [refuses(500)] * 6
    with pytest.raises(LmsFailure, match="refused"):
        states_of(reader_of(lms, http, waits))


@pytest.mark.parametrize(
    ("page", "because"),
    [
        (says({"results": [], "next": "http://198.51.100.7/?cursor=1"}), "foreign_link"),
        (says({"results": [], "next": 7}), "malformed_answer"),
        (says({"results": [], "next": "/nowhere"}), "malformed_answer"),
        (says({"results": [{"course_id": COURSE, "user": 7}], "next": None}), "malformed_answer"),
        (says({"results": "none"}), "malformed_answer"),
        (says([]), "malformed_answer"),
        (refuses(403), "refused"),
        (refuses(302, Location="/"), "refused"),
    ],
)
def test_pages_that_are_none(
    lms: ScriptedLms, http: httpx.Client, page: Fault, because: str
) -> None:
    lms.faults[ENROLLMENTS_PATH] = [page]
    with pytest.raises(LmsFailure, match=because):
        states_of(reader_of(lms, http, []))


def test_page_that_repeats_ends(lms: ScriptedLms, http: httpx.Client) -> None:
    repeats = says({"results": [], "next": f"{lms.url}/x?cursor=1"})
    lms.faults[ENROLLMENTS_PATH] = [repeats] * 3
    with pytest.raises(LmsFailure, match="repeated_page"):
        states_of(reader_of(lms, http, []))


@pytest.mark.parametrize("length", [2, 3, 7])
def test_pages_in_a_circle_end(lms: ScriptedLms, http: httpx.Client, length: int) -> None:
    pages = [says({"results": [], "next": f"/?cursor={n % length}"}) for n in range(1, 60)]
    lms.faults[ENROLLMENTS_PATH] = pages
    with pytest.raises(LmsFailure, match="repeated_page"):
        states_of(reader_of(lms, http, []))


def test_pages_without_end_are_given_up(
    lms: ScriptedLms, http: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "MAX_LIST_PAGES", 5)
    pages = [says({"results": [], "next": f"/?cursor={n}"}) for n in range(1, 60)]
    lms.faults[ENROLLMENTS_PATH] = pages
    with pytest.raises(LmsFailure, match="too_many_pages"):
        states_of(reader_of(lms, http, []))
    assert len(pages) == 54


def test_links_of_an_lms_behind_a_proxy(lms: ScriptedLms, http: httpx.Client) -> None:
    fill(lms, 5)
    lms.link_root = "http://127.0.0.1"
    assert len(states_of(reader_of(lms, http, []))) == 5


def test_courses_with_their_modes(lms: ScriptedLms, http: httpx.Client) -> None:
    mode = {"slug": "verified", "min_price": 149, "android_sku": "x", "currency": "usd"}
    details = {
        "course_id": COURSE,
        "course_name": "Algebra",
        "enrollment_end": "2027-01-01T00:00:00Z",
        "invite_only": True,
        "course_modes": [mode],
        "a_new_member": 1,
    }
    lms.courses = {COURSE: details, "course-v1:A+B+C": {"course_modes": 7}, "course-v1:D+E+F": {}}
    found = {each.course_id: each for each in reader_of(lms, http, []).read_courses()}
    assert set(found) == {COURSE, "course-v1:D+E+F"}
    course = found[COURSE]
    assert (course.name, course.invitation_only, course.modes[0].min_price) == (
        "Algebra",
        True,
        149,
    )
    lms.faults[CATALOG_PATH.rstrip("/")] = [says({"results": [{"id": "no key"}]})]
    with pytest.raises(LmsFailure, match="malformed_answer"):
        list(reader_of(lms, http, []).read_courses())
