"""`/docs/reasons`: all outcomes, reasons, rules and error codes, each with its name as anchor."""

from collections.abc import Iterator, Mapping
from html import escape
from string import Formatter

from api_gateway.openapi.pages.markup import code, heading, page, prose, row, table
from api_gateway.openapi.problem_codes import meanings
from api_gateway.openapi.remedies import CODE_REMEDIES, REASON_REMEDIES
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
_ABOUT_REASONS = (
    "Why a request was refused, invalid or skipped, or left an enrollment unchanged. Facts are "
    "members of the outcome, which its message names as well. The status is that of an enrollment "
    "request that waits for its outcome."
)
_ABOUT_RULES = (
    "What is wrong with a value: each of `errors` names the `field`, its `value`, the `rule`, and "
    "a `message` that says what to do. The same rules are those of bodies and parameters that are "
    "refused."
)
#: Facts that every outcome has as members of its own.
_OWN_FACTS = frozenset({"user", "course_id"})


def reasons_page() -> str:
    """Renders the page."""
    others = {code: text for code, text in meanings().items() if code not in {*Reason, *Code}}
    return page(
        "Outcomes and reasons",
        "",
        prose("These codes are stable: programs may rely on them."),
        heading(2, "Outcomes", "outcomes"),
        prose("Every request has exactly one."),
        table("Outcomes", ("Outcome", "Meaning"), map(_code_row, OUTCOMES, OUTCOMES.values())),
        heading(2, "Reasons", "reasons"),
        prose(_ABOUT_REASONS),
        table("Reasons", ("Reason", "Meaning", "What to do", "Facts", "Status"), _reason_rows()),
        heading(2, "Rules of `invalid_row`", "rules"),
        prose(_ABOUT_RULES),
        table("Rules", ("Rule", "The value", "What to do"), map(_rule_row, Rule)),
        heading(2, "Other error codes", "codes"),
        table(
            "Codes",
            ("Code", "Meaning", "What to do"),
            (_code_row(one, others[one], CODE_REMEDIES.get(one, "")) for one in sorted(others)),
        ),
    )


def _reason_rows() -> Iterator[str]:
    for reason in Reason:
        yield _reason_row(reason)


def _reason_row(reason: Reason) -> str:
    names = [name for text in REASON_TEXTS[reason] for _, name, _, _ in Formatter().parse(text)]
    facts = dict.fromkeys(name for name in names if name and name not in _OWN_FACTS)
    status = v1_refusal(Outcome(1, None, None, Code.REFUSED, reason)).status
    status_text = f"{status.value} {escape(status.phrase)}"
    meaning, remedy = _meaning_and_remedy(reason)
    return _code_row(
        reason,
        meaning,
        escape(remedy, quote=False),
        " ".join(map(_fact, facts)),
        "(files only)" if reason in FILE_REASONS else status_text,
    )


def _meaning_and_remedy(reason: Reason) -> tuple[str, str]:
    """Returns both halves of the sentence of a reason as sentences."""
    meaning, colon, remedy = meaning_of_reason(reason).partition(": ")
    if not colon:
        return meaning, REASON_REMEDIES.get(reason, "")
    return f"{meaning}.", f"{remedy[0].upper()}{remedy[1:]}"


def _fact(name: str) -> str:
    return f'<a href="#rules">{code(name)}</a>' if name == "errors" else code(name)


def _rule_row(rule: Rule) -> str:
    text = RULE_TEXTS[rule]
    problem, remedy = (
        escape(part.replace("{expected}", "the one in expected"), quote=False)
        for part in (text.problem, text.remedy or "write one in this form")
    )
    anchor = f"rule-{rule.value}"
    return row(_link(anchor, rule.value), problem, remedy, anchor=anchor)


def _code_row(name: str, text: str, *more: str) -> str:
    return row(_link(name, name), escape(text, quote=False), *more, anchor=name)


def _link(anchor: str, text: str) -> str:
    return f'<a href="#{escape(anchor)}">{code(text)}</a>'
