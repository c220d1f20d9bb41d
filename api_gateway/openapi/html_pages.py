"""HTML pages that list all routes and all codes, without scripts or other resources."""

from collections.abc import Iterable, Mapping
from html import escape
from string import Formatter

from api_gateway.openapi.problem_codes import meanings
from enrollment.domain.codes import Code, Reason
from enrollment.domain.model import Outcome
from schemas.enrollments import v1_refusal
from schemas.findings import Rule
from schemas.messages.reason_messages import REASON_TEXTS, meaning_of_reason
from schemas.messages.rule_texts import RULE_TEXTS

#: Meaning of each outcome, in the order of `counts`.
OUTCOMES: Mapping[Code, str] = {
    Code.ENROLLED: "The learner is now enrolled, for the first time.",
    Code.REACTIVATED: "The learner is enrolled again.",
    Code.MODE_CHANGED: "The mode of the enrollment was changed.",
    Code.DEACTIVATED: "The learner is no longer enrolled.",
    Code.UPDATED: "Attributes or the cohort changed, nothing else.",
    Code.UNCHANGED: "The enrollment was already as requested.",
    Code.SUPERSEDED: "A later request was processed before; its result stays.",
    Code.SKIPPED: "The row asks for nothing here, such as one about a teacher. Nothing changed.",
    Code.REFUSED: "The request is valid but was not granted; see its reason.",
    Code.INVALID: "The row could not be read; see errors.",
    Code.CANCELLED: "The submission was cancelled before this request was processed.",
}

#: Reasons that single requests never have.
FILE_REASONS = frozenset(
    {
        Reason.ABORTED,
        Reason.ROLE_NOT_LEARNER,
        Reason.STATUS_NOT_APPLICABLE,
        Reason.NOT_CURRENT,
        Reason.KEPT_BY_OTHER_RECORD,
    }
)
#: Facts that every outcome has as members of its own.
_OWN_FACTS = frozenset({"user", "course_id"})


def reasons_page() -> str:
    """Renders outcomes, reasons and the other codes, each with its name as anchor."""
    others = {code: text for code, text in meanings().items() if code not in {*Reason, *Code}}
    return _page(
        "Outcomes and reasons",
        "<p>These codes are stable: programs may rely on them.</p>",
        "<h2>Outcomes</h2>",
        "<p>Every request has exactly one.</p>",
        _table(("Outcome", "Meaning"), (_row(code, text) for code, text in OUTCOMES.items())),
        "<h2>Reasons</h2>",
        "<p>Why a request was refused, invalid or skipped, or left an enrollment unchanged. "
        "Facts are members of the outcome, which its message names as well. The status is that of "
        "an enrollment request that waits for its outcome.</p>",
        _table(("Reason", "Meaning and remedy", "Facts", "Status"), map(_reason_row, Reason)),
        '<h2 id="rules">Rules of <code>invalid_row</code></h2>',
        "<p>What is wrong with a value: each of <code>errors</code> names the <code>field</code>, "
        "its <code>value</code>, the <code>rule</code>, and a <code>message</code> that says what "
        "to do. The same rules are those of bodies and parameters that are refused.</p>",
        _table(("Rule", "The value", "What to do"), map(_rule_row, Rule)),
        "<h2>Other error codes</h2>",
        _table(("Code", "Meaning"), (_row(code, others[code]) for code in sorted(others))),
    )


def index_page(document: Mapping[str, Mapping[str, Mapping[str, Mapping[str, object]]]]) -> str:
    """Renders all routes of the document."""
    rows = (
        _cells(
            f"<code>{escape(method.upper())}</code>",
            f"<code>{escape(path)}</code>",
            escape(str(operation["summary"])),
        )
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    )
    return _page(
        "Enrollment service",
        '<ul><li><a href="/openapi.json">The HTTP API as an OpenAPI document</a></li>'
        '<li><a href="/docs/reasons">Outcomes and reasons</a></li></ul>',
        "<h2>Routes</h2>",
        _table(("Method", "Path", "Summary"), rows),
    )


def _reason_row(reason: Reason) -> str:
    names = [name for text in REASON_TEXTS[reason] for _, name, _, _ in Formatter().parse(text)]
    facts = dict.fromkeys(name for name in names if name and name not in _OWN_FACTS)
    status = v1_refusal(Outcome(1, None, None, Code.REFUSED, reason)).status
    status_text = f"{status.value} {escape(status.phrase)}"
    fact_names = " ".join(map(_fact, facts))
    return _row(
        reason,
        meaning_of_reason(reason),
        fact_names,
        "(files only)" if reason in FILE_REASONS else status_text,
    )


def _fact(name: str) -> str:
    code = f"<code>{escape(name)}</code>"
    return f'<a href="#rules">{code}</a>' if name == "errors" else code


def _rule_row(rule: Rule) -> str:
    name, text = escape(rule.value), RULE_TEXTS[rule]
    problem, remedy = (
        part.replace("{expected}", "the one in expected") for part in (text.problem, text.remedy)
    )
    return (
        f'<tr id="rule-{name}"><td><a href="#rule-{name}"><code>{name}</code></a></td>'
        f"<td>{escape(problem)}</td><td>{escape(remedy)}</td></tr>"
    )


def _row(code: str, text: str, *more: str) -> str:
    name = escape(code)
    return (
        f'<tr id="{name}"><td><a href="#{name}"><code>{name}</code></a></td>'
        f"<td>{escape(text)}</td>" + "".join(f"<td>{cell}</td>" for cell in more) + "</tr>"
    )


def _cells(*cells: str) -> str:
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def _table(titles: Iterable[str], rows: Iterable[str]) -> str:
    head = "".join(f'<th scope="col">{escape(text)}</th>' for text in titles)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _page(title: str, *parts: str) -> str:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{escape(title)}</title></head><body><main><h1>{escape(title)}</h1>"
        f"{''.join(parts)}</main></body></html>\n"
    )
