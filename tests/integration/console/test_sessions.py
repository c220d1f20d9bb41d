"""Sessions of browsers: their cookies, their end, and the tokens of their forms."""

from datetime import timedelta

import pytest
from sqlalchemy import select, update

from enrollment.storage.credentials import api_keys
from enrollment.storage.tables import ApiKeyRow, ConsoleSessionRow
from tests.support.console_browser import FORM, Browser, logged_in
from tests.support.gateway import fresh, utc_now

SESSION = "__Host-enroll-console"


def key_of(who):
    (value,) = who.values()
    return value


def newest_session(gateway):
    """Returns the key of the session that was begun last."""
    newest = select(ConsoleSessionRow.digest).order_by(ConsoleSessionRow.started_at.desc())
    with gateway.sessions.read() as session:
        return session.scalars(newest.limit(1)).one()


def test_without_a_session_every_page_leads_to_the_log_in_and_back(gateway):
    browser = Browser(gateway)
    asked = browser.get("/console/submissions", query_string="state=done")

    assert asked.status_code == 303
    assert (
        asked.headers["location"] == "/console/login?next=%2Fconsole%2Fsubmissions%3Fstate%3Ddone"
    )
    page = browser.get(asked.headers["location"])
    assert 'name="next" value="/console/submissions?state=done"' in page.text
    sent = browser.send(
        "/console/login",
        {"credential": key_of(gateway.server), "next": "/console/submissions?state=done"},
    )
    assert (sent.status_code, sent.headers["location"]) == (303, "/console/submissions?state=done")
    assert browser.get("/console/submissions").status_code == 200


@pytest.mark.parametrize(
    "target",
    [
        "//evil.test",
        "https://evil.test/console",
        "/console/../x\\y",
        "/console/../docs",
        "/console/%2e%2E/docs",
        "/console/x/..",
        "/consolex",
        "/api",
        "/console\n",
    ],
)
def test_a_log_in_leads_to_no_other_page_than_one_of_the_console(gateway, target):
    sent = Browser(gateway).log_in(key_of(gateway.server), next=target)

    assert (sent.status_code, sent.headers["location"]) == (303, "/console")


def test_over_tls_the_cookie_is_bound_to_the_host(gateway):
    sent = Browser(gateway).log_in(key_of(gateway.server))
    cookie = sent.cookies[SESSION]

    assert cookie.secure
    assert cookie.http_only
    assert cookie.path == "/"
    assert not cookie.domain
    assert cookie.same_site == "Strict"
    assert cookie.max_age == 8 * 3600


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "console.localhost"])
def test_on_this_machine_plain_http_is_served_with_a_cookie_without_the_prefix(gateway, host):
    browser = Browser(gateway, protocol="http", host=host)
    sent = browser.log_in(key_of(gateway.server))
    cookie = sent.cookies["enroll-console"]

    assert not cookie.secure
    assert cookie.http_only
    assert cookie.same_site == "Strict"
    assert browser.get("/console").status_code == 200


@pytest.mark.parametrize(
    "host", ["enroll.test", "10.0.0.1", "127.0.0.1.evil.test", "localhost.evil"]
)
def test_elsewhere_plain_http_gets_no_session(gateway, host):
    page = Browser(gateway, protocol="http", host=host).get("/console/login")

    assert page.status_code == 403
    assert "https://" in page.text
    assert not page.cookies


def test_a_cookie_without_the_prefix_is_no_session_over_tls(gateway):
    browser = logged_in(gateway, gateway.server)
    browser.cookies = {"enroll-console": browser.cookies[SESSION]}

    assert browser.get("/console").status_code == 303


def test_the_cookie_holds_no_credentials_in_clear_and_cannot_be_changed(gateway):
    browser = logged_in(gateway, gateway.server)
    value = browser.cookies[SESSION]

    assert key_of(gateway.server) not in value
    for changed in (value[:-2] + "AA", value.partition(".")[0] + ".x", "x." + value, ""):
        browser.cookies = {SESSION: changed}
        assert browser.get("/console").status_code == 303


def test_a_log_out_ends_the_session_here_also_for_who_kept_the_cookie(gateway):
    browser = logged_in(gateway, gateway.server)
    kept = dict(browser.cookies)
    browser.get("/console")
    sent = browser.send("/console/logout")

    assert (sent.status_code, sent.headers["location"]) == (303, "/console/login")
    assert SESSION not in browser.cookies
    browser.cookies = kept
    assert browser.get("/console").status_code == 303


def test_a_second_log_in_ends_the_first_session(gateway):
    browser = logged_in(gateway, gateway.server)
    kept = dict(browser.cookies)
    browser.log_in(key_of(gateway.admin))
    browser.cookies = kept

    assert browser.get("/console").status_code == 303


@pytest.mark.parametrize("end", ["revoked", "expired"])
def test_a_session_ends_with_its_key(small, end):
    gateway = small()
    name = fresh("short-")
    who = gateway.key("enroll", name=name)
    browser = logged_in(gateway, who)
    assert browser.get("/console").status_code == 200
    with gateway.sessions.begin() as session:
        (key,) = [each for each in api_keys.all_keys(session) if each.name == name]
        if end == "revoked":
            api_keys.revoke(session, key.id, now=utc_now())
        else:
            past = utc_now() - timedelta(seconds=1)
            session.execute(update(ApiKeyRow).where(ApiKeyRow.id == key.id).values(expires_at=past))
    gateway.parts.authenticator._keys._entries.clear()  # as after some seconds

    assert browser.get("/console").status_code == 303


