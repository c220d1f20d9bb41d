"""A person at a real browser: a window on the console, and all that went wrong in it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, ConsoleMessage, Dialog, Page, expect

#: Levels of messages that a page must not cause; what a policy forbids is one of them.
_LOUD = {"error", "warning"}
#: A page with a 4xx is an error for the browser; tests look at these pages themselves.
_ANSWERED = "Failed to load resource: the server responded with a status of 4"


class ConsoleUser:
    """`complaints` has dialogs, uncaught errors, and errors and warnings of the browser."""

    def __init__(self, browser: Browser, url: str, **window: Any) -> None:
        self.url = url
        self.context = browser.new_context(base_url=url, reduced_motion="reduce", **window)
        self.complaints: list[str] = []
        self.page: Page = self.context.new_page()
        self.page.on("console", self._note_message)
        self.page.on("dialog", self._note_dialog)
        self.page.on("pageerror", lambda error: self.complaints.append(f"uncaught: {error}"))

    def open(self, path: str) -> Page:
        """Opens a page of the console."""
        self.page.goto(path)
        return self.page

    def log_in(self, key: str) -> Page:
        """Logs in with an API key."""
        self.open("/console/login")
        self.page.get_by_label("API key or token").fill(key)
        self.page.get_by_role("button", name="Log in").click()
        expect(self.page.get_by_role("button", name="Log out")).to_be_visible()
        return self.page

    def follow(self, label: str) -> Page:
        """Follows a link of the navigation."""
        self.page.get_by_role("navigation").get_by_role("link", name=label, exact=True).click()
        return self.page

    def entries(self) -> list[str]:
        """Returns the labels of the navigation."""
        return self.page.get_by_role("navigation").get_by_role("link").all_inner_texts()

    def plan(self, file: Path) -> Page:
        """Sends a file with the form that is shown, and waits for its plan."""
        self.page.get_by_label("File", exact=True).set_input_files(file)
        self.page.get_by_role("button", name="Show the plan").click()
        expect(self.heading("Nothing has changed yet")).to_be_visible()
        return self.page

    def apply(self) -> Page:
        """Confirms the plan that is shown."""
        self.page.get_by_role("button", name="Apply").click()
        expect(self.page.get_by_role("heading", level=1, name="File")).to_be_visible()
        return self.page

    def heading(self, text: str) -> Any:
        """Returns the heading with this text."""
        return self.page.get_by_role("heading", name=text)

    def tile(self, outcome: str) -> Any:
        """Returns the number of rows with an outcome."""
        return self.page.locator(f"[data-outcome={outcome}] .count")

    def fact(self, name: str) -> Any:
        """Returns the value of a fact at the top of a page."""
        fact = self.page.locator(".facts > div").filter(has=self.page.get_by_text(name, exact=True))
        return fact.locator("dd")

    def download(self, link: str, target: Path) -> Path:
        """Saves the file of a link."""
        with self.page.expect_download() as begun:
            self.page.get_by_role("link", name=link).click()
        begun.value.save_as(target)
        return target

    def _note_message(self, message: ConsoleMessage) -> None:
        if message.type in _LOUD and not message.text.startswith(_ANSWERED):
            self.complaints.append(f"{message.type}: {message.text}")

    def _note_dialog(self, dialog: Dialog) -> None:
        self.complaints.append(f"dialog: {dialog.message}")
        dialog.dismiss()


@contextmanager
def console_user(browser: Browser, url: str, **window: Any) -> Iterator[ConsoleUser]:
    """A window for the block; it must have caused no complaints."""
    user = ConsoleUser(browser, url, **window)
    try:
        yield user
        assert user.complaints == []
    finally:
        user.context.close()
