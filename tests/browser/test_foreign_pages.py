"""Pages of other sites in the browser of somebody who is logged in: they can change nothing."""

import pytest
from playwright.sync_api import expect

from tests.support.servers import free_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

#: A page that sends a form when it is opened, as one that a registrar is led to.
SENDS = """<!doctype html><title>Foreign</title><form method="post" action="{target}">
<input name="form_token" value="{token}"></form><script>document.forms[0].submit()</script>"""
FRAMES = '<!doctype html><title>Foreign</title><iframe src="{target}"></iframe>'


@pytest.fixture
def foreign_page(admin):
    """Opens a page of another origin, which no server has: the browser is given its text."""

    def open_page(origin, text):
        answer = {"body": text, "content_type": "text/html"}
        admin.context.route(f"{origin}/**", lambda route: route.fulfill(**answer))
        return admin.open(f"{origin}/page")

    return open_page


@pytest.mark.parametrize("host", ["evil.test", "127.0.0.1"])
def test_a_form_of_another_origin_is_refused(admin, foreign_page, up, host):
    """A page at another port of the same host is sent the cookie, and is another origin."""
    token = admin.page.locator("[name=form_token]").first.input_value()
    title = {"evil.test": "Log in again", "127.0.0.1": "Not permitted"}[host]
    for path in ("/console/logout", "/console/upload", "/console/submissions/x/cancel"):
        page = foreign_page(
            f"http://{host}:{free_port()}", SENDS.format(target=up.url + path, token=token)
        )
        expect(page).to_have_url(f"{up.url}{path}")
        expect(page.get_by_role("heading", level=1)).to_have_text(title)

    admin.open("/console")
    expect(page.get_by_role("button", name="Log out")).to_be_visible()


@pytest.mark.parametrize("token", ["", "x", "another"])
def test_a_form_without_the_token_of_the_session_is_refused(admin, up, token):
    page = admin.open("/console")
    fields = page.locator("[name=form_token]")
    fields.first.evaluate("(field, token) => { field.value = token; }", token)
    page.get_by_role("button", name="Log out").click()

    expect(page.get_by_role("heading", level=1)).to_have_text("Not permitted")
    admin.open("/console")
    expect(page.get_by_role("button", name="Log out")).to_be_visible()


def test_a_page_of_another_origin_cannot_frame_the_console(admin, foreign_page, up):
    """What forbids no frames is framed: an origin of the same host may ask for a frame."""
    plain = f"http://127.0.0.1:{free_port()}/page"
    foreign_page(plain.removesuffix("/page"), "<!doctype html><title>Foreign</title>")
    shown = {}
    for target in (plain, f"{up.url}/console/login"):
        origin = f"http://127.0.0.1:{free_port()}"
        page = foreign_page(origin, FRAMES.format(target=target))
        page.wait_for_load_state("networkidle")
        shown[target] = page.frames[-1].url

    assert list(shown.values()) == [plain, "chrome-error://chromewebdata/"]
    admin.complaints.clear()


def test_a_page_of_another_site_cannot_read_the_console(admin, foreign_page, up):
    page = foreign_page("http://evil.test", "<!doctype html><title>Foreign</title>")
    reads = "(url) => fetch(url, { credentials: 'include' }).then(() => 'read', () => 'refused')"

    assert page.evaluate(reads, f"{up.url}/console/learners") == "refused"
    admin.complaints.clear()


def test_scripts_cannot_read_the_cookie_and_log_out_ends_the_session(admin, browser, up):
    page = admin.page
    (cookie,) = admin.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    assert page.evaluate("document.cookie") == ""
    page.get_by_role("button", name="Log out").click()
    expect(page).to_have_url(f"{up.url}/console/login")

    stolen = browser.new_context(base_url=up.url)
    stolen.add_cookies([cookie])
    taken = stolen.new_page()
    taken.goto("/console/learners")
    assert "/console/login" in taken.url
    stolen.close()
