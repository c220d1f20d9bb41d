"""Files in the console: uploads, their plans, and the numbers that pages show."""

import re
from typing import Any

from enrollment.storage.views import enrollment_views
from tests.support.console_browser import Browser
from tests.support.gateway import Gateway


def rows(*lines: str) -> str:
    """Returns a file of three columns."""
    return "user,course_id,note\n" + "".join(f"{line}\n" for line in lines)


def enrolled(gateway: Gateway, user: str, course_id: str) -> bool:
    """Whether a learner is enrolled in a course."""
    with gateway.sessions.read() as session:
        found = enrollment_views.find(session, user, course_id)
    return found is not None and found.enrollment.is_active


def tile(page: str, outcome: str) -> int:
    """Returns the number of rows with an outcome that a page shows; 0 if it does not."""
    found = re.search(rf'data-live="{outcome}">([\d,]+)<', page)
    return 0 if found is None else int(found[1].replace(",", ""))


def planned(
    gateway: Gateway, browser: Browser, content: str | bytes, **fields: Any
) -> tuple[str, str]:
    """Uploads a file, and returns the path and the text of its plan."""
    sent = browser.upload(content, **fields)
    assert sent.status_code == 303, sent.text
    path = str(sent.headers["location"])
    gateway.work()
    return path, str(browser.get(path).text)
