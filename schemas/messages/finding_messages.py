"""Renders findings as sentences: the field, its value, what is wrong, what to write instead."""

from collections.abc import Iterable

from schemas.findings import Finding, Rule
from schemas.messages.rule_texts import (
    CSV_FLAGS,
    FIELD_TEXTS,
    QUOTED_FLAG,
    RULE_TEXTS,
    RuleText,
)

_FLAG_FIELDS = frozenset({"is_active", "force_enrollment", "email_opt_in"})


def sentence_of(item: Finding) -> str | None:
    """Returns the sentence about a finding; None if it has no text.

    The rule of a file that cannot be read as a whole is the problem's code: its sentence is the
    `message` of the finding, if it has one.
    """
    rule, detail = str(item.get("rule")), _detail_of(item)
    if rule not in RULE_TEXTS:
        return None if item.get("message") is None else str(item["message"])
    field = str(item.get("field") or "")
    text = _text_of(Rule(rule), field, item)
    end = text.with_detail(detail).replace("{expected}", str(item.get("expected", "another name")))
    return f"{_subject(field, item.get('value'))} {end}{'' if end.endswith('?') else '.'}"


def sentences_of(findings: Iterable[Finding]) -> str:
    """Returns the sentences about findings, with spaces between them."""
    return " ".join(filter(None, map(sentence_of, findings)))


def with_sentence(item: Finding) -> Finding:
    """Returns the finding with its sentence as `message`."""
    sentence = sentence_of(item)
    return item if sentence is None else {**item, "message": sentence}


def describe_finding(item: Finding) -> str:
    """Returns the sentence about a finding, with the line where it has one."""
    where = f"line {item['line']}: " if "line" in item else ""
    return f"{where}{sentence_of(item) or item['rule']}"


def quoted(value: object) -> str:
    """Returns a value as sentences show it: text in quotes, everything else as in JSON."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"'{value}'" if isinstance(value, str) else str(value)


def _text_of(rule: Rule, field: str, item: Finding) -> RuleText:
    if rule is Rule.TYPE and field in _FLAG_FIELDS:
        is_json = "pointer" in item or str(item.get("value")).casefold() in CSV_FLAGS
        return QUOTED_FLAG if is_json else FIELD_TEXTS[rule, field]
    return FIELD_TEXTS.get((rule, field), RULE_TEXTS[rule])


def _detail_of(item: Finding) -> str | None:
    if (message := item.get("message")) is not None:
        return str(message).rstrip(".")
    expected = item.get("expected")
    if isinstance(expected, str):
        return f"expected {expected}"
    return f"write one of {', '.join(expected)}" if isinstance(expected, list) else None


def _subject(field: str, value: object) -> str:
    if value is None:
        return field or "The body"
    return f"{field}: {quoted(value)}" if field else quoted(value)
