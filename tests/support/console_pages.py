"""Finds the pages of the console as somebody does who opens every link."""

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from tests.support.console_user import ConsoleUser

#: Links to pages; a download is none.
_LINKS = """() => [...document.querySelectorAll('a[href^="/console"]:not([download])')]
  .map((link) => link.getAttribute("href"))"""
_ROOT = "/console"


def find_pages(user: ConsoleUser) -> dict[str, str]:
    """Returns an address of each kind of page by the kind's name, beginning with the navigation.

    A page that a release adds is found once a page leads to it.
    """
    user.open(_ROOT)
    entries = [path for path in _links(user) if path != _ROOT]
    found = {"overview": _ROOT}
    roots = {path.removeprefix(f"{_ROOT}/") for path in entries if path.count("/") == 2}
    unread = [_ROOT, *entries]
    while unread:
        user.open(unread.pop(0))
        for path in _links(user):
            kind = kind_of(path, roots)
            if kind not in found:
                found[kind] = path
                unread.append(path)
    return found


def kind_of(path: str, roots: set[str]) -> str:
    """Returns the name of a kind of page; `roots` are pages that are no variable part."""
    segments = urlsplit(path).path.split("/")[2:]
    if not segments:
        return "overview"
    named = [segments[0], *(_word(segment, roots) for segment in segments[1:])]
    return "-".join(named)


def _word(segment: str, roots: set[str]) -> str:
    is_word = segment in roots or re.fullmatch(r"new|edit|missing|deliveries|rotate", segment)
    return segment if is_word else "one"


def _links(user: ConsoleUser) -> Iterator[str]:
    seen: list[str] = user.page.evaluate(_LINKS)
    return (path.partition("#")[0] for path in seen)
