"""Parts of HTML pages. Arguments named `text` are escaped; those named `html` are markup."""

import re
from collections.abc import Iterable
from html import escape

STYLE_URL = "/docs/style.css"
_CODE = re.compile(r"`([^`]+)`")
_BULLET = "- "


def code(text: object) -> str:
    """Returns a name or value as code."""
    return f"<code>{escape(str(text))}</code>"


def inline(text: str) -> str:
    """Returns text in which parts between backquotes are code."""
    return _CODE.sub(r"<code>\1</code>", escape(text, quote=False))


def prose(text: str) -> str:
    """Returns paragraphs, and lists of the lines that begin with a hyphen."""
    return "".join(_block(block) for block in text.strip().split("\n\n") if block)


def _block(text: str) -> str:
    if not text.startswith(_BULLET):
        return f"<p>{inline(text)}</p>"
    items = text.removeprefix(_BULLET).split(f"\n{_BULLET}")
    return f"<ul>{''.join(f'<li>{inline(item)}</li>' for item in items)}</ul>"


def heading(level: int, text: str, anchor: str) -> str:
    """Returns a heading with an anchor and a link to itself."""
    name = escape(anchor)
    return f'<h{level} id="{name}"><a href="#{name}">{inline(text)}</a></h{level}>'


def row(*html: str, anchor: str = "") -> str:
    """Returns a row of a table with these cells."""
    attribute = f' id="{escape(anchor)}"' if anchor else ""
    return f"<tr{attribute}>{''.join(f'<td>{cell}</td>' for cell in html)}</tr>"


def table(label: str, titles: Iterable[str], html: Iterable[str]) -> str:
    """Returns a table of rows, which scrolls by itself on narrow screens; `label` is for readers.

    Returns an empty string without rows.
    """
    rows = "".join(html)
    if not rows:
        return ""
    head = "".join(f'<th scope="col">{escape(text)}</th>' for text in titles)
    return (
        f'<div class="wide" role="group" aria-label="{escape(label)}" tabindex="0"><table>'
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def block(label: str, text: str) -> str:
    """Returns preformatted text, which scrolls by itself; `label` is for readers."""
    return (
        f'<pre role="group" aria-label="{escape(label)}" tabindex="0">'
        f"<code>{escape(text, quote=False)}</code></pre>"
    )


def folded(summary: str, html: str) -> str:
    """Returns a part that the reader can unfold."""
    return f"<details><summary>{escape(summary)}</summary>{html}</details>"


def page(title: str, navigation_html: str, *html: str) -> str:
    """Returns a whole page."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f'<title>{escape(title)}</title><link rel="stylesheet" href="{STYLE_URL}"></head><body>'
        '<a class="skip" href="#main">Skip to the content</a>'
        '<header><nav aria-label="Pages"><a href="/docs">API reference</a> '
        '<a href="/docs/reasons">Outcomes and reasons</a> '
        '<a href="/openapi.json">OpenAPI document</a></nav></header>'
        f'<div class="columns">{navigation_html}<main id="main" tabindex="-1">'
        f"<h1>{escape(title)}</h1>{''.join(html)}</main></div></body></html>\n"
    )