def test_a_session_ends_after_eight_hours_whatever_the_browser_keeps(small):
    gateway = small()
    browser = logged_in(gateway, gateway.key("enroll", name=fresh("long-")))
    kept = dict(browser.cookies)
    digest = newest_session(gateway)
    with gateway.sessions.begin() as session:
        stored = session.get(ConsoleSessionRow, digest)
        assert stored.expires_at - stored.started_at == timedelta(hours=8)
        stored.expires_at = utc_now() - timedelta(seconds=1)

    assert browser.get("/console").status_code == 303
    browser.cookies = kept
    assert browser.send("/console/logout").status_code in {303, 401}
    assert browser.get("/console").status_code == 303


def test_a_session_of_a_token_is_its_subject(gateway):
    browser = logged_in(gateway, gateway.learner("ada"))
    page = browser.get("/console")

    assert page.status_code == 200
    assert "ada" in page.text
    assert "/console/upload" not in page.text
    assert browser.get("/console/learners").status_code == 403


@pytest.mark.parametrize("credential", ["", "no-key", "enr_" + "x" * 43, "a.b.c", "x" * 9000, "é"])
def test_what_is_no_credential_is_refused_on_the_page(gateway, credential):
    browser = Browser(gateway)
    sent = browser.log_in(credential)

    assert sent.status_code == 401
    assert 'role="alert"' in sent.text
    assert not credential or credential not in sent.text
    assert SESSION not in browser.cookies
    again = browser.send("/console/login", {"credential": key_of(gateway.server)})
    assert again.status_code == 303


@pytest.mark.parametrize(
    ("credential", "sentence"),
    [
        ("enr_wrong", "The API key is not valid."),
        ("a.b.c", "The token cannot be parsed."),
        ("", "The field is empty."),
        (" \t", "The field is empty."),
    ],
)
def test_a_refused_log_in_says_what_to_do_in_the_form(gateway, credential, sentence):
    """Not which headers a program would send."""
    page = Browser(gateway).log_in(credential)

    assert page.status_code == 401
    assert f"{sentence} Enter the key or token in full, as it was given to you." in page.text
    assert "Authorization" not in page.text


def test_failed_log_ins_are_limited_and_valid_ones_of_the_address_are_not(small):
    gateway = small(throttle="on", throttle_failures="3/m")
    browser = Browser(gateway)
    assert browser.log_in(key_of(gateway.server)).status_code == 303
    states = [browser.log_in(f"enr_{'x' * 42}{number}").status_code for number in range(5)]

    assert states[0] == 401
    assert states[-1] == 429
    other = Browser(gateway)
    refused = other.log_in(key_of(gateway.admin))
    assert refused.status_code == 429
    assert refused.headers["retry-after"]


@pytest.mark.parametrize(
    "path", ["/console/logout", "/console/submissions/x/apply", "/console/submissions/x/cancel"]
)
def test_a_form_needs_the_token_of_its_session(gateway, registrar, path):
    other = logged_in(gateway, gateway.key("enroll", name="another"))
    other.get("/console")
    for token in ("", "x", other.form_token):
        registrar.form_token = token
        assert registrar.send(path).status_code == 403
    assert registrar.get("/console").status_code == 200


def test_an_upload_needs_the_token(gateway, registrar):
    registrar.get("/console/upload")
    sent = registrar.upload("user,course_id\n", form_token="x")

    assert sent.status_code == 403
    assert registrar.get("/console/submissions").text.count("<tbody>") == 0


def test_a_log_in_needs_the_token_of_the_page(gateway):
    browser = Browser(gateway)
    browser.get("/console/login")
    browser.form_token = "x"

    assert browser.send("/console/login", {"credential": "x"}).status_code == 403
    fresh_browser = Browser(gateway)
    assert fresh_browser.send("/console/login", {"credential": "x"}).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [{"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Origin": "https://evil"}],
)
def test_a_form_of_another_site_is_refused(registrar, headers):
    registrar.get("/console")

    assert registrar.send("/console/logout", headers=headers).status_code == 403
    assert registrar.get("/console").status_code == 200


def test_api_keys_open_no_page_and_cookies_open_no_resource(gateway, registrar):
    assert gateway.get("/console", gateway.admin).status_code == 303
    assert registrar.get("/api/enrollment/v1/submissions").status_code == 401


def test_without_a_session_a_form_says_so(gateway):
    browser = Browser(gateway)
    sent = browser.call("POST", "/console/logout", headers={"Content-Type": FORM}, body="")

    assert sent.status_code == 401
    assert sent.headers["content-type"].startswith("text/html")
    assert sent.headers["hx-redirect"] == "/console/login"


def test_without_a_signing_key_there_are_no_sessions(small):
    gateway = small(own_tokens="false")
    sent = Browser(gateway).log_in(key_of(gateway.server))

    assert sent.status_code == 503
    assert "ENROLL_SIGNING_KEY" in sent.text
